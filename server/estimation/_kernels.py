"""Numba kernels of channel estimation: plain arrays in and out. Their NumPy twins stand in the tests as oracles."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
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
