"""A polar code with a CRC, decoded by a list that may know some of the bits beforehand. It knows no header."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np

from testbed.errors import ShapeError
from testbed.phy._polar_kernels import list_decode, transform

CRC_BITS = 32
LIST_SIZE = 8  # of 1, 8 and 32: 8 is within 0.2 dB of 32 at a quarter of its time
BETA = 2**0.25  # of the reference below


@lru_cache(maxsize=8)
def reliability_order(length: int) -> np.ndarray:
    r"""Inputs of a polar code from the most to the least reliable, by polarization weight.

    .. math:: W(i) = \sum_j b_j \beta^j, \quad i = \sum_j b_j 2^j, \quad \beta = 2^{1/4}

    Parameters
    ----------
    length : int
        A power of two.

    Returns
    -------
    [length] int64, read-only

    Raises
    ------
    ShapeError
        If the length is no power of two.

    References
    ----------
    G. He et al., "Beta-expansion: a theoretical framework for fast and recursive construction of polar codes", IEEE
    GLOBECOM 2017, eq. 3.
    """
    places = np.arange(length)
    if length < 2 or length & (length - 1):
        raise ShapeError(f"length = {length}: a polar code's is a power of two")
    weight = np.zeros(length)
    for j in range(length.bit_length() - 1):
        weight += (places >> j & 1) * BETA**j
    order = np.argsort(-weight, kind="stable")
    order.flags.writeable = False
    return order


def crc_bits(payload: np.ndarray) -> np.ndarray:
    """CRC-32 (of zlib) of bits that are packed and filled up with zeros: [n] of 0 and 1 -> [32] uint8."""
    check = zlib.crc32(np.packbits(payload).tobytes())
    return np.unpackbits(np.frombuffer(check.to_bytes(CRC_BITS // 8, "big"), np.uint8))


def encode(payload: np.ndarray, length: int) -> np.ndarray:
    """Codeword of a payload and its CRC.

    Parameters
    ----------
    payload : [n] of 0 and 1
        The last stands on the most reliable input behind the CRC, the first on the least reliable one.
    length : int
        A power of two, at least n + 32.

    Returns
    -------
    [length] uint8

    Raises
    ------
    ShapeError
        If the payload does not fit.
    """
    payload = np.asarray(payload, np.uint8)
    inputs = np.zeros(length, np.uint8)
    inputs[_places(len(payload), length)] = np.concatenate([payload, crc_bits(payload)])
    return transform(inputs)


def decode(llr: np.ndarray, count: int, known: np.ndarray | None = None) -> np.ndarray | None:
    """Find the payload of a noisy codeword.

    Bits that are known beforehand cost the code nothing: their inputs are as good as frozen. The CRC is checked for
    every path of the list, so noise passes with a probability of at most ``LIST_SIZE`` / 2^32 a call.

    Parameters
    ----------
    llr : [length] float32
        Positive means bit 1; what is not finite counts as 0, knowing nothing.
    count : int
        Bits of the payload.
    known : [count] int8, optional
        0 or 1 for a bit that is known, -1 for one that is not.

    Returns
    -------
    [count] uint8 or None
        None where no path passes the CRC.

    References
    ----------
    I. Tal and A. Vardy, "List decoding of polar codes", IEEE Trans. Inf. Theory 61(5), 2015; the metric is that of A.
    Balatsoukas-Stimming, M. Bastani Parizi and A. Burg, "LLR-based successive cancellation list decoding of polar
    codes", IEEE Trans. Signal Process. 63(19), 2015, eq. 11b.
    """
    llr = np.asarray(llr, np.float32)
    llr = np.where(np.isfinite(llr), llr, np.float32(0))
    places = _places(count, len(llr))
    frozen = np.ones(len(llr), np.bool_)
    frozen[places] = False
    value = np.zeros(len(llr), np.uint8)
    if known is not None:
        given = np.flatnonzero(np.asarray(known) >= 0)
        frozen[places[given]] = True
        value[places[given]] = np.asarray(known)[given]
    words, _ = list_decode(llr, frozen, value, LIST_SIZE)
    for word in words:
        found = transform(word)[places]
        if np.array_equal(crc_bits(found[:count]), found[count:]):
            return found[:count]
    return None


@lru_cache(maxsize=8)
def _places(count: int, length: int) -> np.ndarray:
    """Inputs that carry the payload's bits, the first on the least reliable of them, then the CRC on the best."""
    if count + CRC_BITS > length:
        raise ShapeError(f"payload of {count} bits: a code of {length} carries at most {length - CRC_BITS}")
    return reliability_order(length)[: count + CRC_BITS][::-1].copy()
