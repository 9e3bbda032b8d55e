"""Numba kernels of the polar code: plain arrays in and out. Their NumPy twins stand in the tests as oracles."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def transform(bits: np.ndarray) -> np.ndarray:
    """Times the n-th Kronecker power of [[1, 0], [1, 1]] over GF(2): [2**n] uint8; its own inverse."""
    out = bits.copy()
    half = 1
    while half < out.shape[0]:
        for first in range(0, out.shape[0], 2 * half):
            for i in range(first, first + half):
                out[i] ^= out[i + half]
        half *= 2
    return out


@numba.njit(cache=True, nogil=True)
def list_decode(llr: np.ndarray, known: np.ndarray, value: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Successive-cancellation list decoding with min-sum updates.

    Arrays of a level are addressed through one pointer a path and level: when paths fork, pointers are copied. All
    paths rewrite a level in the same step, when nobody needs its old content, so that each writes to its own slot.

    Parameters
    ----------
    llr : [N] float32
        Log-likelihood ratios, positive means bit 1; N is a power of two.
    known : [N] bool
        Inputs that the decoder need not find out.
    value : [N] uint8
        Their values.
    size : int
        Most paths that are kept.

    Returns
    -------
    codewords : [paths, N] uint8
        The most likely first.
    metrics : [paths] float32
        What speaks against each, smaller is likelier.

    References
    ----------
    As for `testbed.phy.polar.decode`.
    """
    length = llr.shape[0]
    top = 0
    while (1 << top) < length:
        top += 1
    soft = np.empty((top + 1, size, length), np.float32)  # positive means bit 0 in here
    left = np.empty((top + 1, size, length), np.uint8)  # decided bits of left children
    done = np.empty((2, size, length), np.uint8)  # of the subtree that was just completed
    soft_at = np.zeros((size, top + 1), np.int64)
    left_at = np.zeros((size, top + 1), np.int64)
    soft_before = np.empty_like(soft_at)
    left_before = np.empty_like(left_at)
    metric = np.zeros(size, np.float32)
    candidates = np.empty(2 * size, np.float32)
    order = np.empty(2 * size, np.int64)
    bit = np.zeros(size, np.uint8)
    for i in range(length):
        soft[top, 0, i] = -llr[i]
    paths, which = 1, 0
    for i in range(length):
        level = top
        if i > 0:
            level = 0
            while not (i >> level) & 1:
                level += 1
            half = 1 << level
            for p in range(paths):
                above, here = soft[level + 1, soft_at[p, level + 1]], soft[level, p]
                decided = left[level, left_at[p, level]]
                for j in range(half):
                    here[j] = above[j + half] - above[j] if decided[j] else above[j + half] + above[j]
            for p in range(paths):
                soft_at[p, level] = p
        for lower in range(level - 1, -1, -1):
            half = 1 << lower
            for p in range(paths):
                above, here = soft[lower + 1, soft_at[p, lower + 1]], soft[lower, p]
                for j in range(half):
                    a, b = above[j], above[j + half]
                    least = min(abs(a), abs(b))
                    here[j] = least if (a < 0) == (b < 0) else -least
            for p in range(paths):
                soft_at[p, lower] = p
        if known[i]:
            for p in range(paths):
                bit[p] = value[i]
                if (soft[0, p, 0] < 0) != (value[i] == 1):
                    metric[p] += abs(soft[0, p, 0])
        else:
            for p in range(paths):
                s = soft[0, soft_at[p, 0], 0]
                candidates[2 * p] = metric[p] - min(s, np.float32(0.0))
                candidates[2 * p + 1] = metric[p] + max(s, np.float32(0.0))
            count = 2 * paths
            kept = min(size, count)
            for q in range(count):
                order[q] = q
            if count > size:
                for q in range(kept):
                    best = q
                    for r in range(q + 1, count):
                        if candidates[order[r]] < candidates[order[best]]:
                            best = r
                    order[q], order[best] = order[best], order[q]
            soft_before[:paths] = soft_at[:paths]
            left_before[:paths] = left_at[:paths]
            for q in range(kept):
                soft_at[q] = soft_before[order[q] >> 1]
                left_at[q] = left_before[order[q] >> 1]
                metric[q] = candidates[order[q]]
                bit[q] = order[q] & 1
            paths = kept
        if i % 2 == 0:
            for p in range(paths):
                left[0, p, 0] = bit[p]
                left_at[p, 0] = p
            continue
        for p in range(paths):
            done[which, p, 0] = bit[p]
        level = 0
        while level < top:
            half = 1 << level
            goes_on = level + 1 < top and not (i >> (level + 1)) & 1
            for p in range(paths):
                first, second = left[level, left_at[p, level]], done[which, p]
                both = left[level + 1, p] if goes_on else done[1 - which, p]
                for j in range(half):
                    both[j] = first[j] ^ second[j]
                    both[j + half] = second[j]
            if goes_on:
                for p in range(paths):
                    left_at[p, level + 1] = p
                break
            which = 1 - which
            level += 1
    ranking = np.argsort(metric[:paths])
    return done[which][ranking], metric[ranking]
