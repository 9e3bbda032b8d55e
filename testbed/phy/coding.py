"""The header's channel code: CRC-32, a K = 7 convolutional code, repetition and an interleaver. Knows no header."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np

from testbed.errors import ShapeError
from testbed.phy._kernels import sum_repeats, viterbi
from testbed.phy.interleave import permutation

CONSTRAINT_LENGTH = 7
GENERATORS = (0o133, 0o171)  # the rate-1/2 code of highest free distance, 10 (Proakis, table 8.3-1)
TAIL_BITS = CONSTRAINT_LENGTH - 1
CRC_BYTES = 4


@lru_cache(maxsize=1)
def trellis_outputs() -> np.ndarray:
    """[64, 2] uint8: the pair of code bits sent from a state on input 0 or 1, first generator in the high place."""
    registers = np.arange(2)[None, :] << TAIL_BITS | np.arange(1 << TAIL_BITS)[:, None]
    parity = [np.array([[bin(r & g).count("1") & 1 for r in row] for row in registers]) for g in GENERATORS]
    return (2 * parity[0] + parity[1]).astype(np.uint8)


def code_bits(payload_bytes: int) -> int:
    """Bits out of the convolutional code for a payload, before repetition: the fewest that `encode` can fill."""
    return 2 * (8 * (payload_bytes + CRC_BYTES) + TAIL_BITS)


def convolve(bits: np.ndarray) -> np.ndarray:
    """Encode [n] bits, begun and ended (by six zeros) in state 0: [2 (n + 6)] uint8."""
    padded = np.concatenate([np.zeros(TAIL_BITS, np.uint8), bits, np.zeros(TAIL_BITS, np.uint8)]).astype(np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(padded, CONSTRAINT_LENGTH)[:, ::-1]
    # The octal generators are written with the newest input in their highest place.
    taps = np.array([[g >> (TAIL_BITS - i) & 1 for i in range(CONSTRAINT_LENGTH)] for g in GENERATORS], np.uint8)
    return (windows @ taps.T & 1).astype(np.uint8).ravel()


def encode(payload: bytes, coded_bits: int) -> np.ndarray:
    """Protect ``payload``: CRC-32, convolutional code, repetition until ``coded_bits`` are full, interleaver.

    Returns
    -------
    [coded_bits] uint8

    Raises
    ------
    ShapeError
        If the code does not fit even once.
    """
    protected = payload + zlib.crc32(payload).to_bytes(CRC_BYTES, "big")
    code = convolve(np.unpackbits(np.frombuffer(protected, np.uint8)))
    return code[_places(len(code), coded_bits)]


def decode(llr: np.ndarray, payload_bytes: int) -> bytes | None:
    """Recover a payload from soft bits, or None where the CRC says that it is not one.

    Repeated bits add up; then the Viterbi algorithm finds the most likely codeword.

    Parameters
    ----------
    llr : [coded_bits] float32
        Positive means bit 1; what is not finite counts as 0, knowing nothing.
    payload_bytes : int
    """
    llr = np.ascontiguousarray(llr, np.float32)
    code = code_bits(payload_bytes)
    combined = sum_repeats(llr, _places(code, len(llr)), code)
    bits = viterbi(combined.reshape(-1, 2), trellis_outputs())[:-TAIL_BITS]
    protected = np.packbits(bits).tobytes()
    payload, crc = protected[:-CRC_BYTES], protected[-CRC_BYTES:]
    return payload if zlib.crc32(payload).to_bytes(CRC_BYTES, "big") == crc else None


@lru_cache(maxsize=8)
def _places(code: int, coded_bits: int) -> np.ndarray:
    """Which code bit stands at each place on the air: repetition as even as can be, then the interleaver.

    The bits that are sent once less are spread over the trellis: together, they would be its weak link, of 1 dB.
    """
    if coded_bits < code:
        raise ShapeError(f"coded_bits = {coded_bits}: the code needs at least {code}; raise waveform.header_symbols")
    return permutation(code)[permutation(coded_bits) % code]
