"""Noise by index: against its NumPy twin and against the statistics that it claims."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from testbed.air.noise import CountedNoise

COUNT = 1_000_000
GOLDEN, ONE, TWO = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return CountedNoise(3, (1, 2)).samples(0, COUNT)


def twin(seed: int, spawn_key: tuple[int, ...], first: int, count: int) -> np.ndarray:
    """The same by NumPy, in double precision."""
    key = np.random.SeedSequence(seed, spawn_key=spawn_key).generate_state(1, np.uint64)[0]
    z = np.arange(first, first + count, dtype=np.uint64) * GOLDEN + key
    z = (z ^ (z >> np.uint64(30))) * ONE
    z = (z ^ (z >> np.uint64(27))) * TWO
    z ^= z >> np.uint64(31)
    radius = np.sqrt(-np.log(((z >> np.uint64(33)) + 0.5) / 2**31))
    turns = (z & np.uint64(0xFFFFFFFF)) / 2**32 - 0.125
    return radius * np.exp(2j * np.pi * turns)


@pytest.mark.parametrize("first", [0, 12_345_678_901])
def test_it_is_its_equation(first: int):
    """Against double precision: to 1e-6 of a standard deviation, but where the radius is nearly 0 (float32's log)."""
    got, wanted = CountedNoise(3, (1, 2)).samples(first, 100_000), twin(3, (1, 2), first, 100_000)
    assert np.max(np.abs(got - wanted)[np.abs(wanted) > 0.01]) < 2e-5
    assert np.max(np.abs(got - wanted)) < 1e-3
    assert np.median(np.abs(got - wanted)) < 2e-7


def test_it_is_gaussian_and_circular(noise: np.ndarray):
    """KS tests of both parts and of their power (p > 1e-3); moments within five standard errors."""
    parts = noise.view(np.float32) * np.sqrt(2)
    assert stats.kstest(parts, "norm").pvalue > 1e-3
    assert stats.kstest(np.abs(noise) ** 2, "expon").pvalue > 1e-3
    assert np.mean(np.abs(noise) ** 2) == pytest.approx(1.0, abs=5 / np.sqrt(COUNT))
    assert abs(np.mean(noise)) < 5 / np.sqrt(COUNT)
    assert abs(np.mean(noise**2)) < 5 * np.sqrt(2 / COUNT)
    assert stats.kurtosis(parts) == pytest.approx(0.0, abs=5 * np.sqrt(24 / len(parts)))


@pytest.mark.parametrize("power", [6.0, 9.0, 12.0])
def test_its_tail_is_exponential(noise: np.ndarray, power: float):
    """The share beyond a power is exp(-power); within five standard errors of a binomial count."""
    expected = COUNT * np.exp(-power)
    assert np.sum(np.abs(noise) ** 2 > power) == pytest.approx(expected, abs=5 * np.sqrt(expected))


def test_it_is_white_and_streams_are_independent(noise: np.ndarray):
    """Correlation at lags 1 to 64, and with a neighbouring stream and the next seed: below five standard errors."""
    for lag in (1, 2, 3, 17, 64):
        assert abs(np.vdot(noise[:-lag], noise[lag:])) / COUNT < 5 / np.sqrt(COUNT)
    for seed, key in ((3, (1, 3)), (4, (1, 2))):
        assert abs(np.vdot(noise, CountedNoise(seed, key).samples(0, COUNT))) / COUNT < 5 / np.sqrt(COUNT)


def test_a_sample_does_not_depend_on_the_cut(noise: np.ndarray):
    source = CountedNoise(3, (1, 2))
    parts = [source.samples(first, count) for first, count in ((0, 1), (1, 6), (7, 300), (307, 5000))]
    assert np.array_equal(np.concatenate(parts), noise[:5307])
    assert np.array_equal(source.samples(400, 40), noise[400:440])
