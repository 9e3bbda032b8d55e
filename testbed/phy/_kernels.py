"""Numba kernels of the waveform: plain arrays in and out. Their NumPy twins stand in the tests as oracles."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def rotate(samples: np.ndarray, coarse: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """Multiply sample n of each row by ``coarse[n // B] * fine[n % B]``, B = len(fine).

    Parameters
    ----------
    samples : [rows, n] complex64
    coarse : [ceil(n / B)] complex64
        Phasors of the blocks' first samples.
    fine : [B] complex64
        Phasors within a block.

    Returns
    -------
    [rows, n] complex64
    """
    rows, count = samples.shape
    block = fine.shape[0]
    out = np.empty((rows, count), np.complex64)
    phasor = np.empty(block, np.complex64)
    for i in range(coarse.shape[0]):
        begin = i * block
        size = min(block, count - begin)
        for j in range(size):
            phasor[j] = coarse[i] * fine[j]
        for row in range(rows):
            for j in range(size):
                out[row, begin + j] = samples[row, begin + j] * phasor[j]
    return out


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def strongest_hypothesis(correlation: np.ndarray, lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Add :math:`|c|^2` over antennas and take the largest over hypotheses, lag by lag.

    Parameters
    ----------
    correlation : [antennas, hypotheses, >= lags] complex64
    lags : int
        How many are looked at.

    Returns
    -------
    power : [lags] float32
    hypothesis : [lags] int16
    """
    antennas, hypotheses, _ = correlation.shape
    best = np.full(lags, np.float32(-1.0))
    which = np.zeros(lags, np.int16)
    power = np.empty(lags, np.float32)
    for hypothesis in range(hypotheses):
        power[:] = 0.0
        for antenna in range(antennas):
            for lag in range(lags):
                value = correlation[antenna, hypothesis, lag]
                power[lag] += value.real * value.real + value.imag * value.imag
        for lag in range(lags):
            if power[lag] > best[lag]:
                best[lag] = power[lag]
                which[lag] = hypothesis
    return best, which


@numba.njit(cache=True, nogil=True)
def normalise(power: np.ndarray, samples: np.ndarray, silence: float) -> np.ndarray:
    """Power of a correlation over the energy of what was correlated, from each lag on, antennas added.

    Parameters
    ----------
    power : [lags] float32
        From `strongest_hypothesis`.
    samples : [antennas, n] complex64
        What was correlated with a reference of n - lags + 1 samples of unit energy.
    silence : float
        Share of all the energy below which a lag counts as silent.

    Returns
    -------
    [lags] float32
        0 to 1; 0 in silence and where the power is no number.
    """
    antennas, count = samples.shape
    lags = power.shape[0]
    length = count - lags + 1
    running = np.zeros(count + 1, np.float64)
    for i in range(count):
        running[i + 1] = running[i]
        for antenna in range(antennas):
            re, im = np.float64(samples[antenna, i].real), np.float64(samples[antenna, i].imag)
            running[i + 1] += re * re + im * im
    statistic = np.zeros(lags, np.float32)
    for lag in range(lags):
        energy = running[lag + length] - running[lag]
        if energy > silence * running[count]:
            statistic[lag] = min(power[lag] / energy, 1.0)
    return statistic


@numba.njit(cache=True, nogil=True)
def refine_offset(samples: np.ndarray, basis: np.ndarray, turn: float, steps: int) -> float:
    r"""Gauss-Newton steps on the phase from sample to sample, by which samples are turned out of a known subspace.

    Model: :math:`y_a[n] = e^{j\omega n} (S h_a)[n] + w_a[n]` with orthonormal S; the channel :math:`h_a` is eliminated.

    Parameters
    ----------
    samples : [antennas, n] complex64
    basis : [n, rank] complex64
        S.
    turn : float
        :math:`\omega` to begin from, in radians a sample.
    steps : int

    Returns
    -------
    float
        :math:`\omega` in radians a sample.
    """
    antennas, count = samples.shape
    dual = np.conj(basis)
    span = np.ascontiguousarray(basis.T)
    level = np.empty((antennas, count), np.complex64)
    slope = np.empty((antennas, count), np.complex64)
    middle = (count - 1) / 2
    for _ in range(steps):
        for i in range(count):
            phasor = np.complex64(np.exp(-1j * turn * i))
            for antenna in range(antennas):
                level[antenna, i] = samples[antenna, i] * phasor
        fitted = np.dot(np.dot(level, dual), span)
        for i in range(count):
            time = np.complex64(1j * (i - middle))
            for antenna in range(antennas):
                slope[antenna, i] = time * fitted[antenna, i]
        slope -= np.dot(np.dot(slope, dual), span)
        curvature, gradient = 0.0, 0.0
        for antenna in range(antennas):
            for i in range(count):
                a, b = slope[antenna, i], level[antenna, i]
                curvature += a.real * a.real + a.imag * a.imag
                gradient += a.real * b.real + a.imag * b.imag
        if not curvature > 0:
            break
        turn += gradient / curvature
    return turn


@numba.njit(cache=True, nogil=True)
def first_and_last(
    paths: np.ndarray, delays: np.ndarray, reach: float, factor: float, below_peak: float
) -> tuple[float, float]:
    """First and last delay within ``reach`` whose power counts, antennas added.

    Parameters
    ----------
    paths : [antennas, n] complex64
        Impulse response.
    delays : [n] float64
        In samples.
    reach : float
        In samples; what lies beyond twice as much is taken for noise.
    factor : float
        Least power over the median of that noise.
    below_peak : float
        Least power over the strongest within reach.

    Returns
    -------
    first, last : float
        In samples; NaN where no delay counts.
    """
    antennas, count = paths.shape
    profile = np.zeros(count, np.float32)
    for antenna in range(antennas):
        for i in range(count):
            value = paths[antenna, i]
            profile[i] += value.real * value.real + value.imag * value.imag
    beyond = np.empty(count, np.float32)
    far, peak = 0, np.float32(0.0)
    for i in range(count):
        if abs(delays[i]) > 2 * reach:
            beyond[far] = profile[i]
            far += 1
        elif abs(delays[i]) <= reach:
            peak = max(peak, profile[i])
    noise = np.median(beyond[:far]) if far else np.float32(0.0)
    least = max(noise * factor, below_peak * peak)
    first, last = np.inf, -np.inf
    for i in range(count):
        if abs(delays[i]) <= reach and profile[i] >= least:
            first, last = min(first, delays[i]), max(last, delays[i])
    return (first, last) if first <= last else (np.nan, np.nan)
