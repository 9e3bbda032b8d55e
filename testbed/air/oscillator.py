"""A radio's reference as closed forms of nominal time: its sample clock, the phase of its LO, and phase noise."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

from testbed.config import Oscillator

NS = 1_000_000_000  # nominal time is counted in whole nanoseconds
NOISE_CHUNK = 8192  # samples between two nodes of the phase noise's tree
TREE_LEVELS = 40  # 2^40 chunks: 149 years at 1.92 MS/s


@dataclass(frozen=True)
class Reference:
    r"""How far a crystal is off, from a moment on: :math:`\epsilon(t) = \epsilon_0 + d (t - t_0)`.

    Attributes
    ----------
    origin_ns : int
        :math:`t_0`, nominal.
    error : float
        :math:`\epsilon_0`, relative: 1e-6 is 1 ppm.
    drift_per_s : float
        :math:`d`.
    """

    origin_ns: int
    error: float
    drift_per_s: float

    @classmethod
    def of(cls, oscillator: Oscillator, origin_ns: int, correction_ppm: float = 0.0) -> Reference:
        r"""The oscillator of a scenario as it is at a moment, :math:`1 + \epsilon_0 = (1 + p)(1 + c)`.

        Parameters
        ----------
        oscillator : Oscillator
        origin_ns : int
        correction_ppm : float
            :math:`c`, by which a driver moves LO and rate besides.

        Returns
        -------
        Reference
        """
        drift_per_s = oscillator.drift_ppm_per_min * 1e-6 / 60
        own, moved = oscillator.ppm * 1e-6 + drift_per_s * origin_ns / NS, correction_ppm * 1e-6
        return cls(origin_ns, own + moved + own * moved, drift_per_s * (1 + moved))

    def elapsed(self, whole: np.ndarray, part: np.ndarray | float, rate_hz: int) -> np.ndarray:
        """Nominal samples since the origin, of the instants ``(whole + part) / rate_hz``: right to 1e-6.

        Parameters
        ----------
        whole : [n] int64
        part : [n] float64
        rate_hz : int

        Returns
        -------
        [n] float64
        """
        before, rest = divmod(self.origin_ns * rate_hz, NS)
        return (np.asarray(whole, dtype=np.int64) - before) + (part - rest / NS)

    def ahead(self, elapsed: np.ndarray, rate_hz: int) -> np.ndarray:
        r"""Samples by which this clock leads a nominal one: :math:`\epsilon_0 x + d x^2 / (2 f_s)`.

        Parameters
        ----------
        elapsed : [n] float64
            :math:`x`, nominal samples since the origin.
        rate_hz : int

        Returns
        -------
        [n] float64
        """
        return elapsed * (self.error + elapsed * (self.drift_per_s / (2 * rate_hz)))

    def turns(self, lo_hz: float, samples: np.ndarray, rate_hz: int) -> np.ndarray:
        r"""By how much an LO's phase leads a nominal one: :math:`f \int_{t_0}^{t} \epsilon \, dt'`.

        Parameters
        ----------
        lo_hz : float
            :math:`f`, nominal.
        samples : [n] int64
            The instants :math:`t`, as indices at ``rate_hz``.
        rate_hz : int

        Returns
        -------
        [n] float64
            In turns, not reduced. Right to 1e-6 after three hours at 25 ppm of 2.4 GHz.
        """
        return self.ahead(self.elapsed(samples, 0.0, rate_hz), rate_hz) * (lo_hz / rate_hz)


@dataclass(frozen=True)
class Clock:
    r"""A radio's sample index as a function of nominal time, and back.

    .. math::
        q(t) &= q_0 + x + \epsilon_0 x + \frac{d}{2 f_s} x^2, \quad x = f_s (t - t_0) \\
        x(q) &= y - y \frac{\epsilon_0 + S - 1}{1 + \epsilon_0 + S}, \quad
            y = q - q_0, \; S = \sqrt{(1 + \epsilon_0)^2 + 2 d y / f_s}

    Positions are pairs of a whole number and a part in [0, 1): integers stay exact, and the part is right to 1e-10
    samples after hours, which one float64 is not.

    Attributes
    ----------
    reference : Reference
    rate_hz : int
        Nominal.
    whole : int
        Whole part of :math:`q_0`, the radio's own index at the reference's origin.
    part : float
        The rest of it.
    """

    reference: Reference
    rate_hz: int
    whole: int = 0
    part: float = 0.0

    def own(self, samples: np.ndarray, grid_hz: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The radio's own position at the instants ``samples / grid_hz``.

        Parameters
        ----------
        samples : [n] int64
        grid_hz : int, optional
            The clock's own nominal rate if left out.

        Returns
        -------
        whole : [n] int64
        part : [n] float64
        """
        samples = np.asarray(samples, dtype=np.int64)
        if grid_hz is None or grid_hz == self.rate_hz:
            return self._own(samples, np.zeros(samples.shape))
        nominal, rest = np.divmod(samples * self.rate_hz, grid_hz)
        return self._own(nominal, rest / grid_hz)

    def own_at(self, time_ns: int) -> tuple[int, float]:
        """The radio's own position at a nominal time.

        Parameters
        ----------
        time_ns : int

        Returns
        -------
        whole : int
        part : float
        """
        nominal, rest = divmod(time_ns * self.rate_hz, NS)
        before, origin_rest = divmod(self.reference.origin_ns * self.rate_hz, NS)
        elapsed = (nominal - before) + (rest / NS - origin_rest / NS)
        ahead = elapsed * (self.reference.error + elapsed * (self.reference.drift_per_s / (2 * self.rate_hz)))
        moved = rest / NS - origin_rest / NS + self.part + ahead
        down = math.floor(moved)
        return nominal - before + self.whole + down, moved - down

    def nominal(self, samples: np.ndarray, delay_samples: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Where the radio's own samples fall, in nominal samples of its rate.

        Parameters
        ----------
        samples : [n] int64
            Own indices.
        delay_samples : float
            By so many own samples earlier.

        Returns
        -------
        whole : [n] int64
        part : [n] float64
        """
        steps = np.asarray(samples, dtype=np.int64) - self.whole
        y = steps - (self.part + delay_samples)
        one = 1.0 + self.reference.error
        slope = 2.0 * self.reference.drift_per_s / self.rate_hz
        above = (self.reference.error * (1.0 + one) + slope * y) / (1.0 + np.sqrt(one * one + slope * y))  # S - 1
        behind = y * (self.reference.error + above) / (one + 1.0 + above)
        before, rest = divmod(self.reference.origin_ns * self.rate_hz, NS)
        moved = rest / NS - self.part - delay_samples - behind
        down = np.floor(moved)
        return steps + before + down.astype(np.int64), moved - down

    def moved(self, reference: Reference) -> Clock:
        """The clock from a later moment on, without a jump.

        Parameters
        ----------
        reference : Reference
            Its origin is the moment.

        Returns
        -------
        Clock
        """
        whole, part = self.own_at(reference.origin_ns)
        return replace(self, reference=reference, whole=whole, part=part)

    def _own(self, nominal: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """At nominal samples ``nominal + rest``."""
        ahead = self.reference.ahead(self.reference.elapsed(nominal, rest, self.rate_hz), self.rate_hz)
        before, origin_rest = divmod(self.reference.origin_ns * self.rate_hz, NS)
        moved = rest - origin_rest / NS + self.part + ahead
        down = np.floor(moved)
        return nominal - before + self.whole + down.astype(np.int64), moved - down


class PhaseNoise:
    r"""The phase of an LO with a Lorentzian line: a Wiener process of variance :math:`2\pi \Delta\nu \, t` rad².

    .. math::  W(c S + i) = W_c + B_i + \frac{i}{S} (W_{c+1} - W_c - B_S)

    Within a chunk of :math:`S` = 8192 samples :math:`B` sums increments of the chunk's own stream; the nodes
    :math:`W_c` are midpoints of a Brownian bridge over 2^40 chunks, each of a stream of its own. So the phase at any
    sample is found without those before it, and is the same however a stream is cut.

    Parameters
    ----------
    linewidth_hz : float
        :math:`\Delta\nu`, full width at half maximum.
    rate_hz : float
    seed : int
    spawn_key : tuple of int
        Of this process, among all streams of the seed.

    References
    ----------
    A. Demir, A. Mehrotra, J. Roychowdhury, "Phase noise in oscillators: a unifying theory and numerical methods for
    characterization", IEEE Trans. Circuits and Systems I 47(5), 2000.

    P. Glasserman, *Monte Carlo Methods in Financial Engineering*, 2003, 3.1.1 (Brownian bridge).
    """

    def __init__(self, linewidth_hz: float, rate_hz: float, seed: int, spawn_key: tuple[int, ...]) -> None:
        self._step_turns = float(np.sqrt(2 * np.pi * linewidth_hz / rate_hz)) / (2 * np.pi)
        self._seed, self._spawn_key = seed, spawn_key
        self._node = functools.lru_cache(maxsize=4 * TREE_LEVELS)(self._compute_node)
        self._held = (-1, np.zeros(0))

    def turns(self, first_sample: int, count: int) -> np.ndarray:
        """Phase from an absolute index on, 0 at index 0.

        Parameters
        ----------
        first_sample, count : int

        Returns
        -------
        [count] float64
            In turns.
        """
        out = np.empty(count)
        done = 0
        while done < count:
            chunk, skip = divmod(first_sample + done, NOISE_CHUNK)
            take = min(NOISE_CHUNK - skip, count - done)
            out[done : done + take] = self._path(chunk)[skip : skip + take]
            done += take
        return out

    def _path(self, chunk: int) -> np.ndarray:
        """[8192] of one chunk."""
        if self._held[0] != chunk:
            begin, end = self._node(0, chunk), self._node(0, chunk + 1)
            sums = np.cumsum(self._stream(0, chunk).standard_normal(NOISE_CHUNK))
            bridge = np.concatenate([[0.0], sums[:-1]]) + np.arange(NOISE_CHUNK) / NOISE_CHUNK * (
                end - begin - sums[-1]
            )
            self._held = (chunk, (begin + bridge) * self._step_turns)
        return self._held[1]

    def _compute_node(self, level: int, index: int) -> float:
        """W at ``index * 2^level`` chunks, for increments of unit variance."""
        if index == 0:
            return 0.0
        if level == TREE_LEVELS:
            return index * float(self._stream(1 + level, 1).standard_normal()) * np.sqrt(NOISE_CHUNK * 2.0**level)
        half, odd = divmod(index, 2)
        if not odd:
            return float(self._node(level + 1, half))
        middle = 0.5 * (self._node(level + 1, half) + self._node(level + 1, half + 1))
        spread = np.sqrt(NOISE_CHUNK * 2.0**level / 2)  # of the midpoint of an interval of twice this level
        return float(middle + spread * self._stream(1 + level, index).standard_normal())

    def _stream(self, kind: int, index: int) -> np.random.Generator:
        keyed = np.random.SeedSequence(self._seed, spawn_key=(*self._spawn_key, kind, index))
        return np.random.Generator(np.random.PCG64(keyed))
