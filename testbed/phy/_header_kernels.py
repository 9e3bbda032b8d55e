"""Numba kernel of the header's test: plain arrays in and out. Its NumPy twin stands in the tests as oracle."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def agree(soft: np.ndarray, pattern: np.ndarray, word: np.ndarray) -> tuple[float, float]:
    """Agreement and consistency of soft bits with the bits ``pattern`` xor ``word``.

    The equations stand at `testbed.phy.header_code.agreement` and `consistency`.

    Parameters
    ----------
    soft : [n] float32
        Log-likelihood ratios, positive means bit 1.
    pattern, word : [n] uint8
        0 or 1.

    Returns
    -------
    agreement, consistency : float
        Both 0 where all of ``soft`` is 0.
    """
    score, size, excess, spread = 0.0, 0.0, 0.0, 0.0
    for i in range(soft.shape[0]):
        value = np.float64(soft[i])
        posterior = np.tanh(value / 2)
        sign = 1.0 if pattern[i] != word[i] else -1.0
        score += sign * posterior
        size += posterior * posterior
        excess += sign * value - value * posterior
        spread += value * value * (1.0 - posterior * posterior)
    if not size > 0:
        return 0.0, 0.0
    return score / np.sqrt(size), excess / (np.sqrt(spread) + 1e-3)
