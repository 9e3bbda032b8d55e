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
    metric = np.full(states, np.float32(-1e30))
    metric[0] = 0.0
    following = np.empty(states, np.float32)
    choice = np.empty((steps, states), np.uint8)
    branch = np.empty(4, np.float32)
    for step in range(steps):
        branch[0] = 0.0
        branch[1] = llr[step, 1]
        branch[2] = llr[step, 0]
        branch[3] = llr[step, 0] + llr[step, 1]
        for state in range(states):
            bit = state // half
            low = 2 * (state % half)
            first = metric[low] + branch[outputs[low, bit]]
            second = metric[low + 1] + branch[outputs[low + 1, bit]]
            if second > first:
                following[state] = second
                choice[step, state] = 1
            else:
                following[state] = first
                choice[step, state] = 0
        metric, following = following, metric
    bits = np.empty(steps, np.uint8)
    state = 0
    for step in range(steps - 1, -1, -1):
        bits[step] = state // half
        state = 2 * (state % half) + choice[step, state]
    return bits


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
