"""Clocks, carriers and phase noise against closed forms in exact arithmetic, over hours."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from testbed.air.oscillator import NOISE_CHUNK, NS, Clock, PhaseNoise, Reference
from testbed.config import Oscillator

RATE = 1_920_000
HOURS = 3 * 3600 * RATE  # samples
DRIFTING = Oscillator(ppm=17.25, drift_ppm_per_min=-0.1, start_s=1.3)


def exact_own(oscillator: Oscillator, time_s: Fraction, rate_hz: int = RATE) -> Fraction:
    """q(t) = fs ((t - s) + p (t - s) + d (t^2 - s^2) / 2) in rational arithmetic."""
    start, p = Fraction(str(oscillator.start_s)), Fraction(str(oscillator.ppm)) / 10**6
    d = Fraction(str(oscillator.drift_ppm_per_min)) / 60 / 10**6
    return rate_hz * ((time_s - start) * (1 + p) + d * (time_s**2 - start**2) / 2)


def clock(oscillator: Oscillator, rate_hz: int = RATE) -> Clock:
    return Clock(Reference.of(oscillator, round(oscillator.start_s * NS)), rate_hz)


@pytest.mark.parametrize("oscillator", [Oscillator(), Oscillator(ppm=-20.0), DRIFTING])
@pytest.mark.parametrize("grid_hz", [RATE, 30_720_000, 521_000])
def test_a_clock_is_its_closed_form_over_hours(oscillator, grid_hz):
    """To 1e-8 samples, at 1 s and after three hours; one float64 for the position would miss by 1e-6."""
    for n in (2 * grid_hz + 1, HOURS * grid_hz // RATE + 7):
        whole, part = clock(oscillator).own(np.array([n]), grid_hz)
        error = whole[0] + Fraction(float(part[0])) - exact_own(oscillator, Fraction(n, grid_hz))
        assert 0 <= part[0] < 1
        assert abs(float(error)) < 1e-8


@pytest.mark.parametrize("oscillator", [Oscillator(ppm=-20.0), DRIFTING])
def test_a_clock_and_back(oscillator):
    """Where an own sample falls, the clock shows that sample: to 1e-8, in exact arithmetic."""
    for q in (0, 1, 123_456_789, HOURS):
        whole, part = clock(oscillator).nominal(np.array([q]), 2.75)
        instant = (whole[0] + Fraction(float(part[0]))) / RATE
        assert abs(float(exact_own(oscillator, instant) - (q - Fraction(11, 4)))) < 1e-8


def test_samples_counted_over_an_hour_tell_the_ppm():
    """The number of samples in an hour of nominal time: ppm to 1e-3, drift included; 0.01 is asked for."""
    oscillator = Oscillator(ppm=12.34, drift_ppm_per_min=0.05)
    whole, part = clock(oscillator).own_at(3600 * NS)
    measured_ppm = (whole + part - 3600 * RATE) / (3600 * RATE) * 1e6
    assert measured_ppm == pytest.approx(12.34 + 0.05 * 30, abs=1e-3)


def test_a_correction_moves_the_clock_without_a_jump():
    """(1 + p)(1 + c) from then on, and continuous at the moment: to 1e-8 samples."""
    before = clock(DRIFTING)
    moment = 100 * NS + 12_345
    after = before.moved(Reference.of(DRIFTING, moment, correction_ppm=-30.0))
    (a, p), (b, q) = before.own_at(moment), after.own_at(moment)
    assert (a - b) + (p - q) == pytest.approx(0, abs=1e-8)
    passed = np.subtract(after.own_at(moment + NS), (b, q)).sum()
    p_then = DRIFTING.ppm * 1e-6 + DRIFTING.drift_ppm_per_min * 1e-6 / 60 * (moment / NS + 0.5)
    assert passed / RATE - 1 == pytest.approx((1 + p_then) * (1 - 30e-6) - 1, abs=1e-12)


@pytest.mark.parametrize("after_s", [1, 3600])
def test_an_lo_is_off_by_its_ppm(after_s):
    """Phase slope over 1 s: CFO to 1e-3 Hz; 0.01 Hz is asked for. 20 ppm of 2.4 GHz, drifting."""
    oscillator = Oscillator(ppm=20.0, drift_ppm_per_min=0.1)
    turns = Reference.of(oscillator, 0).turns(2.4e9, np.array([after_s, after_s + 1]) * RATE, RATE)
    expected_hz = 2.4e9 * (20e-6 + 0.1e-6 / 60 * (after_s + 0.5))
    assert turns[1] - turns[0] == pytest.approx(expected_hz, abs=1e-3)


def test_phase_noise_does_not_depend_on_the_order_in_which_it_is_asked_for():
    def noise():
        return PhaseNoise(10.0, RATE, seed=3, spawn_key=(5, 1))

    whole = noise().turns(0, 5 * NOISE_CHUNK + 100)
    later = noise()
    tail = later.turns(3 * NOISE_CHUNK - 7, 2 * NOISE_CHUNK)
    assert np.array_equal(tail, whole[3 * NOISE_CHUNK - 7 :][: 2 * NOISE_CHUNK])
    assert np.array_equal(later.turns(0, 11), whole[:11])
    assert whole[0] == 0
    assert not np.array_equal(PhaseNoise(10.0, RATE, 4, (5, 1)).turns(0, 100), whole[:100])


@pytest.mark.parametrize(("lag", "count"), [(1, 60_000), (3 * NOISE_CHUNK, 1500)])
def test_phase_noise_spreads_as_its_linewidth_says(lag, count):
    """Var of W(t + lag) - W(t) = 2 pi linewidth lag / fs, within a chunk and across chunks: 4 standard errors."""
    linewidth_hz = 25.0
    source = PhaseNoise(linewidth_hz, RATE, seed=8, spawn_key=(1,))
    begins = np.arange(count) * (1 if lag == 1 else lag)
    points = [source.turns(int(b), 1)[0] for b in [*begins, begins[-1] + lag]]
    steps = 2 * np.pi * np.diff(points)
    variance = 2 * np.pi * linewidth_hz * lag / RATE
    assert np.mean(steps**2) == pytest.approx(variance, rel=4 * np.sqrt(2 / count))
    assert abs(np.corrcoef(steps[:-1], steps[1:])[0, 1]) < 4 / np.sqrt(count)
