"""TDL-A to TDL-E against their closed forms: profile, distributions, power, Rician factor, Doppler autocorrelation."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import j0

from testbed.channels.base import Place
from testbed.channels.registry import MODELS, find_channel
from testbed.channels.tdl import SINUSOIDS, TABLES

RAYLEIGH = ["TDL-A", "TDL-B", "TDL-C"]
RICIAN_K_DB = {"TDL-D": 13.3, "TDL-E": 22.0}  # notes below TR 38.901 tables 7.7.2-4 and 7.7.2-5
PLACE = Place(0, 0, 1)


def lines(count, channel="TDL-A", doppler_hz=50.0, root=7):
    seeds = np.random.SeedSequence(root).spawn(count)
    return [find_channel(channel).draw(100e-9, doppler_hz, PLACE, np.random.default_rng(s)) for s in seeds]


def powers_of(channel):
    return find_channel(channel).profile()[1]


@pytest.mark.parametrize(
    ("channel", "taps", "spread"),
    [("TDL-A", 23, 1.0), ("TDL-B", 23, 1.0), ("TDL-C", 24, 1.0), ("TDL-D", 14, 0.994), ("TDL-E", 15, 1.0)],
)
def test_profiles_have_unit_power_and_unit_delay_spread(channel, taps, spread):
    """The tables are given with 4 digits, and their rms delay spread is 1 to 5e-4; TDL-D's as printed is 0.994."""
    delays, powers = find_channel(channel).profile()
    assert len(delays) == taps
    assert powers.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.sqrt(powers @ delays**2 - (powers @ delays) ** 2) == pytest.approx(spread, abs=5e-4)


@pytest.mark.parametrize("channel", RICIAN_K_DB)
def test_line_of_sight_and_first_rayleigh_tap_make_the_tables_first_tap(channel):
    """Mean power 0 dB and the K-factor of the tables' notes, both to the tables' digits."""
    (los_delay, los_db), (delay, rayleigh_db) = TABLES[channel][:2]
    assert los_delay == delay == 0
    assert los_db - rayleigh_db == pytest.approx(RICIAN_K_DB[channel], abs=1e-9)
    assert 10 * np.log10(10 ** (los_db / 10) + 10 ** (rayleigh_db / 10)) == pytest.approx(0.0, abs=5e-3)


@pytest.mark.parametrize("channel", sorted(TABLES))
def test_each_tap_has_its_power(channel):
    """2000 realisations at one instant: each tap's mean power within 5 standard errors, the total within 3 %."""
    drawn = lines(2000, channel)
    gains = np.stack([line.gains(np.zeros(1))[:, 0] for line in drawn])
    powers = powers_of(channel)
    assert np.array_equal(drawn[0].powers, powers)
    measured = (np.abs(gains) ** 2).mean(axis=0)
    assert np.all(np.abs(measured - powers) < 5 * powers / np.sqrt(2000))
    assert measured.sum() == pytest.approx(1.0, rel=0.03)


