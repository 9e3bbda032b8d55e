"""What every channel model keeps, whatever its family; and the models that are not tapped delay lines of TR 38.901."""

import numpy as np
import pytest

from testbed.channels.base import Place
from testbed.channels.registry import MODELS, find_channel
from testbed.errors import ScenarioError

PLACE = Place(0, 0, 1)


def draw(channel, seed=1, delay_spread_s=200e-9, doppler_hz=30.0, place=PLACE):
    return find_channel(channel).draw(delay_spread_s, doppler_hz, place, np.random.default_rng(seed))


@pytest.mark.parametrize("channel", MODELS)
def test_every_model_has_unit_mean_power_and_says_how_fast_it_moves(channel):
    """Response at one frequency, 1500 realisations: E|h|^2 = 1 within 5 standard errors of a Rayleigh channel."""
    steering = np.exp(-2j * np.pi * 333e3 * draw(channel).delays_s)
    lines = [draw(channel, seed) for seed in range(1500)]
    h = np.array([steering @ line.gains(np.array([0.1]))[:, 0] for line in lines])
    assert np.mean(np.abs(h) ** 2) == pytest.approx(1.0, abs=5 / np.sqrt(1500))
    for line in lines[:20]:
        assert np.abs(line.doppler_hz).max(initial=0.0) <= line.max_doppler_hz
        assert line.powers.sum() == pytest.approx(1.0)
        assert (line.max_doppler_hz > 0) == find_channel(channel).fades


@pytest.mark.parametrize("channel", MODELS)
def test_a_models_line_has_the_delays_and_powers_of_its_profile(channel):
    delays, powers = find_channel(channel).profile()
    line = draw(channel, delay_spread_s=3e-7)
    assert line.delays_s == pytest.approx(delays * 3e-7, abs=1e-18)
    assert line.powers == pytest.approx(powers)


@pytest.mark.parametrize("channel", MODELS)
def test_a_scaled_line_is_the_line_times_a_number(channel):
    line, times = draw(channel), np.linspace(0, 0.1, 7)
    assert line.scaled(0.25).gains(times) == pytest.approx(0.25 * line.gains(times))
    assert line.scaled(0.25).powers == pytest.approx(line.powers / 16)


def test_two_rays_are_a_cosine_in_time_and_frequency():
    """|h|^2 = 1 + cos(4 pi f_d t + 2 pi f tau + phi), tau twice the rms delay spread: phi from one point, then exact at
    all others, nulls and peaks of 2 among them."""
    spread_s, doppler_hz = 200e-9, 30.0
    line = draw("two-ray", 4, spread_s, doppler_hz)
    times, frequencies_hz = np.linspace(0, 0.1, 101), np.linspace(-1e6, 1e6, 81)
    h = line.gains(times).T @ np.exp(-2j * np.pi * line.delays_s[:, None] * frequencies_hz)
    phi = line.phases[0, 0] - line.phases[1, 0]
    turn = 4 * np.pi * doppler_hz * times[:, None] + 2 * np.pi * frequencies_hz * 2 * spread_s
    assert np.abs(h) ** 2 == pytest.approx(1 + np.cos(turn + phi), abs=1e-9)
    assert (np.abs(h) ** 2).min() < 0.01
    assert (np.abs(h) ** 2).max() > 1.99
    delays, powers = find_channel("two-ray").profile()
    assert np.sqrt(powers @ delays**2 - (powers @ delays) ** 2) == 1.0  # in units of the rms delay spread


def test_awgn_is_a_dft_matrix_and_draws_nothing():
    rng = np.random.default_rng(1)
    model = find_channel("AWGN")
    h = [[model.draw(1e-6, 99.0, Place(a, u, 3), rng).gains(np.array([7.0]))[0, 0] for u in range(3)] for a in range(3)]
    assert np.array(h) == pytest.approx(np.fft.fft(np.eye(3)))
    assert rng.random() == np.random.default_rng(1).random()


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ScenarioError, match=r"air.channel = TDL-X: allowed: TDL-A, .*TDL-E, AWGN, two-ray"):
        find_channel("TDL-X", "air.channel")
