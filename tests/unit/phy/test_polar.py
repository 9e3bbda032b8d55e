"""The polar code against brute force, a NumPy twin and the normal approximation; the CRC against damage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.stats import norm

from testbed.errors import ShapeError
from testbed.phy import polar
from testbed.phy._polar_kernels import list_decode, transform

KERNEL = np.array([[1, 0], [1, 1]], np.uint8)


def generator(levels: int) -> np.ndarray:
    """[N, N]: the Kronecker power, as the books write it."""
    matrix = np.ones((1, 1), np.uint8)
    for _ in range(levels):
        matrix = np.kron(matrix, KERNEL)
    return matrix


def list_decode_numpy(llr, known, value, size):
    """The kernel's twin: a recursion over subtrees, all paths at once. Returns codewords and metrics, best first."""
    metric = np.zeros(1, np.float32)
    leaf = iter(range(len(llr)))

    def descend(soft: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[paths, n], positive means 0 -> decided bits [paths after, n], and which path before each came from."""
        nonlocal metric
        if soft.shape[1] == 1:
            i, s = next(leaf), soft[:, 0]
            if known[i]:
                wrong = (s < 0) != bool(value[i])
                metric = metric + np.where(wrong, np.abs(s), np.float32(0))
                return np.full((len(s), 1), value[i], np.uint8), np.arange(len(s))
            both = np.stack([metric - np.minimum(s, 0), metric + np.maximum(s, 0)], axis=1).ravel()
            kept = np.arange(len(both)) if len(both) <= size else np.argsort(both, kind="stable")[:size]
            metric = both[kept]
            return (kept % 2)[:, None].astype(np.uint8), kept // 2
        a, b = np.split(soft, 2, axis=1)
        left, origin = descend(np.where((a < 0) == (b < 0), 1, -1) * np.minimum(np.abs(a), np.abs(b)))
        right, later = descend(b[origin] + np.where(left, -1, 1) * a[origin])
        return np.concatenate([left[later] ^ right, right], axis=1), origin[later]

    words, _ = descend(-llr[None].astype(np.float32))
    order = np.argsort(metric, kind="stable")
    return words[order], metric[order]


def test_the_transform_is_the_kronecker_power_and_its_own_inverse(rng):
    """32 inputs, 20 words."""
    for word in rng.integers(0, 2, (20, 32)).astype(np.uint8):
        np.testing.assert_array_equal(transform(word), word @ generator(5) % 2)
        np.testing.assert_array_equal(transform(transform(word)), word)


def test_inputs_are_ordered_by_polarization_weight():
    """Eight inputs by hand: sums of 1, 2^(1/4) and 2^(1/2)."""
    assert polar.reliability_order(8).tolist() == [7, 6, 5, 3, 4, 2, 1, 0]
    with pytest.raises(ShapeError, match="power of two"):
        polar.reliability_order(12)


def test_the_kernel_agrees_with_its_numpy_twin(rng):
    """30 blocks of noise, where every decision is close, lists of 1 to 8, a third of the inputs known: bit by bit."""
    for trial in range(30):
        llr = rng.standard_normal(64).astype(np.float32)
        known, value = rng.random(64) < 1 / 3, rng.integers(0, 2, 64).astype(np.uint8)
        words, metric = list_decode(llr, known, value, 1 + trial % 8)
        expected, theirs = list_decode_numpy(llr, known, value, 1 + trial % 8)
        np.testing.assert_allclose(metric, theirs, rtol=1e-5)
        np.testing.assert_array_equal(words, expected)


def test_a_list_of_all_paths_finds_the_most_likely_codeword(rng):
    """16 inputs of which 5 are free: all 32 codewords tried, 100 blocks at an SNR that makes errors common."""
    known, value = np.ones(16, bool), np.zeros(16, np.uint8)
    free = polar.reliability_order(16)[:5]
    known[free] = False
    book = []
    for bits in itertools.product((0, 1), repeat=5):
        inputs = value.copy()
        inputs[free] = bits
        book.append(transform(inputs))
    book = np.array(book)
    mistaken = 0
    for _ in range(100):
        sent = rng.integers(32)
        llr = (2.0 * book[sent] - 1 + 1.6 * rng.standard_normal(16)).astype(np.float32)
        likeliest = int(np.argmax(book @ llr))
        mistaken += likeliest != sent
        words, _ = list_decode(llr, known, value, 32)
        scores = words @ llr
        assert scores.max() == pytest.approx((book @ llr).max(), abs=1e-4)
        np.testing.assert_array_equal(words[int(np.argmax(scores))], book[likeliest])
    assert mistaken > 5


def normal_approximation(places: int, bits: int, esno: float) -> float:
    """Block error rate that no code of this length is much below: the BI-AWGN channel, one real bit a place.

    Y. Polyanskiy, H. V. Poor and S. Verdu, "Channel coding rate in the finite blocklength regime", IEEE Trans. Inf.
    Theory 56(5), 2010, eq. 223.
    """
    x = np.linspace(-12, 12, 20_001)
    density = norm.pdf(x)
    information = 1 - np.logaddexp(0, -(2 * esno + 2 * np.sqrt(esno) * x)) / np.log(2)
    capacity = trapezoid(density * information, x)
    dispersion = trapezoid(density * (information - capacity) ** 2, x)
    return float(norm.sf((places * capacity - bits + 0.5 * np.log2(places)) / np.sqrt(places * dispersion)))


@pytest.mark.parametrize("given", [0, 96, 156])
def test_block_errors_lie_near_what_any_code_could_do(given, rng):
    """172 bits and CRC over 512 places, 200 blocks, so many bits known beforehand: 1.5 dB past the SNR at which the
    normal approximation has 1e-2 for the rest, under 5 % fail; 1.5 dB before it, at least 0.8 of what it says.
    """
    sought = 172 + polar.CRC_BITS - given
    grid = np.arange(-12.0, 6.0, 0.05)
    limit_db = next(e for e in grid if normal_approximation(512, sought, 10 ** (e / 10)) < 1e-2)

    def failures(esno_db: float) -> int:
        esno, failed = 10 ** (esno_db / 10), 0
        for _ in range(200):
            payload = rng.integers(0, 2, 172).astype(np.uint8)
            sent = 2.0 * polar.encode(payload, 512) - 1
            llr = 4 * esno * (sent + rng.standard_normal(512) * np.sqrt(0.5 / esno))
            known = np.where(np.arange(172) < given, payload.astype(np.int8), -1)
            found = polar.decode(llr, 172, known)
            assert found is None or np.array_equal(found, payload)
            failed += found is None
        return failed

    # Es/N0 of a real bit with noise N0/2: the approximation's signal-to-noise ratio is twice that.
    offset = -10 * np.log10(2)
    assert failures(limit_db + offset + 1.5) < 10
    no_code_less = normal_approximation(512, sought, 10 ** ((limit_db - 1.5) / 10))
    assert failures(limit_db + offset - 1.5) > 0.8 * 200 * no_code_less


def test_noise_is_no_payload(rng):
    """300 blocks; the CRC lets one in 5e8 pass."""
    assert all(polar.decode(rng.standard_normal(512), 172) is None for _ in range(300))


def test_any_single_wrong_bit_fails_the_crc(rng):
    """All 204 places of payload and CRC, each a valid codeword."""
    payload = rng.integers(0, 2, 172).astype(np.uint8)
    inputs = transform(polar.encode(payload, 512))
    places = polar.reliability_order(512)[:204]
    assert not inputs[polar.reliability_order(512)[204:]].any()
    for place in places:
        damaged = inputs.copy()
        damaged[place] ^= 1
        assert polar.decode(20.0 * transform(damaged) - 10, 172) is None
    np.testing.assert_array_equal(polar.decode(20.0 * transform(inputs) - 10, 172), payload)


def test_what_is_no_number_is_an_erasure(rng):
    """A fifth of the places lost."""
    payload = rng.integers(0, 2, 172).astype(np.uint8)
    llr = 8.0 * polar.encode(payload, 512) - 4
    llr[rng.random(512) < 0.2] = np.nan
    np.testing.assert_array_equal(polar.decode(llr, 172), payload)


def test_a_payload_that_does_not_fit_is_refused():
    """The message says how much does."""
    with pytest.raises(ShapeError, match="at most 480"):
        polar.encode(np.zeros(481, np.uint8), 512)
