"""Numba kernels of the waveform: plain arrays in and out. Their NumPy twins stand in the tests as oracles."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def rotate(samples: np.ndarray, coarse: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """Multiply [row, n] complex64, sample n by ``coarse[n // B] * fine[n % B]`` with B = len(fine)."""
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
    """Sum |correlation|^2 over antennas and take the largest over hypotheses, lag by lag.

    ``correlation`` [antenna, hypothesis, >= lags] complex64. Returns power [lags] float32 and its hypothesis [lags].
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
    """[lags] float32: ``power`` over the energy of what was correlated from each lag on, antennas added; at most 1.

    0 where that is no number, or no more than ``silence`` of all the energy in ``samples`` [antenna, n] complex64.
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
    """Gauss-Newton steps on the phase from sample to sample, in radians, of [antenna, n] complex64 that lie, once it is
    taken out, in the span of the orthonormal ``basis`` [n, rank] complex64."""
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
    """First and last delay within ``reach`` at which |paths|^2 [antenna, delay], antennas added, reaches ``factor``
    times the median of what lies beyond 2 ``reach``, and ``below_peak`` times the strongest. NaN if there is none."""
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
