"""Impairments that are closed forms of the absolute sample index: carrier offset, fractional delay, noise."""

from __future__ import annotations

import numpy as np

from testbed.air._normal_kernels import BOUNDS, HEIGHTS, WIDTHS, fill_normal

KERNEL_HALF = 8  # samples on each side of the interpolator's centre; the medium's latency
ROUNDING = 1e-15  # what is left of zeros of a sine
KERNEL_BETA = 8.5  # Kaiser; the error stays below -79 dB up to 36.5/128 fs, the band edge of both profiles
PHASOR_CHUNK = 256
NOISE_CHUNK = 8192
LOW_64 = (1 << 64) - 1


def phasor(offset_hz: float, sample_rate_hz: float, first_sample: int, count: int) -> np.ndarray:
    r"""A carrier offset: :math:`e^{j 2\pi f n / f_s}`.

    The phase is float64 from the absolute index at every 256th sample, and a table of 256 rotations lies between: no
    drift. After 10 minutes at 1.92 MS/s and 25 kHz the phase is right to 1e-7 rad; complex64 itself resolves 6e-8.

    Parameters
    ----------
    offset_hz, sample_rate_hz : float
    first_sample : int
        Absolute index :math:`n` of the first.
    count : int

    Returns
    -------
    [count] complex64
    """
    if offset_hz == 0.0:
        return np.ones(count, dtype=np.complex64)
    table = np.exp(2j * np.pi * offset_hz / sample_rate_hz * np.arange(PHASOR_CHUNK))
    begin = first_sample // PHASOR_CHUNK
    end = -(-(first_sample + count) // PHASOR_CHUNK)
    turns = np.arange(begin, end) * PHASOR_CHUNK * (offset_hz / sample_rate_hz)
    anchors = np.exp(2j * np.pi * (turns - np.floor(turns)))
    whole = (anchors[:, None] * table).astype(np.complex64).ravel()
    skip = first_sample - begin * PHASOR_CHUNK
    return whole[skip : skip + count]


def interpolator(delay_samples: np.ndarray, length: int) -> np.ndarray:
    r"""Windowed-sinc filters that delay by ``KERNEL_HALF + delay_samples``.

    .. math::  s_k = \mathrm{sinc}(k - H - d) \, w(k - H - d), \quad w = \text{Kaiser}, \; |k - H - d| \le H

    Parameters
    ----------
    delay_samples : [...] float64
        Not negative; may be fractional. A whole delay gives a single 1.
    length : int
        Taps of each filter, at least ``filter_length(max(delay_samples))``.

    Returns
    -------
    [..., length] float64

    References
    ----------
    T. I. Laakso et al., "Splitting the unit delay", IEEE Signal Processing Magazine 13(1), 1996, sec. 3.
    """
    t = np.arange(length) - KERNEL_HALF - np.asarray(delay_samples, dtype=np.float64)[..., None]
    inside = np.clip(1.0 - (t / KERNEL_HALF) ** 2, 0.0, None)
    window = np.i0(KERNEL_BETA * np.sqrt(inside)) / np.i0(KERNEL_BETA)
    h = np.sinc(t) * np.where(np.abs(t) < KERNEL_HALF, window, 0.0)
    return np.where(np.abs(h) < ROUNDING, 0.0, h)


def filter_length(delay_samples: float) -> int:
    """Taps that ``interpolator`` needs.

    Parameters
    ----------
    delay_samples : float
        The longest delay.

    Returns
    -------
    int
    """
    return 2 * KERNEL_HALF + 1 + int(np.ceil(delay_samples))


class NoiseSource:
    r"""Circular complex Gaussian noise of unit variance, keyed by (seed, antenna, sample).

    Each chunk of 8192 samples has a PCG64 stream of its own, of ``SeedSequence(seed, spawn_key=(..., chunk))``, so a
    sample's value depends on its index alone, and does not repeat.

    Parameters
    ----------
    seed : int
    spawn_key : tuple of int
        Of this source, among all streams of the seed.

    References
    ----------
    M. E. O'Neill, "PCG: a family of simple fast space-efficient statistically good algorithms for random number
    generation", Harvey Mudd College, HMC-CS-2014-0905.
    """

    def __init__(self, seed: int, spawn_key: tuple[int, ...]) -> None:
        self._seed = seed
        self._spawn_key = spawn_key
        self._held = (-1, np.zeros(0, dtype=np.complex64))

    def samples(self, first_sample: int, count: int) -> np.ndarray:
        """Noise from an absolute index on.

        Parameters
        ----------
        first_sample, count : int

        Returns
        -------
        [count] complex64
                Of unit variance.
        """
        out = np.empty(count, dtype=np.complex64)
        done = 0
        while done < count:
            index, skip = divmod(first_sample + done, NOISE_CHUNK)
            take = min(NOISE_CHUNK - skip, count - done)
            if take == NOISE_CHUNK:
                self._fill(index, out[done : done + take])
            else:
                out[done : done + take] = self._chunk(index)[skip : skip + take]
            done += take
        return out

    def _chunk(self, index: int) -> np.ndarray:
        """The chunk that is asked for in pieces."""
        if self._held[0] != index:
            out = np.empty(NOISE_CHUNK, dtype=np.complex64)
            self._fill(index, out)
            self._held = (index, out)
        return self._held[1]

    def _fill(self, index: int, out: np.ndarray) -> None:
        keyed = np.random.SeedSequence(self._seed, spawn_key=(*self._spawn_key, index))
        pcg = np.random.PCG64(keyed).state["state"]
        words = (pcg["state"] >> 64, pcg["state"] & LOW_64, pcg["inc"] >> 64, pcg["inc"] & LOW_64, 0, 0)
        state = np.array(words, dtype=np.uint64)
        fill_normal(state, BOUNDS, WIDTHS, HEIGHTS, np.float32(np.sqrt(0.5)), out.view(np.float32))
