"""Fading against its closed forms: profile, Rayleigh distribution, power, Doppler autocorrelation."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import j0

from testbed.air.fading import PROFILES, SINUSOIDS, GainGrid, TappedDelayLine, power_delay_profile
from testbed.errors import ScenarioError


def lines(count, channel="TDL-A", doppler_hz=50.0, root=7):
    seeds = np.random.SeedSequence(root).spawn(count)
    return [TappedDelayLine(channel, 100e-9, doppler_hz, np.random.default_rng(s)) for s in seeds]


@pytest.mark.parametrize(("channel", "taps"), [("TDL-A", 23), ("TDL-B", 23), ("TDL-C", 24)])
def test_profiles_have_unit_power_and_unit_delay_spread(channel, taps):
    """The tables are given with 4 digits, and their rms delay spread is 1 to 5e-4."""
    delays, powers = power_delay_profile(channel)
    assert len(delays) == taps
    assert powers.sum() == pytest.approx(1.0, abs=1e-12)
    spread = np.sqrt(powers @ delays**2 - (powers @ delays) ** 2)
    assert spread == pytest.approx(1.0, abs=5e-4)


@pytest.mark.parametrize("channel", sorted(PROFILES))
def test_each_tap_has_its_power(channel):
    """2000 realisations at one instant: each tap's mean power within 5 standard errors, the total within 3 %."""
    gains = np.stack([line.gains(np.zeros(1))[:, 0] for line in lines(2000, channel)])
    powers = power_delay_profile(channel)[1]
    measured = (np.abs(gains) ** 2).mean(axis=0)
    assert np.all(np.abs(measured - powers) < 5 * powers / np.sqrt(2000))
    assert measured.sum() == pytest.approx(1.0, rel=0.03)


def test_gains_are_rayleigh_with_uniform_phase():
    """Kolmogorov-Smirnov over 5000 realisations of a tap, 1 % level; M = 32 sinusoids deviate by far less."""
    gains = np.array([line.gains(np.array([0.3]))[1, 0] for line in lines(5000)])
    scale = np.sqrt(power_delay_profile("TDL-A")[1][1] / 2)
    assert stats.kstest(np.abs(gains), stats.rayleigh(scale=scale).cdf).pvalue > 0.01
    assert stats.kstest(np.angle(gains), stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 0.01


def test_fourth_moment_is_that_of_the_sum_of_sinusoids():
    """E|g|^4 / E^2|g|^2 = 2 - 1/M for random phases; 4 standard errors of 20000 * 23 gains."""
    gains = np.stack([line.gains(np.zeros(1))[:, 0] for line in lines(5000)])
    power = np.abs(gains / np.sqrt(power_delay_profile("TDL-A")[1])) ** 2
    assert (power**2).mean() == pytest.approx(2 - 1 / SINUSOIDS, abs=4 * np.sqrt(20 / power.size))


def test_doppler_autocorrelation_is_bessel():
    """R(tau) = J0(2 pi f_d tau), 600 realisations of 23 taps: within 0.02, beyond the second zero."""
    tau = np.linspace(0, 0.02, 41)  # f_d tau up to 1
    normal = np.sqrt(power_delay_profile("TDL-A")[1])[:, None]
    gains = np.stack([line.gains(0.7 + tau) / normal for line in lines(600)])
    measured = (gains * gains[..., :1].conj()).mean(axis=(0, 1))
    assert measured.real == pytest.approx(j0(2 * np.pi * 50.0 * tau), abs=0.03)
    assert np.abs(measured.imag).max() < 0.03


def test_taps_and_realisations_are_uncorrelated():
    """Correlation between any two taps, and between two lines, stays within 5 standard errors of 2000 realisations."""
    gains = np.stack([line.gains(np.zeros(1))[:, 0] for line in lines(2000)]) / np.sqrt(power_delay_profile("TDL-A")[1])
    correlation = gains.T @ gains.conj() / len(gains)
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 5 / np.sqrt(2000)
    assert abs((gains[1:] * gains[:-1].conj()).mean()) < 5 / np.sqrt(gains.size)


def test_zero_doppler_holds_still():
    line = lines(1, doppler_hz=0.0)[0]
    gains = line.gains(np.array([0.0, 1.0, 600.0]))
    assert np.allclose(gains, gains[:, :1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("chunk", [0, 3, 20_000])
def test_the_grid_equals_the_closed_form(chunk):
    """Rotation from exact anchors, also 11 minutes in: to 1e-9 of unit power."""
    some = lines(3)
    grid = GainGrid(some, step_s=1024 / 1.92e6)
    times = (chunk * GainGrid.CHUNK_POINTS + np.arange(GainGrid.CHUNK_POINTS)) * grid.step_s
    expected = np.stack([line.gains(times) for line in some])
    assert np.abs(grid.chunk(chunk) - expected).max() < 1e-9


def test_unknown_profile_is_refused():
    with pytest.raises(ScenarioError, match=r"TDL-X: allowed: TDL-A"):
        power_delay_profile("TDL-X")
