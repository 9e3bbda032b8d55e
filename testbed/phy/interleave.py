"""The interleaver: a fixed pseudo-random order that spreads a fade over all of a picture."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from testbed.phy.sequences import splitmix64


@lru_cache(maxsize=16)
def permutation(k: int) -> np.ndarray:
    """[k] int64, read-only: sent element i is element ``permutation(k)[i]``. Fixed by k alone, on any NumPy."""
    order = np.argsort(splitmix64(np.arange(k)), kind="stable")
    order.flags.writeable = False
    return order


def interleave(x: np.ndarray) -> np.ndarray:
    """Permute the last axis into the order of sending."""
    x = np.asarray(x)
    return x[..., permutation(x.shape[-1])]


def deinterleave(x: np.ndarray) -> np.ndarray:
    """Undo `interleave`."""
    x = np.asarray(x)
    out = np.empty_like(x)
    out[..., permutation(x.shape[-1])] = x
    return out
