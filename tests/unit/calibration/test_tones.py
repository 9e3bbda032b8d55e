"""Fitted tones against the Cramér-Rao bound, as statistics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from calibration.plan import BINS, BLOCK, PERIOD, TonePlan
from calibration.tones import find_tone, fit_tones, ratio
from testbed.errors import ShapeError
from tests.unit.calibration.textbook import noise, tones


def within_chi2(variances: np.ndarray, expected: float, freedom: int, confidence: float = 1e-4) -> bool:
    """Whether the mean of squared errors is what chi-squared allows."""
    total = np.sum(variances) / expected
    return chi2.ppf(confidence / 2, freedom) < total < chi2.ppf(1 - confidence / 2, freedom)


def test_the_plan_hides_no_fault_behind_another():
    """All lines apart by at least a quarter of a step, modulo the rate; no product of third or fifth order of the
    transmitted tones falls on an image or on the leakage; blocks make all of them orthogonal."""
    plan = TonePlan(1.92e6)
    lines = plan.received().frequencies * PERIOD
    apart = np.abs((lines[:, None] - lines + PERIOD / 2) % PERIOD - PERIOD / 2)
    assert np.min(apart + PERIOD * np.eye(len(lines))) >= 0.25
    assert np.allclose(lines * BLOCK / PERIOD, np.round(lines * BLOCK / PERIOD))
    k = np.array(BINS)
    third = k[:, None, None] + k[:, None] - k
    fifth = third[..., None, None] + k[:, None] - k
    spoiled = {0, *(-k)}
    assert not spoiled & set(third.ravel().tolist()) and not spoiled & set(fifth.ravel().tolist())
    assert np.max(np.abs(lines)) / PERIOD < 0.28
    sent = np.tile(plan.waveform(), 2)
    assert np.max(np.abs(sent)) < 0.81
    assert sent == pytest.approx(tones(plan.amplitudes(), k / PERIOD, np.arange(2 * PERIOD)), abs=1e-6)


def test_amplitudes_reach_the_cramer_rao_bound(rng):
    """Variance of 40 x 50 amplitudes at 20 dB against noise / block; the error they report against the error made."""
    plan, errors, reported = TonePlan(1.0), [], []
    lines = plan.received()
    truth = rng.standard_normal((len(lines.frequencies), 2)) @ [1, 1j]
    clean = tones(truth, lines.frequencies, np.arange(50 * BLOCK))
    for _ in range(20):
        fit = fit_tones(clean + noise(rng, len(clean), 0.01), lines.frequencies, BLOCK)
        errors.append(fit.amplitudes - truth)
        reported.append(fit.standard_errors)
        assert fit.noise == pytest.approx(0.01, rel=0.02)
    blocks = np.abs(np.array(errors)) ** 2
    assert within_chi2(2 * blocks, 0.01 / BLOCK, 2 * blocks.size)
    assert np.mean(np.square(reported)) == pytest.approx(0.01 / BLOCK / 50, rel=0.1)


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_a_frequency_reaches_its_bound_and_says_so(rng, snr_db):
    """200 draws anywhere in the band, beside DC that is stronger: 6 / ((2 pi)^2 SNR N^3) by chi-squared, and as
    reported to 25 %."""
    count, snr, errors, reported = 64 * 400, 10 ** (snr_db / 10), [], []
    for _ in range(200):
        f = rng.uniform(0.05, 0.45)
        y = tones([np.exp(2j * np.pi * rng.uniform())], [f], np.arange(count)) + noise(rng, count, 1 / snr) + 5
        found, error = find_tone(y, 0.25, 0.22, avoid=np.zeros(1))
        errors.append(found - f)
        reported.append(error)
    bound = 6 / ((2 * np.pi) ** 2 * snr * count**3)
    assert within_chi2(np.square(errors), bound * 1.05, len(errors)), np.var(errors) / bound
    assert np.mean(np.square(reported)) == pytest.approx(bound, rel=0.25)


def test_phase_noise_widens_the_reported_error(rng):
    """An oscillator's random walk, 200 draws: the error that is reported is the one that is made, to 25 %."""
    errors, reported = [], []
    for _ in range(200):
        walk = np.cumsum(rng.standard_normal(64_000)) * 3e-3
        found, error = find_tone(np.exp(2j * np.pi * 0.1 * np.arange(64_000) + 1j * walk), 0.1, 0.05)
        errors.append(found - 0.1)
        reported.append(error)
    assert np.sqrt(np.mean(np.square(reported))) == pytest.approx(np.std(errors), rel=0.25)


def test_a_ratio_does_not_see_a_phase_that_both_share(rng):
    """Blocks with phases of their own: the factor comes out, as well as it is said to be known (chi-squared)."""
    c, errors, reported = 0.03 - 0.02j, [], []
    for _ in range(300):
        d = np.exp(2j * np.pi * rng.uniform(size=40))
        found, error = ratio(c * d + noise(rng, 40, 1e-6), d)
        errors.append(abs(found - c) ** 2)
        reported.append(error**2)
    assert within_chi2(2 * np.array(errors), 1e-6 / 40, 600)
    assert np.mean(reported) == pytest.approx(1e-6 / 40, rel=0.1)


def test_too_few_samples_are_refused():
    with pytest.raises(ShapeError, match="too few"):
        fit_tones(np.zeros(100), np.zeros(3), 60)
    with pytest.raises(ShapeError, match="at least 128"):
        find_tone(np.zeros(100), 0, 0.1)
