"""Channel estimates against the channel that was drawn, and against what they say of themselves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from server.estimation import ESTIMATORS, find_estimator, lmmse, ls, pilot_estimates
from server.estimation._kernels import likeliest, pilot_turn
from server.estimation.lmmse import mean_delay
from server.estimation.ls import user_cfo
from server.estimation.priors import comb_bases, delay_priors, time_priors, uniform_delays
from testbed.errors import ScenarioError, ShapeError
from testbed.phy.pilots import pilot_comb, pilot_values
from testbed.phy.waveform import Waveform

OTA = Waveform()


def body(rng: np.random.Generator, waveform: Waveform, user: int) -> np.ndarray:
    """[S, F]: pilots of one user, random QPSK elsewhere; made without `testbed.phy.frame`."""
    shape = (waveform.body_symbols, waveform.occupied_subcarriers)
    grid = rng.choice([-1, 1], (*shape, 2)) @ np.array([1, 1j]) / np.sqrt(2)
    grid[waveform.pilot_symbols] = 0
    for row, symbol in enumerate(waveform.pilot_symbols):
        comb = pilot_comb(waveform, user)
        grid[symbol, comb] = np.sqrt(waveform.pilot_slots) * pilot_values(waveform)[row, comb]
    return grid


def receive(rng, noise, waveform, paths, no) -> tuple[np.ndarray, np.ndarray]:
    """Grid [A, S, F] of all users' frames, without inter-carrier interference, and the true channel [S, F, A, U]."""
    h = np.stack([p.response(waveform, 0) for p in paths], axis=-1)
    x = np.stack([body(rng, waveform, user) for user in range(len(paths))])
    y = np.einsum("sfau,usf->asf", h, x)
    return (y + noise(rng, y.shape, no)).astype(np.complex64), h


def two_users(rng, make_paths, waveform=OTA, *, spread=2.0, doppler_hz=5.0, antennas=2):
    """Delays and spread that together fill the prefix, offsets almost 200 Hz apart."""
    late = waveform.cp_samples / 2 + 0.3
    return [
        make_paths(rng, antennas, delay=delay, spread=spread, doppler_hz=doppler_hz, cfo_hz=cfo_hz)
        for delay, cfo_hz in ((0.2, 95.0), (late, -95.0))
    ]