def test_gains_are_rayleigh_with_uniform_phase():
    """Kolmogorov-Smirnov over 5000 realisations of a tap, 1 % level; M = 32 sinusoids deviate by far less."""
    gains = np.array([line.gains(np.array([0.3]))[1, 0] for line in lines(5000)])
    scale = np.sqrt(powers_of("TDL-A")[1] / 2)
    assert stats.kstest(np.abs(gains), stats.rayleigh(scale=scale).cdf).pvalue > 0.01
    assert stats.kstest(np.angle(gains), stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 0.01


@pytest.mark.parametrize("channel", RICIAN_K_DB)
def test_the_first_tap_is_rician(channel):
    """Kolmogorov-Smirnov over 4000 realisations, 1 % level, against the Rice law of the tables' K; its phase uniform.
    K by moments, gamma = var(P) / E(P)^2 = (2K + 1) / (K + 1)^2: within 1 dB (4 standard errors of gamma)."""
    k = 10 ** (RICIAN_K_DB[channel] / 10)
    first = np.array([line.gains(np.array([0.3]))[:2, 0].sum() for line in lines(4000, channel)])
    power = powers_of(channel)[:2].sum()
    sigma = np.sqrt(power / (2 * (k + 1)))
    law = stats.rice(b=np.sqrt(2 * k), scale=sigma)
    assert stats.kstest(np.abs(first), law.cdf).pvalue > 0.01
    assert stats.kstest(np.angle(first), stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 0.01
    p = np.abs(first) ** 2
    root = np.sqrt(1 - np.var(p) / np.mean(p) ** 2)
    assert 10 * np.log10(root / (1 - root)) == pytest.approx(RICIAN_K_DB[channel], abs=1.0)


@pytest.mark.parametrize("channel", RICIAN_K_DB)
def test_the_line_of_sight_turns_at_seven_tenths_of_the_doppler_and_keeps_its_power(channel):
    """TR 38.901, 7.7.2: f_S = 0.7 f_D; exact."""
    times = np.linspace(0, 0.5, 1001)
    (line,) = lines(1, channel, doppler_hz=40.0)
    los = line.gains(times)[0]
    assert los == pytest.approx(los[0] * np.exp(2j * np.pi * 28.0 * times), abs=1e-9)
    assert abs(los[0]) ** 2 == pytest.approx(powers_of(channel)[0], rel=1e-12)


def test_fourth_moment_is_that_of_the_sum_of_sinusoids():
    """E|g|^4 / E^2|g|^2 = 2 - 1/M for random phases; 4 standard errors of 20000 * 23 gains."""
    gains = np.stack([line.gains(np.zeros(1))[:, 0] for line in lines(5000)])
    power = np.abs(gains / np.sqrt(powers_of("TDL-A"))) ** 2
    assert (power**2).mean() == pytest.approx(2 - 1 / SINUSOIDS, abs=4 * np.sqrt(20 / power.size))


@pytest.mark.parametrize("channel", ["TDL-A", "TDL-D", "TDL-E"])
def test_doppler_autocorrelation_is_bessel(channel):
    """Rayleigh taps: R(tau) = J0(2 pi f_d tau), 600 realisations of 13 taps or more: within 0.03 (4.5 standard errors
    of 7800 pairs would be 0.05), beyond the second zero."""
    tau = np.linspace(0, 0.02, 41)  # f_d tau up to 1
    rayleigh = slice(1, None) if channel in RICIAN_K_DB else slice(None)
    normal = np.sqrt(powers_of(channel)[rayleigh])[:, None]
    gains = np.stack([line.gains(0.7 + tau)[rayleigh] / normal for line in lines(600, channel)])
    measured = (gains * gains[..., :1].conj()).mean(axis=(0, 1))
    assert measured.real == pytest.approx(j0(2 * np.pi * 50.0 * tau), abs=0.03)
    assert np.abs(measured.imag).max() < 0.03


@pytest.mark.parametrize("channel", ["TDL-A", "TDL-D"])
def test_taps_and_realisations_are_uncorrelated(channel):
    """Correlation between any two taps, and between two lines, stays within 5 standard errors of 2000 realisations."""
    gains = np.stack([line.gains(np.zeros(1))[:, 0] for line in lines(2000, channel)]) / np.sqrt(powers_of(channel))
    correlation = gains.T @ gains.conj() / len(gains)
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 5 / np.sqrt(2000)
    assert abs((gains[1:] * gains[:-1].conj()).mean()) < 5 / np.sqrt(gains.size)


@pytest.mark.parametrize("channel", MODELS)
def test_zero_doppler_holds_still(channel):
    line = lines(1, channel, doppler_hz=0.0)[0]
    gains = line.gains(np.array([0.0, 1.0, 600.0]))
    assert np.allclose(gains, gains[:, :1], rtol=0, atol=1e-12)
    assert line.max_doppler_hz == 0
