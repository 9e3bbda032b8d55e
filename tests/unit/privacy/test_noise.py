"""Sources of noise against their distributions."""

from __future__ import annotations

import os

import numpy as np
import pytest
from scipy import stats

from testbed.privacy.noise import NoiseSource, SeededNoise, SystemNoise


@pytest.fixture(params=["system", "seeded"])
def noise(request: pytest.FixtureRequest, rng: np.random.Generator) -> NoiseSource:
    return SystemNoise() if request.param == "system" else SeededNoise(rng)


def test_values_have_the_distribution_that_is_named(noise: NoiseSource):
    """Kolmogorov-Smirnov on 20,000 values each; the system's fail once in 1e6 runs."""
    assert stats.kstest(noise.normal((100, 200)).ravel(), "norm").pvalue > 1e-6
    assert stats.kstest(noise.uniform((100, 200)).ravel(), "uniform").pvalue > 1e-6


def test_the_systems_noise_never_repeats_and_a_seeds_does():
    assert not np.array_equal(SystemNoise().normal((8,)), SystemNoise().normal((8,)))
    assert not np.array_equal(SystemNoise().uniform((8,)), SystemNoise().uniform((8,)))
    for kind in ("normal", "uniform"):
        first, again = (getattr(SeededNoise(np.random.default_rng(3)), kind)((8,)) for _ in range(2))
        assert np.array_equal(first, again)


def test_the_systems_noise_is_finite_for_every_integer(monkeypatch: pytest.MonkeyPatch):
    """The least and the largest that 53 bits hold: their normal values are 8 deviations away, not infinite."""
    for filling in (b"\x00", b"\xff"):
        monkeypatch.setattr(os, "urandom", lambda count, filling=filling: filling * count)
        values = SystemNoise().normal((3,))
        assert np.all(np.isfinite(values))
        assert np.all(np.abs(values) > 8)
