"""Filters between users and antennas whose coefficients move: the part of a medium that costs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from testbed.air._kernels import superimpose
from testbed.air.fading import GainGrid
from testbed.air.impairments import filter_length, interpolator
from testbed.channels.base import TappedDelayLine

INTERPOLATION_ERROR = 1e-3  # rms of linear interpolation between grid points, relative to a gain's rms: -60 dB
MAX_GRID_STEP = 1024


class FilterBank:
    r"""What each antenna receives of each user, through a tapped delay line of its own.

    .. math::  y_a(n) = \sum_u c_{au}(n) \sum_l g_{aul}(n / f_s) \, x_u(n - L - d_u - \tau_{aul} f_s)

    with the latency :math:`L` = `testbed.air.impairments.KERNEL_HALF` and amplitudes :math:`c_{au}` that `change` sets
    from a sample on, 1 until then.

    Fractional delays are one windowed-sinc filter for each antenna and user, whose coefficients move linearly between
    grid points that lie at multiples of ``grid_step`` samples: relative rms error at most :math:`(2\pi f_d T)^2 / 8`,
    held below 1e-3 by the choice of the step. The result depends on absolute indices alone, bit for bit.

    Parameters
    ----------
    lines : [A][U] TappedDelayLine or None
        None: not connected.
    delays_samples : [U] float64
        :math:`d_u`; not negative.
    rate_hz : float
    """

    def __init__(
        self, lines: Sequence[Sequence[TappedDelayLine | None]], delays_samples: np.ndarray, rate_hz: float
    ) -> None:
        self.antennas, self.users = len(lines), len(lines[0])
        connected = [line for row in lines for line in row if line is not None]
        self.grid_step = _grid_step(max((line.max_doppler_hz for line in connected), default=0.0), rate_hz)
        self._chunks: dict[int, np.ndarray] = {}
        delays = np.asarray(delays_samples, dtype=np.float64)
        whole = np.floor(delays).astype(np.int64)
        beyond = [
            [
                np.zeros(1) if line is None else d + line.delays_s * rate_hz
                for d, line in zip(delays - whole, row, strict=True)
            ]
            for row in lines
        ]
        # Multiples of 8 fill vector registers; shorter filters begin with zeros, which the kernel leaves out.
        lengths = np.array([[-(-filter_length(d.max()) // 8) * 8 for d in row] for row in beyond])
        self._length = int(lengths.max())
        lengths[[[line is None for line in row] for row in lines]] = 0
        self._begins = self._length - lengths  # [A, U]
        self._groups = _groups(lines, beyond, self._length, self.grid_step / rate_hz)
        self.history = int(whole.max()) + self._length - 1
        self._starts = self.history - whole - (self._length - 1)
        self._past = np.zeros((2, self.users, self.history), dtype=np.float32)
        self._changes: list[_Change] = []

    def frame(self, count: int) -> np.ndarray:
        """Where to write the users' next samples, behind ``history`` samples that came before.

        Parameters
        ----------
        count : int

        Returns
        -------
        [2, U, history + count] float32
            Real and imaginary parts; the last ``count`` are to be filled.
        """
        frame = np.empty((2, self.users, self.history + count), dtype=np.float32)
        frame[..., : self.history] = self._past
        return frame

    def mix(self, frame: np.ndarray, first_sample: int, silent: np.ndarray | None = None) -> np.ndarray:
        """What the antennas receive.

        Parameters
        ----------
        frame : [2, U, history + n] float32
            As `frame` gave it, filled.
        first_sample : int
            Absolute index of the first that was filled.
        silent : [U] bool, optional
            Whose samples in the frame are all zero, so that their filters are left out.

        Returns
        -------
        [2, A, n] float32
            Real and imaginary parts.
        """
        count = frame.shape[2] - self.history
        self._past = frame[..., count:].copy()
        begins = self._begins if silent is None else np.where(silent, self._length, self._begins)
        cuts = [c.at_sample - first_sample for c in self._changes if 0 < c.at_sample - first_sample < count]
        edges = [0, *sorted(set(cuts)), count]
        if len(edges) == 2:
            return self._mix(frame, begins, first_sample, 0, count)
        return np.concatenate(
            [self._mix(frame, begins, first_sample, a, b) for a, b in itertools.pairwise(edges)], axis=2
        )

    def skip(self, count: int) -> None:
        """Let silence pass.

        Parameters
        ----------
        count : int
        """
        keep = max(0, self.history - count)
        past = np.zeros_like(self._past)
        past[..., :keep] = self._past[..., self.history - keep :]
        self._past = past

    def change(self, at_sample: int, antenna: int, user: int, amplitude: float) -> None:
        r"""Set :math:`c_{au}` from a sample on.

        Parameters
        ----------
        at_sample : int
            Absolute index.
        antenna, user : int
        amplitude : float
        """
        self._changes.append(_Change(at_sample, antenna, user, amplitude))
        self._changes.sort(key=lambda c: c.at_sample)  # stable: of two at one sample the later one holds

    def amplitudes(self, samples: np.ndarray) -> np.ndarray:
        r"""The amplitudes :math:`c_{au}`.

        Parameters
        ----------
        samples : [n] float
            Absolute indices.

        Returns
        -------
        [n, A, U] float64
        """
        out = np.ones((len(samples), self.antennas, self.users))
        for change in self._changes:
            out[np.asarray(samples) >= change.at_sample, change.antenna, change.user] = change.amplitude
        return out

    def _mix(self, frame: np.ndarray, begins: np.ndarray, first_sample: int, begin: int, end: int) -> np.ndarray:
        """[2, A, end - begin] of a stretch in which no amplitude changes."""
        sums = np.zeros((2, self.antennas, end - begin), dtype=np.float32)
        if end > begin:
            first = first_sample + begin
            h_re, h_im = self._coefficients(first // self.grid_step, (first_sample + end - 1) // self.grid_step + 1)
            if self._changes:
                c = self.amplitudes(np.array([first])).astype(np.float32)[..., None]
                h_re, h_im = h_re * c, h_im * c
            starts = self._starts + begin
            superimpose(frame[0], frame[1], starts, begins, h_re, h_im, first, self.grid_step, sums[0], sums[1])
        return sums

    def _coefficients(self, first_point: int, last_point: int) -> tuple[np.ndarray, np.ndarray]:
        """Real and imaginary [points, A, U, K] float32 of the filters at grid points first..last."""
        size = GainGrid.CHUNK_POINTS
        wanted = range(first_point // size, last_point // size + 1)
        self._chunks = {i: self._chunks[i] if i in self._chunks else self._filters(i) for i in wanted}
        joined = np.concatenate(list(self._chunks.values()))
        h = joined[first_point - wanted[0] * size : last_point + 1 - wanted[0] * size]
        return h.real.astype(np.float32), h.imag.astype(np.float32)

    def _filters(self, chunk: int) -> np.ndarray:
        """[64, A, U, K] complex64: every filter at the points of one chunk of the grid."""
        h = np.zeros((GainGrid.CHUNK_POINTS, self.antennas * self.users, self._length), dtype=np.complex64)
        for group in self._groups:
            gains = group.grid.chunk(chunk)  # [links, taps, points]
            h[:, group.links] = (gains.transpose(2, 0, 1)[..., None, :] @ group.kernels)[..., 0, :]
        return h.reshape(GainGrid.CHUNK_POINTS, self.antennas, self.users, self._length)


class _Change(NamedTuple):
    at_sample: int
    antenna: int
    user: int
    amplitude: float


class _Group(NamedTuple):
    """Links whose lines have one shape, so that their gains are computed together."""

    links: list[int]  # antenna * users + user
    grid: GainGrid
    kernels: np.ndarray  # [links, taps, K] float64, in the order of the samples


def _groups(
    lines: Sequence[Sequence[TappedDelayLine | None]],
    beyond: Sequence[Sequence[np.ndarray]],
    length: int,
    step_s: float,
) -> list[_Group]:
    """All links, in groups; ``beyond`` holds each one's delays in samples."""
    flat = [line for row in lines for line in row]
    delays = [d for row in beyond for d in row]
    shapes: dict[tuple[int, ...], list[int]] = {}
    for number, line in enumerate(flat):
        if line is not None:
            shapes.setdefault(line.phases.shape, []).append(number)
    return [
        _Group(
            links,
            GainGrid([line for i in links if (line := flat[i]) is not None], step_s),
            interpolator(np.stack([delays[i] for i in links]), length)[..., ::-1],
        )
        for links in shapes.values()
    ]


def _grid_step(doppler_hz: float, sample_rate_hz: float) -> int:
    """Largest power of two, at most 1024, that keeps the interpolation error in bounds."""
    if doppler_hz == 0:
        return MAX_GRID_STEP
    longest = np.sqrt(8 * INTERPOLATION_ERROR) / (2 * np.pi * doppler_hz) * sample_rate_hz
    return int(2 ** np.clip(np.floor(np.log2(longest)), 0, np.log2(MAX_GRID_STEP)))
