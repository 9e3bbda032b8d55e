"""Rician fading against the distribution that it is named after."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from testbed.channels.base import Place
from testbed.channels.registry import find_channel
from testbed.errors import ScenarioError

LINES = 3000


@pytest.mark.parametrize("k_db", [-5.0, 3.0, 10.0])
def test_the_envelope_is_rician(k_db):
    """Kolmogorov-Smirnov over 3000 realisations against SciPy's Rice distribution: not refused at 1 %; one of twice or
    half the K would be, at 1e-6."""
    model = find_channel(f"Rician:{k_db}")
    rng = np.random.default_rng(7)
    lines = [model.draw(1e-7, 50.0, Place(0, 0, 1), rng) for _ in range(LINES)]
    envelope = np.array([abs(line.gains(np.array([0.37])).sum()) for line in lines])
    k = 10 ** (k_db / 10)

    def p_value(k):
        return stats.kstest(envelope, stats.rice(np.sqrt(2 * k), scale=np.sqrt(0.5 / (k + 1))).cdf).pvalue

    assert p_value(k) > 0.01
    if k_db > 0:  # below, the envelope hardly depends on K
        assert max(p_value(2 * k), p_value(k / 2)) < 1e-6


def test_the_line_of_sight_moves_at_its_own_doppler():
    """K of 60 dB: one line at 0.7 of the maximum Doppler shift."""
    line = find_channel("Rician:60").draw(1e-7, 100.0, Place(0, 0, 1), np.random.default_rng(1))
    times = np.linspace(0, 1, 1001)
    h = line.gains(times).sum(axis=0)
    assert np.abs(h * np.exp(-2j * np.pi * 70.0 * times) / h[0] - 1).max() < 0.01


@pytest.mark.parametrize("name", ["Rician:", "Rician:much", "Rician:61", "Rician:nan"])
def test_no_k_is_refused(name):
    with pytest.raises(ScenarioError, match=rf"air.channel = {name}: allowed: Rician:K_DB with K_DB in -60..60"):
        find_channel(name, "air.channel")
