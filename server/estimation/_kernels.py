"""Numba kernels of channel estimation: plain arrays in and out. Their NumPy twins stand in the tests as oracles."""

from __future__ import annotations

import numba
import numpy as np

FACTORS = 16  # whose product is taken before its logarithm, which takes longest: variances below 1e19 fit


@numba.njit(cache=True, nogil=True, fastmath=True)
def pilot_turn(h: np.ndarray) -> np.ndarray:
    """[U] complex128: sum of conj(h) at a pilot symbol times h at the next, ``h`` [A, U, P, n] complex64."""
    antennas, users, pilots, count = h.shape
    turn = np.zeros(users, np.complex128)
    for antenna in range(antennas):
        for user in range(users):
            re, im = 0.0, 0.0
            for pilot in range(pilots - 1):
                for i in range(count):
                    a, b = h[antenna, user, pilot, i], h[antenna, user, pilot + 1, i]
                    re += a.real * b.real + a.imag * b.imag
                    im += a.real * b.imag - a.imag * b.real
            turn[user] += complex(re, im)
    return turn


@numba.njit(cache=True, nogil=True, fastmath=True)
def likeliest(y: np.ndarray, value_time: np.ndarray, value_frequency: np.ndarray, rho: float, noise: float) -> int:
    """Under which of C Gaussian priors coefficients are likeliest.

    Parameters
    ----------
    y : [C, I, A, J] complex64
        The coefficients in each prior's own basis.
    value_time : [C, I] float64
        Eigenvalues over time.
    value_frequency : [C, J] float64
        Eigenvalues over frequency.
    rho : float
        Power over noise, linear.
    noise : float
        Variance of a coefficient's noise.

    Returns
    -------
    int
        The first of equals.
    """
    priors, rank, antennas, size = y.shape
    scale = 1.0 / noise if noise > 0.0 else 0.0
    best, most = 0, -np.inf
    for c in range(priors):
        total = 0.0
        for i in range(rank):
            row = rho * value_time[c, i]
            for first in range(0, size, FACTORS):
                product, cost = 1.0, 0.0
                for j in range(first, min(first + FACTORS, size)):
                    energy = np.float32(0.0)
                    for a in range(antennas):
                        energy += y[c, i, a, j].real ** 2 + y[c, i, a, j].imag ** 2
                    variance = 1.0 + row * value_frequency[c, j]
                    cost += energy / variance
                    product *= variance
                total -= scale * cost + antennas * np.log(product)
        if total > most:
            best, most = c, total
    return best
