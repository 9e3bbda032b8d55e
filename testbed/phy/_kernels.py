"""Numba kernels of the waveform: plain arrays in and out. Their NumPy twins stand in the tests as oracles."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def viterbi(llr: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Maximum-likelihood path of a zero-terminated rate-1/2 code.

    ``llr`` [n, 2] float32, positive means bit 1; ``outputs`` [states, 2] uint8 is the pair of code bits (first bit in
    the high place) sent from a state on input 0 or 1. A state is the last K - 1 inputs, newest in the high place.
    Returns [n] uint8, the inputs, the tail included.
    """
    steps = llr.shape[0]
    states = outputs.shape[0]
    half = states // 2
    # State s is reached from 2 (s mod half) and the next, on input s // half: what these two transitions send, as
    # factors, so that the loop over states has no look-up and runs in vector lanes.
    sent = np.empty((2, 2, states), np.float32)  # [from the even or the odd state, bit, to]
    for state in range(states):
        for odd in range(2):
            pair = outputs[2 * (state % half) + odd, state // half]
            sent[odd, 0, state] = pair >> 1
            sent[odd, 1, state] = pair & 1
    metric = np.full(states, np.float32(-1e30))
    metric[0] = 0.0
    following = np.empty(states, np.float32)
    choice = np.empty((steps, states), np.uint8)
    for step in range(steps):
        first, second = llr[step, 0], llr[step, 1]
        for bit in range(2):
            for low in range(half):
                state = bit * half + low
                even = metric[2 * low] + (first * sent[0, 0, state] + second * sent[0, 1, state])
                odd = metric[2 * low + 1] + (first * sent[1, 0, state] + second * sent[1, 1, state])
                choice[step, state] = odd > even
                following[state] = max(even, odd)
        metric, following = following, metric
    bits = np.empty(steps, np.uint8)
    state = 0
    for step in range(steps - 1, -1, -1):
        bits[step] = state // half
        state = 2 * (state % half) + choice[step, state]
    return bits


@numba.njit(cache=True, nogil=True)
def sum_repeats(llr: np.ndarray, places: np.ndarray, code: int) -> np.ndarray:
    """Add what was received of each code bit: [code] float32, ``places`` naming the code bit of each of ``llr``.

    What is not finite is left out: it says nothing.
    """
    total = np.zeros(code, np.float64)
    for i in range(llr.shape[0]):
        if np.isfinite(llr[i]):
            total[places[i]] += llr[i]
    return total.astype(np.float32)


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
