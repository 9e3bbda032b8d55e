"""Samples at other instants: bandlimited interpolation of a stream at positions that a function of the index gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from testbed.air._kernels import resample_any, resample_steady
from testbed.errors import ShapeError

HALF = 13  # input samples on each side of a position
BETA = 7.7  # Kaiser: the error stays below -72 dB up to 0.4 fs
ROUNDING = 1e-15  # what is left of zeros of a sine
PHASES = 512  # of the table of filters; linear interpolation between them errs by less than -100 dB
TAPS = 2 * HALF + 2  # one more than a position needs at each end, for positions that pass a whole number
LATENCY = HALF + 3  # input samples; filters then reach no further than the one before a position
STEP = 64  # outputs between positions that are computed; the filter moves linearly between them

Positions = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def filters(part: np.ndarray) -> np.ndarray:
    r"""Windowed-sinc filters for positions between samples.

    .. math::  h_k(p) = \mathrm{sinc}(k - H - p) \, w(k - H - p), \quad w = \text{Kaiser}, \; |k - H - p| < H

    from a table of 512 phases, linearly.

    Parameters
    ----------
    part : [n] float64
        :math:`p`, -0.1..1.1.

    Returns
    -------
    [n, 28] float64
        Coefficients of the samples from 13 before the position's whole part to 14 behind it.

    References
    ----------
    J. O. Smith, "Digital audio resampling home page", https://ccrma.stanford.edu/~jos/resample/.
    """
    place = (np.asarray(part, dtype=np.float64) + MARGIN) * PHASES
    index = np.floor(place).astype(np.int64)
    return TABLE[index] + (place - index)[..., None] * SLOPES[index]


def _exact(part: np.ndarray) -> np.ndarray:
    """The filters, by their equation."""
    t = np.arange(TAPS) - HALF - part[:, None]
    window = np.i0(BETA * np.sqrt(np.clip(1.0 - (t / HALF) ** 2, 0.0, None))) / np.i0(BETA)
    h = np.sinc(t) * np.where(np.abs(t) < HALF, window, 0.0)
    return np.where(np.abs(h) < ROUNDING, 0.0, h)


MARGIN = 0.25
TABLE = _exact(np.arange(-MARGIN * PHASES, (1 + MARGIN) * PHASES + 2) / PHASES)
SLOPES = np.diff(TABLE, axis=0)
TABLE = TABLE[:-1]


class Resampler:
    r"""A stream at other instants: output :math:`i` is the input at position :math:`p(i) - 16`.

    What lies below 0.8 of the input's Nyquist frequency keeps its shape to -72 dB at every sample; the latency of 16
    input samples is constant. Where positions are steady (within 250 ppm of one input sample an output, as between two
    clocks of one nominal rate) they are computed at every 64th output, and the filter moves linearly between them;
    where the rates differ, at each.
    An output depends on its index and on the input alone: it is the same bit for bit however a stream is cut.

    Parameters
    ----------
    positions : callable
        [n] int64 absolute output indices to positions in the input: whole [n] int64 and part [n] float64 in [0, 1).
    channels : int
    first_input : int
        Absolute index of the first sample that will be pushed; what was before is silence.
    first_output : int
        Absolute index of the first sample that will be pulled.
    steady : bool
        Whether positions are.
    """

    def __init__(
        self, positions: Positions, channels: int, first_input: int = 0, first_output: int = 0, steady: bool = True
    ) -> None:
        self.positions = positions
        self.next_input = first_input
        self.next_output = first_output
        self._steady = steady
        self._held = np.zeros((2, channels, 0), dtype=np.float32)  # real, imaginary
        self._begin = first_input  # absolute index of the first that is held

    def push(self, samples: np.ndarray) -> None:
        """Take in what comes next.

        Parameters
        ----------
        samples : [channels, n] complex64

        Raises
        ------
        ShapeError
            If there are not as many channels.
        """
        x = np.asarray(samples, dtype=np.complex64)
        if x.ndim != 2 or x.shape[0] != self._held.shape[1]:
            raise ShapeError(f"push: samples is {x.shape}: allowed: [{self._held.shape[1]}, n]")
        kept = self._held.shape[2]
        held = np.empty((2, x.shape[0], kept + x.shape[1]), dtype=np.float32)
        held[..., :kept] = self._held
        held[0, :, kept:], held[1, :, kept:] = x.real, x.imag
        self._held = held
        self.next_input += x.shape[1]

    def pull(self, count: int) -> np.ndarray:
        """The next outputs; what their filters no longer need is forgotten.

        Parameters
        ----------
        count : int

        Returns
        -------
        [channels, count] complex64

        Raises
        ------
        ShapeError
            If the last of them lies behind ``next_input``.
        """
        y = np.empty((2, self._held.shape[1], count), dtype=np.float32)
        if not count:
            return _joined(y)
        final = self.next_output + count - 1
        last = int(self.positions(np.array([final], dtype=np.int64))[0][0])
        if last > self.next_input:
            raise ShapeError(f"pull: output {final} is at input {last}: allowed: up to {self.next_input}")
        if self._steady:
            origin = self.next_output // STEP
            anchors = np.arange(origin, final // STEP + 2, dtype=np.int64) * STEP
            whole, part = self.positions(anchors)
            begins = whole[:-1] - LATENCY - HALF
            x = self._reaching(int(begins[0]))
            if not part.any() and whole[-1] - whole[0] == anchors[-1] - anchors[0]:  # no filter has another tap than 1
                begin = int(begins[0]) + HALF + self.next_output - int(anchors[0]) - self._begin
                y[:] = x[..., begin : begin + count]
            else:
                at = filters(part[:-1])
                then = filters((whole[1:] - whole[:-1] - STEP) + part[1:])
                resample_steady(
                    x[0],
                    x[1],
                    begins - self._begin,
                    at.astype(np.float32),
                    (then - at).astype(np.float32),
                    self.next_output,
                    STEP,
                    y[0],
                    y[1],
                )
            oldest = int(whole[-1]) - STEP
        else:
            whole, part = self.positions(np.arange(self.next_output, final + 1, dtype=np.int64))
            begins = whole - LATENCY - HALF
            x = self._reaching(int(begins[0]))
            resample_any(x[0], x[1], begins - self._begin, part * PHASES, TABLE32, SLOPES32, y[0], y[1])
            oldest = last
        self.next_output += count
        self._forget(oldest - LATENCY - HALF - STEP)
        return _joined(y)

    def lose(self, inputs: int, outputs: int) -> None:
        """Pass over inputs and outputs that nobody wants; what comes after rises from silence.

        Parameters
        ----------
        inputs, outputs : int
        """
        self.next_input += inputs
        self.next_output += outputs
        self._held = self._held[..., :0]
        self._begin = self.next_input

    def _reaching(self, begin: int) -> np.ndarray:
        """What is held, with silence before it back to an index."""
        lacking = self._begin - begin
        if lacking > 0:
            self._held = np.concatenate([np.zeros((*self._held.shape[:2], lacking), np.float32), self._held], axis=2)
            self._begin = begin
        return self._held

    def _forget(self, begin: int) -> None:
        """What lies before an index."""
        drop = min(begin - self._begin, self._held.shape[2])
        if drop > 0:
            self._held = self._held[..., drop:].copy()
            self._begin += drop


TABLE32 = TABLE[int(MARGIN * PHASES) :].astype(np.float32)  # begins at part 0
SLOPES32 = SLOPES[int(MARGIN * PHASES) :].astype(np.float32)


def _joined(y: np.ndarray) -> np.ndarray:
    """[channels, n] complex64 of two planes."""
    out = np.empty(y.shape[1:], dtype=np.complex64)
    out.real, out.imag = y
    return out
