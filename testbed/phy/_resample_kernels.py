"""Numba kernel of resampling; its NumPy twin stands in the tests as the oracle."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def interpolate_and_turn(
    x: np.ndarray, position: float, step: float, table: np.ndarray, turn: float, turn_step: float, y: np.ndarray
) -> None:
    r"""Write :math:`y[n] = e^{j 2\pi (c + n d)} \sum_k x[\lfloor p_n \rfloor + k - H + 1]\, h_k(p_n \bmod 1)`.

    With :math:`p_n = p + n s`, and the filters h linear between neighbouring rows of the table.

    Parameters
    ----------
    x : [m] complex64
    position, step : float
        p and s, in samples of x.
    table : [phases + 1, 2 H] float32
        Filters that interpolate at 0, 1 / phases, ... 1 between two samples.
    turn, turn_step : float
        c and d, in cycles.
    y : [n] complex64
        Written.
    """
    phases, taps = table.shape[0] - 1, table.shape[1]
    phasor = np.exp(2j * np.pi * turn)
    rotation = np.exp(2j * np.pi * turn_step)
    for n in range(y.shape[0]):
        at = position + n * step
        whole = int(np.floor(at))
        place = (at - whole) * phases
        row = min(int(place), phases - 1)
        weight = np.float32(place - row)
        begin = whole - taps // 2 + 1
        re, im = np.float32(0), np.float32(0)
        for k in range(taps):
            h = table[row, k] + weight * (table[row + 1, k] - table[row, k])
            re += h * x[begin + k].real
            im += h * x[begin + k].imag
        y[n] = complex(re, im) * phasor
        phasor *= rotation
