"""A stream of samples moved to another clock and another carrier, whatever the pieces in which it comes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from testbed.errors import ShapeError
from testbed.phy._resample_kernels import interpolate_and_turn

HALF = 8  # taps on each side: images of what lies within 0.35 of the rate are 70 dB down
KAISER_BETA = 7.5
PHASES = 512  # filters a sample; between them the taps are linear, 100 dB below the signal
KEPT = HALF + 2  # samples that may be wanted again: half a filter, and one that a delay goes back


class Resampler:
    r"""Samples of one clock read at the instants of another, then turned: :math:`y[n] = x(p_n) e^{j 2\pi c_n}`.

    Position and phase go on from call to call: :math:`p_{n+1} = p_n + s`, :math:`c_{n+1} = c_n + d`, with the step s
    and the turn d of the call that makes the sample. Both are kept as small numbers, so that nothing is lost over any
    length.

    References
    ----------
    T. I. Laakso et al., "Splitting the unit delay", IEEE Signal Processing Magazine 13(1), 1996, sec. 3.
    """

    def __init__(self) -> None:
        self._held = np.zeros(KEPT, np.complex64)
        self._position = float(KEPT)  # of the next output, in samples of `_held`
        self._turn = 0.0

    def push(self, samples: np.ndarray, step: float, turn: float = 0.0) -> np.ndarray:
        """Take in samples; what can be made of all that came so far.

        Parameters
        ----------
        samples : [n] complex64
        step : float
            Samples of the input from one of the output to the next; between 0.5 and 2.
        turn : float
            Cycles from one sample of the output to the next.

        Returns
        -------
        [m] complex64
            ``HALF`` input samples behind the last that came.

        Raises
        ------
        ShapeError
            If ``samples`` has more than one axis.
        ValueError
            If the step lies outside its range.
        """
        samples = np.asarray(samples, np.complex64)
        if samples.ndim != 1:
            raise ShapeError(f"samples {samples.shape}: one axis is allowed")
        if not 0.5 <= step <= 2.0:
            raise ValueError(f"step = {step}: allowed: 0.5..2")
        held = np.concatenate([self._held, samples])
        count = max(0, int(np.ceil((len(held) - HALF - self._position) / step)))
        out = np.empty(count, np.complex64)
        interpolate_and_turn(held, self._position, step, filters(), self._turn, turn, out)
        self._turn = (self._turn + count * turn) % 1.0
        position = self._position + count * step
        gone = max(0, min(int(position), len(held)) - KEPT)
        self._position = position - gone
        self._held = held[gone:]
        return out

    def delay(self, fraction: float) -> None:
        """What comes next leaves later by a fraction of an input sample.

        Parameters
        ----------
        fraction : float
            0 to 1.

        Raises
        ------
        ValueError
            If it lies outside its range.
        """
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction = {fraction}: allowed: 0..1")
        self._position -= fraction
        if self._position < KEPT:  # as if so much silence had gone before
            self._held = np.concatenate([np.zeros(1, np.complex64), self._held])
            self._position += 1


@lru_cache(maxsize=1)
def filters() -> np.ndarray:
    """[PHASES + 1, 2 HALF] float32, read-only: Kaiser-windowed sinc between two samples, the sum of each row 1."""
    t = np.arange(2 * HALF) - (HALF - 1) - np.arange(PHASES + 1)[:, None] / PHASES
    window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (t / HALF) ** 2, 0, None))) / np.i0(KAISER_BETA)
    table = np.sinc(t) * window
    table /= table.sum(axis=1, keepdims=True)
    table = table.astype(np.float32)
    table.flags.writeable = False
    return table
