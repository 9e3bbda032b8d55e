"""QPSK: mapping, soft bits, lost elements."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.errors import ShapeError
from testbed.phy.modulation import qpsk, qpsk_hard, qpsk_llr

PAIRS = np.array([0, 0, 0, 1, 1, 0, 1, 1])


def test_mapping_is_that_of_38_211():
    """The four points of TS 38.211, 5.1.3."""
    np.testing.assert_allclose(qpsk(PAIRS), np.array([1 + 1j, 1 - 1j, -1 + 1j, -1 - 1j]) / np.sqrt(2), rtol=1e-6)
    np.testing.assert_array_equal(qpsk_hard(qpsk(PAIRS)), PAIRS)


def test_soft_bits_are_the_log_likelihood_ratio(rng):
    """Against the ratio of Gaussian densities summed over the constellation."""
    points, labels = qpsk(PAIRS).astype(complex), PAIRS.reshape(4, 2)
    x = (rng.standard_normal(50) + 1j * rng.standard_normal(50)).astype(np.complex64)
    no = rng.uniform(0.1, 2, 50).astype(np.float32)
    density = np.exp(-(np.abs(x[:, None] - points) ** 2) / no[:, None])
    exact = [np.log(density[:, labels[:, b] == 1].sum(1) / density[:, labels[:, b] == 0].sum(1)) for b in (0, 1)]
    llr = qpsk_llr(x, no)
    assert llr.dtype == np.float32
    np.testing.assert_allclose(llr.reshape(-1, 2), np.stack(exact, axis=1), rtol=1e-3, atol=1e-4)


def test_lost_elements_say_nothing_and_certain_ones_stay_finite():
    """Infinite and zero noise."""
    llr = qpsk_llr(qpsk(PAIRS), np.array([np.inf, np.inf, 0.0, 1.0], np.float32))
    assert np.all(llr[:4] == 0)
    assert np.all(np.isfinite(llr))
    np.testing.assert_array_equal(llr[4:] > 0, PAIRS[4:] == 1)


def test_an_odd_number_of_bits_is_refused():
    """QPSK takes two."""
    with pytest.raises(ShapeError):
        qpsk(np.zeros(3))