def test_least_squares_returns_the_channel_at_the_pilots(rng, make_paths, noise):
    """Without noise, exactly the channel on each user's comb, to float32."""
    paths = two_users(rng, make_paths)
    grid, h = receive(rng, noise, OTA, paths, 0.0)
    h_ls = pilot_estimates(grid, OTA)
    assert h_ls.shape == (2, 2, len(OTA.pilot_symbols), OTA.occupied_subcarriers // 2)
    for user in range(2):
        true = np.moveaxis(h[..., user][OTA.pilot_symbols][:, pilot_comb(OTA, user)], -1, 0)
        np.testing.assert_allclose(h_ls[:, user], true, atol=1e-5)


def test_user_offset_is_found(rng, make_paths, noise):
    """Static channel, offsets of +-95 Hz, 20 dB: within 5 Hz (standard error near 1 Hz); +-900 Hz are unambiguous."""
    for offset in (95.0, -900.0):
        paths = [make_paths(rng, 2, delay=3.0, spread=2.0, doppler_hz=0.0, cfo_hz=c) for c in (offset, -offset)]
        grid, _ = receive(rng, noise, OTA, paths, 0.01)
        np.testing.assert_allclose(user_cfo(pilot_estimates(grid, OTA), OTA), [offset, -offset], atol=5)
        np.testing.assert_allclose(lmmse(grid, OTA).user_cfo_hz, [offset, -offset], atol=5)


@pytest.mark.parametrize("profile", ["ota", "wide"])
@pytest.mark.parametrize(("spread", "doppler_hz"), [(0.0, 0.0), (2.0, 5.0), (7.0, 50.0)])
@pytest.mark.parametrize("snr_db", [0, 10, 20, 30])
def test_lmmse_reports_the_error_it_makes(profile, spread, doppler_hz, snr_db, rng, make_paths, noise):
    """Mean over 12 channels: reported within 1 dB of measured (standard error 0.25 dB), and 11 dB below the noise."""
    waveform = Waveform(profile=profile)
    no = 10 ** (-snr_db / 10)
    measured = reported = 0.0
    for _ in range(12):
        paths = two_users(rng, make_paths, waveform, spread=spread * waveform.cp_samples / 16, doppler_hz=doppler_hz)
        grid, h = receive(rng, noise, waveform, paths, no)
        estimate = lmmse(grid, waveform)
        measured += np.mean(np.abs(estimate.h_hat - h) ** 2) / 12
        reported += np.mean(estimate.error_variance, dtype=np.float64) / 12
    assert abs(10 * np.log10(reported / measured)) < 1.0
    assert measured < no * 10**-1.1


def test_error_is_reported_where_it_is(rng, make_paths, noise):
    """Over 40 channels at 20 dB: in the middle, at the band's edge and at both ends of the frame within 1.5 dB."""
    measured, reported = 0.0, 0.0
    for _ in range(40):
        grid, h = receive(rng, noise, OTA, two_users(rng, make_paths), 0.01)
        estimate = lmmse(grid, OTA)
        measured = measured + np.mean(np.abs(estimate.h_hat - h) ** 2, axis=2)
        reported = reported + estimate.error_variance.astype(np.float64)
    for place in (np.s_[40:60, 20:50], np.s_[:, :1], np.s_[:, -1:], np.s_[:1], np.s_[-1:]):
        assert abs(10 * np.log10(reported[place].mean() / measured[place].mean())) < 1.5
    assert reported[:, 0].mean() > 2 * reported[:, 30].mean()


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_noise_is_measured(name, rng, make_paths, noise):
    """At 0, 15 and 30 dB, mean of 8 frames: within 5 % (standard error below 2 %)."""
    for no in (1.0, 0.03, 0.001):
        estimates = [
            ESTIMATORS[name](OTA, 2)(receive(rng, noise, OTA, two_users(rng, make_paths), no)[0]).no for _ in range(8)
        ]
        assert np.mean(estimates) == pytest.approx(no, rel=0.05)


def test_lmmse_beats_least_squares(rng, make_paths, noise):
    """By at least 8 dB at 10 dB SNR, and least squares' report is within 1.5 dB there."""
    grid, h = receive(rng, noise, OTA, two_users(rng, make_paths), 0.1)
    errors = {e: np.mean(np.abs(e(grid, OTA).h_hat - h) ** 2) for e in (ls, lmmse)}
    assert errors[ls] > 10**0.8 * errors[lmmse]
    assert abs(10 * np.log10(np.mean(ls(grid, OTA).error_variance) / errors[ls])) < 1.5


def test_scale_goes_through(rng, make_paths, noise):
    """A grid 1e-4 as large gives a channel 1e-4 and variances 1e-8 as large, to what float32 resolves of its power."""
    grid, _ = receive(rng, noise, OTA, two_users(rng, make_paths), 0.01)
    strong, weak = lmmse(grid, OTA), lmmse(grid * np.float32(1e-4), OTA)
    np.testing.assert_allclose(weak.h_hat * 1e4, strong.h_hat, atol=1e-4)
    resolved = 4 * np.finfo(np.float32).eps * np.mean(np.abs(strong.h_hat) ** 2)  # an error is the rest of a power
    np.testing.assert_allclose(weak.error_variance * 1e8, strong.error_variance, rtol=1e-3, atol=resolved)
    assert weak.no * 1e8 == pytest.approx(strong.no, rel=1e-4)


def test_an_absent_user_has_no_channel(rng, make_paths, noise):
    """Only user 0 sends, at 20 dB: user 1's channel holds less than a fiftieth of the noise; user 0's error as ever."""
    paths = two_users(rng, make_paths)[:1]
    grid, h = receive(rng, noise, OTA, paths, 0.01)
    estimate = lmmse(grid, OTA)
    assert np.mean(np.abs(estimate.h_hat[..., 1]) ** 2) < 0.01 / 50
    assert np.mean(np.abs(estimate.h_hat[..., 0] - h[..., 0]) ** 2) < 0.01 * 10**-1.1


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_silence_is_estimated_as_silence(name):
    """A grid of zeros gives finite zeros."""
    estimate = ESTIMATORS[name](OTA, 2)(np.zeros((2, OTA.body_symbols, OTA.occupied_subcarriers), np.complex64))
    assert np.all(estimate.h_hat == 0)
    assert np.all(np.isfinite(estimate.error_variance))
    assert estimate.no == 0


def test_four_users_fit_four_antennas(rng, make_paths, noise):
    """Combs of 18 pilots: the error stays 6 dB below the noise and is reported within 1.5 dB."""
    waveform = Waveform(pilot_slots=4)
    paths = [
        make_paths(rng, 4, delay=d, spread=2.0, doppler_hz=5.0, cfo_hz=c)
        for d, c in ((0.0, 90.0), (3.0, -60.0), (5.5, 10.0), (8.0, -90.0))
    ]
    grid, h = receive(rng, noise, waveform, paths, 0.01)
    estimate = lmmse(grid, waveform)
    error = np.mean(np.abs(estimate.h_hat - h) ** 2)
    assert error < 0.01 * 10**-0.6
    assert abs(10 * np.log10(np.mean(estimate.error_variance) / error)) < 1.5


def test_wrong_grids_and_names_are_refused():
    with pytest.raises(ShapeError, match="must be"):
        lmmse(np.zeros((2, 98, 72), np.complex64), OTA)
    assert find_estimator("lmmse") is ESTIMATORS["lmmse"]
    with pytest.raises(ScenarioError, match="allowed: ls, lmmse"):
        find_estimator("magic")


def test_pilot_turn_is_its_einsum(rng):
    """Three antennas, two users: the kernel against one line of NumPy."""
    h = rng.standard_normal((3, 2, 15, 36, 2), dtype=np.float32).view(np.complex64)[..., 0]
    expected = np.einsum("aupi,aupi->u", h[:, :, :-1].conj().astype(complex), h[:, :, 1:])
    np.testing.assert_allclose(pilot_turn(h), expected, rtol=1e-5)


def test_the_mean_delay_is_that_of_the_paths(rng):
    """Paths of random delays and powers without noise: their mean, weighted by power, to 0.3 samples; any waveform."""
    for waveform in (OTA, Waveform(profile="wide"), Waveform(pilot_slots=4)):
        for user in range(waveform.pilot_slots):
            middle = rng.uniform(2, waveform.cp_samples - 2)
            delays, gains = middle + rng.uniform(-1, 1, 3), np.sqrt(rng.uniform(0.1, 1, 3))
            comb = waveform.subcarriers[pilot_comb(waveform, user)]
            h = np.exp(-2j * np.pi / waveform.fft_size * np.outer(delays, comb)) * gains[:, None]  # each path apart
            c = (h @ comb_bases(waveform)[user]).astype(np.complex64)
            found = mean_delay(c, uniform_delays(waveform, user).turn, 0.0, waveform)
            assert found == pytest.approx(np.average(delays, weights=gains**2), abs=0.3)


def test_noise_does_not_draw_the_mean_delay(rng):
    """A path at 2 samples, 10 dB below the noise, 4000 rows: to 0.2 samples, without the correction beyond 1."""
    turn, basis = uniform_delays(OTA, 0).turn, comb_bases(OTA)[0]
    comb = OTA.subcarriers[pilot_comb(OTA, 0)]
    h = np.exp(-2j * np.pi / OTA.fft_size * 2.0 * comb) * np.exp(2j * np.pi * rng.uniform(size=(4000, 1)))
    noise = rng.standard_normal((4000, len(comb), 2)).view(np.complex128)[..., 0] * np.sqrt(10 / 2)
    c = ((h + noise) @ basis).astype(np.complex64)
    assert mean_delay(c, turn, 4000 * 10 * np.trace(turn), OTA) == pytest.approx(2.0, abs=0.2)
    assert mean_delay(c, turn, 0.0, OTA) > 3.0


def test_the_likeliest_prior_is_that_of_the_densities(rng):
    """Against SciPy's Gaussian density, 20 draws of three priors with 20 x 3 coefficients; powers up to 90 dB."""
    for _ in range(20):
        value_time, value_frequency = rng.exponential(1.0, (3, 3)), rng.exponential(1.0, (3, 20))
        rho, noise = 10 ** rng.uniform(-1, 9), 10 ** rng.uniform(-6, 2)
        variance = noise * (1 + rho * value_time[:, :, None] * value_frequency[:, None, :])  # [C, I, J]
        true = int(rng.integers(3))
        white = rng.standard_normal((3, 2, 20, 2)) @ np.array([1, 1j]) / np.sqrt(2)
        y = np.repeat((white * np.sqrt(variance[true])[:, None])[None], 3, axis=0).astype(np.complex64)
        scale = np.sqrt(variance / 2)[:, :, None]
        density = (norm.logpdf(y.real, scale=scale) + norm.logpdf(y.imag, scale=scale)).sum(axis=(1, 2, 3))
        assert likeliest(y, value_time, value_frequency, rho, noise) == np.argmax(density)


@pytest.mark.parametrize("profile", ["ota", "wide"])
@pytest.mark.parametrize("doppler_hz", [0.0, 50.0, 200.0, 300.0])
@pytest.mark.parametrize("snr_db", [-5, 10, 25])
def test_lmmse_is_below_least_squares_however_fast_it_fades(profile, doppler_hz, snr_db, rng, make_paths, noise):
    """Six channels: by 3 dB at least, and the error is reported within 2 dB (standard error 0.5 dB)."""
    waveform, no = Waveform(profile=profile), 10 ** (-snr_db / 10)
    error, reported = {ls: 0.0, lmmse: 0.0}, 0.0
    for _ in range(6):
        paths = two_users(rng, make_paths, waveform, spread=3.0 * waveform.cp_samples / 16, doppler_hz=doppler_hz)
        grid, h = receive(rng, noise, waveform, paths, no)
        for estimate in error:
            error[estimate] += np.mean(np.abs(estimate(grid, waveform).h_hat - h) ** 2)
        reported += np.mean(lmmse(grid, waveform).error_variance, dtype=np.float64)
    assert error[lmmse] < error[ls] / 2
    assert abs(10 * np.log10(reported / error[lmmse])) < 2.0


def test_weak_paths_behind_the_prefix_are_part_of_the_channel(rng, make_paths, noise):
    """A path 8 samples late, 25 dB down: at 30 dB SNR the error stays 10 dB below what leaving it out would cost."""
    error = 0.0
    for _ in range(8):
        paths = two_users(rng, make_paths)
        for path in paths:
            path.delays = np.append(path.delays, OTA.cp_samples + 8.0)
            path.amplitudes = np.append(path.amplitudes, 10**-1.25 * path.amplitudes[:, :1], axis=1)
            path.dopplers_hz = np.append(path.dopplers_hz, path.dopplers_hz[:, :1], axis=1)
        grid, h = receive(rng, noise, OTA, paths, 0.001)
        error += np.mean(np.abs(lmmse(grid, OTA).h_hat - h) ** 2) / 8
    assert error < 10**-2.5 / 10


def test_priors_are_of_unit_power_and_diagonal_in_their_bases():
    """Eigenvalues sum to the number of pilots; pilots against their own basis: diagonal, to the subspace's edge."""
    for waveform in (OTA, Waveform(profile="wide"), Waveform(pilot_slots=4), Waveform(body_symbols=43)):
        priors = time_priors(waveform)
        np.testing.assert_allclose(priors.values.sum(axis=1), len(waveform.pilot_symbols), rtol=1e-4)
        at_pilots = priors.points[:, waveform.pilot_symbols]
        bases = priors.v @ priors.bases
        np.testing.assert_allclose(at_pilots, bases * priors.values[:, None], atol=5e-3)
        for user in range(waveform.pilot_slots):
            delays = delay_priors(waveform, user, 12)
            comb = pilot_comb(waveform, user)
            np.testing.assert_allclose(delays.values.sum(axis=1), len(comb), rtol=1e-4)
            basis = comb_bases(waveform)[user].conj() @ delays.bases.conj()
            expected = basis * delays.values[:, None]
            np.testing.assert_allclose(np.swapaxes(delays.points[:, :, comb], 1, 2), expected, atol=5e-3)
