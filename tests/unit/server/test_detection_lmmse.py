"""LMMSE detection against its NumPy twin, its own report, and published error rates."""

from __future__ import annotations

import numpy as np
import pytest

from server.detection import DETECTORS, find_detector, lmmse
from testbed.errors import ScenarioError, ShapeError


def rayleigh(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Circular Gaussian of unit variance."""
    return ((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)).astype(np.complex64)


def qpsk(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random QPSK of unit energy."""
    return ((rng.choice([-1, 1], shape) + 1j * rng.choice([-1, 1], shape)) / np.sqrt(2)).astype(np.complex64)


def twin(y: np.ndarray, h: np.ndarray, cov: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The equation, in float64: the oracle of the kernels."""
    h, y = h.astype(np.complex128), y.astype(np.complex128)
    hermitian = np.swapaxes(h.conj(), -1, -2)
    g = hermitian @ np.linalg.inv(h @ hermitian + cov)
    rho = np.einsum("...kn,...nk->...k", g, h).real
    return (g @ y[..., None])[..., 0] / rho, (1 - rho) / rho


SIZES = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 2), (2, 4), (4, 4), (4, 2), (8, 8)]


@pytest.mark.parametrize(("users", "antennas"), SIZES)
def test_kernels_compute_the_equation(users, antennas, rng):
    """Every form (closed, users' Gram, antennas' Gram, a ragged last block) against float64 NumPy, to 2e-4."""
    h, y = rayleigh(rng, 7, 143, antennas, users), rayleigh(rng, 7, 143, antennas)
    no = rng.uniform(0.01, 2.0, (7, 143)).astype(np.float32)
    x_hat, no_eff = lmmse(y, h, no)
    x_twin, no_twin = twin(y, h, no[..., None, None] * np.eye(antennas))
    assert x_hat.shape == (7, 143, users)
    assert x_hat.dtype == np.complex64
    assert no_eff.dtype == np.float32
    np.testing.assert_allclose(x_hat, x_twin, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(no_eff, no_twin, rtol=2e-4)


@pytest.mark.parametrize(("users", "antennas"), [(2, 2), (4, 4), (4, 2)])
def test_lmmse_reports_the_error_it_makes(users, antennas, rng):
    """Reported against measured error variance, 1e5 symbols a user: agree to 2 % (weighted, standard error 0.4 %)."""
    count, no = 100_000, 0.05
    h, x = rayleigh(rng, count, antennas, users), qpsk(rng, count, users)
    y = (h @ x[..., None])[..., 0] + np.sqrt(np.float32(no)) * rayleigh(rng, count, antennas)
    x_hat, no_eff = lmmse(y, h, no)
    assert np.mean(np.abs(x_hat - x) ** 2 / no_eff) == pytest.approx(1.0, rel=0.02)
    weight = 1 / (1 + no_eff)
    error = np.abs(x_hat - x) ** 2
    assert np.sum(weight**2 * error) == pytest.approx(np.sum(weight**2 * no_eff), rel=0.02)


@pytest.mark.parametrize(("users", "antennas"), [(2, 2), (4, 4), (4, 2)])
def test_the_estimate_is_unbiased(users, antennas, rng):
    """Regression of x_hat on x with weights 1/no_eff: gain 1 within 4 standard errors; a biased MMSE has 0.4..0.9."""
    count, no = 50_000, 0.1
    h, x = rayleigh(rng, count, antennas, users), qpsk(rng, count, users)
    y = (h @ x[..., None])[..., 0] + np.sqrt(np.float32(no)) * rayleigh(rng, count, antennas)
    x_hat, no_eff = lmmse(y, h, no)
    information = np.sum(1 / no_eff, dtype=np.float64)
    gain = np.sum(x_hat * x.conj() / no_eff, dtype=np.complex128) / information
    assert abs(gain - 1) < 4 / np.sqrt(information)


def test_error_of_the_channel_passed_as_noise_is_reported(rng):
    """h = h_hat + error of variance e: with no + K e passed, reported and measured agree to 3 % (2e5 symbols)."""
    count, no, error_variance = 200_000, 0.02, 0.01
    h_hat = np.sqrt(np.float32(1 - error_variance)) * rayleigh(rng, count, 2, 2)
    true = h_hat + np.sqrt(np.float32(error_variance)) * rayleigh(rng, count, 2, 2)
    x = qpsk(rng, count, 2)
    y = (true @ x[..., None])[..., 0] + np.sqrt(np.float32(no)) * rayleigh(rng, count, 2)
    x_hat, no_eff = lmmse(y, h_hat, no + 2 * error_variance)
    assert np.mean(np.abs(x_hat - x) ** 2 / no_eff) == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize(("snr_db", "other"), [(5, 7.69e-2), (10, 2.96e-2), (15, 1.01e-2), (20, 3.23e-3)])
def test_uncoded_qpsk_error_rate_is_that_of_an_independent_implementation(snr_db, other, rng):
    """2 x 2, i.i.d. Rayleigh, the channel known: the other's 2e6 bits, our 8e5; 4 standard errors of the difference.

    Errors of one channel go together (two users, two bits), which raises the variance at most fourfold.
    """
    count = 200_000
    h, x = rayleigh(rng, count, 2, 2), qpsk(rng, count, 2)
    y = (h @ x[..., None])[..., 0] + np.float32(10 ** (-snr_db / 20)) * rayleigh(rng, count, 2)
    x_hat, _ = lmmse(y, h, 10 ** (-snr_db / 10))
    rate = np.mean(np.r_[(x_hat.real > 0) != (x.real > 0), (x_hat.imag > 0) != (x.imag > 0)])
    sigma = np.sqrt(2.0 * other * (1 / (4 * count) + 1 / 2e6))
    assert abs(rate - other) < 4 * sigma


@pytest.mark.parametrize(("users", "antennas"), [(1, 2), (2, 2), (4, 4), (4, 2)])
@pytest.mark.parametrize("no", [0.0, 0.1])
def test_an_absent_user_is_infinitely_uncertain_and_disturbs_nobody(users, antennas, no, rng):
    """The last user's channel is zero: x_hat 0, no_eff infinite, the others as without it (to 1e-3)."""
    h, y = rayleigh(rng, 500, antennas, users), rayleigh(rng, 500, antennas)
    h[..., -1] = 0
    x_hat, no_eff = lmmse(y, h, no)
    assert np.all(x_hat[:, -1] == 0)
    assert np.all(np.isinf(no_eff[:, -1]))
    assert np.all(np.isfinite(x_hat))
    if users > 1 and (no > 0 or users - 1 <= antennas):
        x_alone, no_alone = lmmse(y, h[..., :-1], no)
        np.testing.assert_allclose(x_hat[:, :-1], x_alone, rtol=1e-3, atol=1e-3)
        if no > 0:
            np.testing.assert_allclose(no_eff[:, :-1], no_alone, rtol=1e-3)


@pytest.mark.parametrize(("users", "antennas"), [(2, 2), (3, 4), (4, 4)])
def test_without_noise_it_is_zero_forcing(users, antennas, rng):
    """no = 0: symbols come back to 1e-3 where the channel is well conditioned, and no_eff is tiny but finite."""
    h, x = rayleigh(rng, 2000, antennas, users), qpsk(rng, 2000, users)
    good = np.linalg.cond(h) < 20
    x_hat, no_eff = lmmse((h @ x[..., None])[..., 0], h, 0.0)
    np.testing.assert_allclose(x_hat[good], x[good], atol=1e-3)
    assert np.all(np.isfinite(no_eff))
    assert no_eff[good].max() < 1e-6


def test_nothing_received_over_nothing_is_finite():
    """All zeros: symbols are 0 and lost, no warning, no NaN."""
    for shape in [(2, 2), (4, 4), (2, 4)]:
        x_hat, no_eff = lmmse(np.zeros((5, shape[0])), np.zeros((5, *shape)), 0.0)
        assert np.all(x_hat == 0)
        assert np.all(np.isinf(no_eff))


def test_a_weak_signal_is_detected_like_a_strong_one(rng):
    """The 2 x 2 closed form works in float32: amplitudes of 1e-5 give what amplitudes of 1 give."""
    h, y = rayleigh(rng, 300, 2, 2), rayleigh(rng, 300, 2)
    strong = lmmse(y, h, 0.01)
    weak = lmmse(y * np.float32(1e-5), h * np.float32(1e-5), 0.01e-10)
    np.testing.assert_allclose(weak[0], strong[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(weak[1], strong[1], rtol=1e-3)


@pytest.mark.parametrize(("users", "antennas"), [(2, 2), (3, 2)])
def test_coloured_noise_is_whitened(users, antennas, rng):
    """With a covariance instead of no, the float64 equation with that covariance, to 1e-3."""
    h, y = rayleigh(rng, 400, antennas, users), rayleigh(rng, 400, antennas)
    root = rayleigh(rng, 400, antennas, antennas)
    cov = root @ np.swapaxes(root.conj(), -1, -2) + 0.1 * np.eye(antennas)
    x_hat, no_eff = lmmse(y, h, 0.0, cov=cov.astype(np.complex64))
    x_twin, no_twin = twin(y, h, cov)
    np.testing.assert_allclose(x_hat, x_twin, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(no_eff, no_twin, rtol=1e-3)


def test_wrong_shapes_are_named():
    with pytest.raises(ShapeError, match="same N"):
        lmmse(np.zeros((5, 3)), np.zeros((5, 2, 2)), 0.1)
    with pytest.raises(ShapeError, match="broadcast"):
        lmmse(np.zeros((5, 2)), np.zeros((6, 2, 2)), 0.1)
    with pytest.raises(ShapeError, match="cov"):
        lmmse(np.zeros((5, 2)), np.zeros((5, 2, 2)), 0.1, cov=np.eye(3))


def test_detectors_are_found_by_name():
    assert find_detector("lmmse") is DETECTORS["lmmse"]
    with pytest.raises(ScenarioError, match="allowed: lmmse"):
        find_detector("magic")
