"""The convolutional code against brute force, a NumPy twin and its union bound; the CRC against damage."""

from __future__ import annotations

import itertools
import zlib

import numpy as np
import pytest
from scipy.stats import norm

from testbed.errors import ShapeError
from testbed.phy import coding
from testbed.phy._kernels import viterbi

# Total information weight of the codewords of weight 10, 12, ... 20 of the (133, 171) code: Conan, "The weight spectra
# of some short low-rate convolutional codes", IEEE Trans. Commun. 32(9), 1984. Those of odd weight are absent.
DISTANCES = np.arange(10, 21, 2)
INFORMATION_WEIGHTS = np.array([36, 211, 1404, 11633, 77433, 502690])


def viterbi_numpy(llr: np.ndarray) -> np.ndarray:
    """The kernel's twin: one add-compare-select over all states at once."""
    outputs, states = coding.trellis_outputs().astype(int), np.arange(64)
    high, before = states // 32, 2 * (states % 32)
    metric = np.where(states == 0, np.float32(0), np.float32(-1e30))
    choices = []
    for first, second in llr:
        branch = np.array([0, second, first, np.float32(first + second)], np.float32)
        ways = np.stack([metric[before + i] + branch[outputs[before + i, high]] for i in (0, 1)])
        choices.append(ways[1] > ways[0])
        metric = ways.max(axis=0)
    bits, state = [], 0
    for choice in reversed(choices):
        bits.append(state // 32)
        state = 2 * (state % 32) + choice[state]
    return np.array(bits[::-1])


def shift_register(bits: np.ndarray) -> np.ndarray:
    """The encoder as drawn in the books: taps 1011011 and 1111001 on (newest, ..., oldest)."""
    register, out = [0] * 7, []
    for bit in [*bits, *[0] * 6]:
        register = [bit, *register[:6]]
        out += [
            sum(r * t for r, t in zip(register, taps, strict=True)) % 2
            for taps in ((1, 0, 1, 1, 0, 1, 1), (1, 1, 1, 1, 0, 0, 1))
        ]
    return np.array(out)


def test_encoder_is_the_shift_register(rng):
    """200 bits."""
    bits = rng.integers(0, 2, 200)
    np.testing.assert_array_equal(coding.convolve(bits), shift_register(bits))


def test_viterbi_kernel_agrees_with_its_numpy_twin(rng):
    """40 blocks of pure noise, where every decision is close: bit by bit."""
    for _ in range(40):
        llr = rng.standard_normal((60, 2)).astype(np.float32)
        np.testing.assert_array_equal(viterbi(llr, coding.trellis_outputs()), viterbi_numpy(llr))


def test_viterbi_finds_the_most_likely_of_all_codewords(rng):
    """8 information bits, all 256 codewords tried, 100 noisy blocks at an SNR that makes errors common."""
    words = np.array(list(itertools.product((0, 1), repeat=8)))
    book = np.stack([coding.convolve(word) for word in words])
    mistaken = 0
    for _ in range(100):
        sent = rng.integers(256)
        llr = (2.0 * book[sent] - 1 + 1.6 * rng.standard_normal(book.shape[1])).astype(np.float32)
        likeliest = int(np.argmax(book @ llr))
        mistaken += likeliest != sent
        found = viterbi(llr.reshape(-1, 2), coding.trellis_outputs())
        np.testing.assert_array_equal(found[:8], words[likeliest])
        assert not found[8:].any()
    assert mistaken > 5


def test_bit_errors_lie_under_the_union_bound_and_near_it(rng):
    """Eb/N0 = 3 dB, 1e6 bits: between a third of the bound and all of it; uncoded makes 40 times as many."""
    ebno, length, blocks = 10**0.3, 500, 2000
    bits = rng.integers(0, 2, (blocks, length))
    errors = 0
    for block in bits:
        code = coding.convolve(block)
        llr = 2.0 * code - 1 + np.sqrt(1 / ebno) * rng.standard_normal(len(code))  # rate 1/2: Es = Eb / 2 a real bit
        errors += np.count_nonzero(
            viterbi(llr.astype(np.float32).reshape(-1, 2), coding.trellis_outputs())[:length] != block
        )
    bound = np.sum(INFORMATION_WEIGHTS * norm.sf(np.sqrt(DISTANCES * ebno)))
    measured = errors / bits.size
    assert bound / 3 < measured < 1.1 * bound
    assert measured < norm.sf(np.sqrt(2 * ebno)) / 40


@pytest.mark.parametrize("coded_bits", [coding.code_bits(23), 864, 1001])
def test_decode_undoes_encode_with_a_third_of_the_bits_lost(coded_bits, rng):
    """Repetition or not, erasures as zeros and as not-a-number; one bit in ten lost where there is no repetition."""
    payload = rng.bytes(23)
    bits = coding.encode(payload, coded_bits)
    assert bits.shape == (coded_bits,)
    llr = 2.0 * bits - 1
    lost = rng.random(coded_bits) < (1 / 3 if coded_bits > 800 else 0.1)
    llr[lost] = np.where(rng.random(lost.sum()) < 0.5, 0, np.nan)
    assert coding.decode(llr, 23) == payload


def test_every_code_bit_is_sent_about_equally_often():
    """864 places for 444 code bits: once or twice each."""
    places = np.bincount(coding._places(coding.code_bits(23), 864))
    assert set(places) == {1, 2}


def test_noise_is_no_payload(rng):
    """1000 blocks; the CRC lets one in 4e9 pass."""
    assert all(coding.decode(rng.standard_normal(864), 23) is None for _ in range(1000))


def test_any_single_wrong_bit_fails_the_crc(rng):
    """All 216 places of payload and CRC, each a valid codeword."""
    payload = rng.bytes(23)
    protected = np.unpackbits(np.frombuffer(payload + zlib.crc32(payload).to_bytes(4, "big"), np.uint8))
    code = coding.code_bits(23)
    for place in range(len(protected)):
        damaged = protected.copy()
        damaged[place] ^= 1
        llr = 2.0 * coding.convolve(damaged)[coding._places(code, code)] - 1
        assert coding.decode(llr, 23) is None


def test_too_few_bits_are_refused():
    """The message says what to raise."""
    with pytest.raises(ShapeError, match="header_symbols"):
        coding.encode(bytes(23), 443)
