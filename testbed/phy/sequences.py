"""Pseudo-random sequences that both ends must make alike, whatever their NumPy: Gold bits and a hash. No randomness."""

from __future__ import annotations

import numpy as np

GOLD_SKIP = 1600  # N_C of TS 38.211, 5.2.1


def gold_bits(c_init: int, count: int) -> np.ndarray:
    r"""Length-31 Gold sequence, :math:`c(n) = x_1(n + N_C) \oplus x_2(n + N_C)`.

    Parameters
    ----------
    c_init : int
        Initial state of the second register, 0 <= c_init < 2**31; names the sequence.
    count : int
        Bits wanted.

    Returns
    -------
    [count] uint8

    References
    ----------
    3GPP TS 38.211, 5.2.1.
    """
    if not 0 <= c_init < 2**31:
        raise ValueError(f"c_init = {c_init}: allowed: 0..2^31-1")
    one, two = 1, c_init
    bits = np.empty(count, np.uint8)
    for n in range(GOLD_SKIP + count):
        if n >= GOLD_SKIP:
            bits[n - GOLD_SKIP] = (one ^ two) & 1
        one = one >> 1 | ((one >> 3 ^ one) & 1) << 30
        two = two >> 1 | ((two >> 3 ^ two >> 2 ^ two >> 1 ^ two) & 1) << 30
    return bits


def splitmix64(index: np.ndarray) -> np.ndarray:
    """Hash of 64-bit integers, the output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, fig. 17)."""
    z = (np.asarray(index).astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
