"""Measures of error, by hand and against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from testbed.phy import metrics


def test_evm_and_sinr_of_a_known_error(rng):
    """1 % error power: 10 % EVM, 20 dB."""
    x = np.exp(2j * np.pi * rng.random(1000)).astype(np.complex64)
    x_hat = x + 0.1 * np.exp(2j * np.pi * rng.random(1000))
    assert metrics.evm_percent(x, x_hat) == pytest.approx(10, rel=1e-5)
    assert metrics.sinr_db(x, x_hat) == pytest.approx(20, abs=1e-4)


def test_edges_are_defined_not_warned_about():
    """No error, no signal, no values."""
    one, none = np.ones(3), np.zeros(3)
    assert metrics.sinr_db(one, one) == np.inf
    assert np.isnan(metrics.sinr_db(none, none))
    assert np.isnan(metrics.evm_percent(none, one))
    assert metrics.psnr_db(0.0) == np.inf
    assert np.isnan(metrics.percentiles([])["p50"])


def test_psnr_agrees_with_scikit_image(rng):
    """One picture; and element by element for an array of errors."""
    a, b = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    mse = np.mean((a.astype(float) - b) ** 2)
    assert metrics.psnr_db(mse) == pytest.approx(peak_signal_noise_ratio(a, b))
    np.testing.assert_allclose(metrics.psnr_db([mse, 1.0, 0.0]), [metrics.psnr_db(mse), 20 * np.log10(255), np.inf])


def test_percentiles_are_named():
    """Of 0..100."""
    assert metrics.percentiles(np.arange(101)) == {"p5": 5.0, "p50": 50.0, "p95": 95.0}
