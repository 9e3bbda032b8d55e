"""What all detectors have in common, and the matched filter against its formula."""

from __future__ import annotations

import numpy as np
import pytest

from server.detection import DETECTORS, Channel, Prior, Received, detect_lmmse, lmmse, matched_filter


def rayleigh(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Circular Gaussian of unit variance."""
    return ((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)).astype(np.complex64)


def qpsk(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random QPSK of unit energy."""
    return ((rng.choice([-1, 1], shape) + 1j * rng.choice([-1, 1], shape)) / np.sqrt(2)).astype(np.complex64)


def scene(rng, count: int, users: int = 2, antennas: int = 2, no: float = 0.1):
    """Symbols, channel, and what is received."""
    x, h = qpsk(rng, count, users), rayleigh(rng, count, antennas, users)
    y = np.einsum("...nk,...k->...n", h, x) + np.sqrt(no) * rayleigh(rng, count, antennas)
    return x, h, y.astype(np.complex64)


@pytest.mark.parametrize("name", sorted(DETECTORS))
@pytest.mark.parametrize("prior", [False, True])
@pytest.mark.parametrize("coloured", [False, True])
def test_every_detector_reports_the_error_it_makes(name, prior, coloured, rng):
    """Reported against measured error, 5e4 elements, with and without a prior and a covariance, the channel known with
    an error: their ratio is 1 within 3 %, and estimates are unbiased."""
    count, no, error = 50_000, 0.2, 0.05
    x, h, y = scene(rng, count, no=0.0)
    shape = np.array([[1.0, 0.4], [0.4, 0.8]]) * no
    root = np.linalg.cholesky(shape) if coloured else np.sqrt(no) * np.eye(2)
    y = (y + rayleigh(rng, count, 2) @ root.T).astype(np.complex64)
    h_hat = h * np.float32(1 - error) + np.sqrt(np.float32(error * (1 - error))) * rayleigh(rng, count, 2, 2)
    known = None
    if prior:
        variance = rng.uniform(0.05, 0.9, (count, 2)).astype(np.float32)
        x = (np.sqrt(1 - variance) * qpsk(rng, count, 2)).astype(np.complex64)
        mean = x.copy()
        x = x + np.sqrt(variance) * rayleigh(rng, count, 2)
        y = np.einsum("...nk,...k->...n", h, x) + rayleigh(rng, count, 2) @ root.T
        known = Prior(mean, variance)
    covariance = np.broadcast_to(shape.astype(np.complex64), (count, 2, 2)) if coloured else None
    channel = Channel(h_hat.astype(np.complex64), np.full((count, 2), error, np.float32))
    found = DETECTORS[name](Received(y.astype(np.complex64), channel, no, covariance, known))
    ratio = np.abs(found.x_hat - x) ** 2 / found.no_eff
    assert np.mean(ratio) == pytest.approx(1, abs=0.03)
    weight = 1 / (1 + found.no_eff)
    gain = np.sum(weight * (found.x_hat * np.conj(x)).real) / np.sum(weight * np.abs(x) ** 2)
    assert gain == pytest.approx(1, abs=0.03)


def test_the_matched_filter_is_its_formula(rng):
    """Element by element, in float64."""
    _, h, y = scene(rng, 50)
    found = matched_filter(Received(y, Channel(h), 0.1))
    for i in range(50):
        for k in range(2):
            own, other = h[i, :, k].astype(complex), h[i, :, 1 - k].astype(complex)
            gain = np.vdot(own, own).real
            assert found.x_hat[i, k] == pytest.approx(np.vdot(own, y[i]) / gain, rel=1e-4)
            expected = 0.1 / gain + abs(np.vdot(own, other)) ** 2 / gain**2
            assert found.no_eff[i, k] == pytest.approx(expected, rel=1e-4)


def test_for_one_user_the_matched_filter_is_lmmse(rng):
    """Four antennas: nobody to suppress."""
    _, h, y = scene(rng, 200, users=1, antennas=4)
    received = Received(y, Channel(h), 0.3)
    a, b = matched_filter(received), detect_lmmse(received)
    np.testing.assert_allclose(a.x_hat, b.x_hat, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(a.no_eff, b.no_eff, rtol=1e-3)


def test_with_the_others_known_lmmse_is_the_matched_filter_without_them(rng):
    """A prior of no variance: interference is gone altogether, 1e-3."""
    x, h, y = scene(rng, 500)
    sure = Prior(x, np.zeros((500, 2), np.float32))
    found = detect_lmmse(Received(y, Channel(h), 0.1, prior=sure))
    for k in range(2):
        alone = y - h[..., 1 - k] * x[..., 1 - k, None]
        gain = np.sum(np.abs(h[..., k]) ** 2, axis=-1)
        expected = np.sum(h[..., k].conj() * alone, axis=-1) / gain
        np.testing.assert_allclose(found.x_hat[..., k], expected, atol=5e-3 * np.abs(expected).max())
        np.testing.assert_allclose(found.no_eff[..., k], 0.1 / gain, rtol=1e-3)


def test_a_prior_of_nothing_is_no_prior(rng):
    """Mean zero, unit variance."""
    _, h, y = scene(rng, 300)
    nothing = Prior(np.zeros((300, 2), np.complex64), np.ones((300, 2), np.float32))
    for detector in DETECTORS.values():
        a, b = detector(Received(y, Channel(h), 0.1)), detector(Received(y, Channel(h), 0.1, prior=nothing))
        np.testing.assert_allclose(a.x_hat, b.x_hat, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(a.no_eff, b.no_eff, rtol=1e-4)


@pytest.mark.parametrize(("users", "antennas"), [(2, 2), (3, 2), (2, 3)])
@pytest.mark.parametrize("no", [np.inf, 1e37, 1e25, 1e19])
def test_endless_noise_leaves_nothing(users, antennas, no, rng):
    """Both kernels: an estimate of zero and infinite noise where it is infinite, or so large that the user counts as
    absent; else noise over the channel's power, to 1 %."""
    h, y = rayleigh(rng, 100, antennas, users), rayleigh(rng, 100, antennas)
    x_hat, no_eff = lmmse(y, h, np.full(100, no, np.float32))
    assert np.all(np.isfinite(x_hat))
    assert not np.isnan(no_eff).any()
    if np.isinf(no):
        assert not x_hat.any()
        assert np.isinf(no_eff).all()
    else:
        held = np.isfinite(no_eff)
        assert held.all() or (users, antennas) != (2, 2) or no > 1e30
        with np.errstate(over="ignore"):
            expected = no / np.sum(np.abs(h) ** 2, axis=-2)
        np.testing.assert_allclose(no_eff[held], expected[held], rtol=0.01)


@pytest.mark.parametrize("detector", DETECTORS.values())
def test_a_user_without_a_channel_is_infinitely_uncertain(detector, rng):
    """And the other is found as if alone."""
    _, h, y = scene(rng, 20)
    h[..., 1] = 0
    found = detector(Received(y, Channel(h), 0.1))
    assert np.isinf(found.no_eff[..., 1]).all()
    assert not found.x_hat[..., 1].any()
    np.testing.assert_allclose(found.no_eff[..., 0], 0.1 / np.sum(np.abs(h[..., 0]) ** 2, -1), rtol=1e-3)
