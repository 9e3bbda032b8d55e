"""Carrier offset, fractional delay and noise, each against its closed form."""

import numpy as np
import pytest
from scipy import stats

from testbed.air.impairments import NOISE_CHUNK, NoiseSource, filter_length, interpolator, phasor


def test_phase_is_exact_after_ten_minutes():
    """25 kHz at 1.92 MS/s turns by 5/384 a sample, so integers give the phase of sample 1.152e9 exactly."""
    first = 600 * 1_920_000 + 17
    n = np.arange(first, first + 5000)
    expected = np.exp(2j * np.pi * (5 * n % 384) / 384)
    assert np.abs(phasor(25_000.0, 1.92e6, first, 5000) - expected).max() < 3e-7


def test_phasor_does_not_depend_on_blocks(rng):
    whole = phasor(-12_345.6, 1.92e6, 100, 4000)
    cuts = np.sort(rng.integers(1, 4000, 9))
    starts = np.concatenate([[0], cuts])
    parts = [
        phasor(-12_345.6, 1.92e6, 100 + a, b - a) for a, b in zip(starts, np.concatenate([cuts, [4000]]), strict=True)
    ]
    assert np.array_equal(np.concatenate(parts), whole)
    assert phasor(1.0, 1.92e6, 5, 0).shape == (0,)


@pytest.mark.parametrize("delay", [0.0, 0.25, 0.5, 3.37, 7.999])
def test_fractional_delay_has_the_phase_slope_and_unit_gain(delay):
    """Against exp(-j 2 pi f (8 + d)) for |f| <= 36.5/128 fs, the band edge of both profiles: -79 dB."""
    taps = interpolator(np.array(delay), filter_length(delay))
    f = np.linspace(-36.5, 36.5, 121) / 128
    response = np.exp(-2j * np.pi * f[:, None] * np.arange(len(taps))) @ taps
    error = np.abs(response - np.exp(-2j * np.pi * f * (8 + delay)))
    assert error.max() < 10 ** (-79 / 20)


def test_whole_delay_is_a_single_one():
    taps = interpolator(np.array(2.0), filter_length(2.0))
    assert taps[10] == 1.0
    assert np.abs(np.delete(taps, 10)).max() < 1e-15


def test_noise_is_circular_white_and_gaussian():
    """2e5 samples: variance to 1.5 %, both parts normal (KS, 1 %), no circular or lagged correlation beyond 5 sigma."""
    w = NoiseSource(3, (2, 0)).samples(0, 200_000)
    assert np.mean(np.abs(w) ** 2) == pytest.approx(1.0, rel=0.015)
    for part in (w.real, w.imag):
        assert stats.kstest(part[:20_000], stats.norm(scale=np.sqrt(0.5)).cdf).pvalue > 0.01
    limit = 5 / np.sqrt(len(w))
    assert abs(np.mean(w * w)) < limit
    for lag in (1, 2, 3, NOISE_CHUNK):
        assert abs(np.mean(w[lag:] * w[:-lag].conj())) < 1.1 * limit


def test_noise_has_the_bits_of_numpys_generator():
    """300 chunks, 4.9 million variates, some 1300 of them from the ziggurat's tail: all the same."""
    source = NoiseSource(11, (2, 5))
    for chunk in range(300):
        keyed = np.random.SeedSequence(11, spawn_key=(2, 5, chunk))
        twin = np.random.Generator(np.random.PCG64(keyed)).standard_normal(2 * NOISE_CHUNK, dtype=np.float32)
        twin *= np.float32(np.sqrt(0.5))
        assert np.array_equal(source.samples(chunk * NOISE_CHUNK, NOISE_CHUNK).view(np.float32), twin)


def test_noise_belongs_to_its_sample_and_never_repeats(rng):
    whole = NoiseSource(3, (2, 0)).samples(0, 40_000)
    other = NoiseSource(3, (2, 0))
    for first in rng.integers(0, 30_000, 8):
        count = int(rng.integers(0, 10_000))
        assert np.array_equal(other.samples(int(first), count), whole[first : first + count])
    assert len(np.unique(whole)) == len(whole)


def test_antennas_and_seeds_have_noise_of_their_own():
    one, other, foreign = (NoiseSource(s, (2, a)).samples(0, 50_000) for s, a in [(3, 0), (3, 1), (4, 0)])
    assert abs(np.vdot(one, other)) / 50_000 < 5 / np.sqrt(50_000)
    assert abs(np.vdot(one, foreign)) / 50_000 < 5 / np.sqrt(50_000)
