"""Epsilon at any delta against the closed form of the Gaussian mechanism, and the ledger's use of it.

Gaussian releases of multipliers z compose to one of multiplier (sum 1/z^2)^-1/2 = 1/mu, for which
delta(epsilon) = Phi(mu/2 - epsilon/mu) - exp(epsilon) Phi(-mu/2 - epsilon/mu).

B. Balle, Y.-X. Wang, "Improving the Gaussian Mechanism for Differential Privacy", ICML 2018, theorem 8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from tests.requirements import TRAINING

pytest.importorskip("dp_accounting", reason=TRAINING)

from testbed.errors import BudgetSpent
from testbed.privacy.accounting import Event, epsilon_spent
from testbed.privacy.budget import noise_multiplier
from testbed.privacy.ledger import Budget, Ledger

DELTAS = (1e-2, 1e-5, 1e-8)


def gaussian(*multipliers: float) -> list[Event]:
    return [{"kind": "GaussianDpEvent", "noise_multiplier": z} for z in multipliers]


def exact_epsilon(multipliers: Sequence[float], delta: float) -> float:
    mu = math.sqrt(sum(1 / z**2 for z in multipliers))

    def excess(epsilon: float) -> float:
        tail = math.exp(epsilon + norm.logcdf(-mu / 2 - epsilon / mu))
        return norm.cdf(mu / 2 - epsilon / mu) - tail - delta

    return brentq(excess, 0.0, 100.0)


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("multipliers", [[1.53], [0.7], [2.0, 2.0, 2.0], [1.0, 4.0, 2.5]])
def test_epsilon_is_the_closed_forms_at_every_delta(multipliers: list[float], delta: float):
    """At most 0.2 % above, never below."""
    exact = exact_epsilon(multipliers, delta)
    assert exact * (1 - 1e-6) <= epsilon_spent(gaussian(*multipliers), delta) <= exact * 1.002


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("releases", [1, 3])
def test_the_noise_laid_out_keeps_epsilon_at_the_delta_asked_for(releases: int, delta: float):
    """Epsilon 4 is never exceeded by the closed form, and no more than 1 % of it is left."""
    spent = exact_epsilon([noise_multiplier(4.0, releases, delta)] * releases, delta)
    assert 4.0 * 0.99 <= spent <= 4.0


def test_a_budget_is_spent_sooner_where_delta_is_smaller(tmp_path: Path):
    """Two releases make epsilon 2.7 at 1e-2 and 5.1 at 1e-5: a budget of 4 allows both, or one."""
    assert exact_epsilon([1.25] * 2, 1e-2) < 4.0 < exact_epsilon([1.25] * 2, 1e-5)
    for delta, allowed in ((1e-2, 2), (1e-5, 1)):
        ledger = Ledger(tmp_path / f"{delta:g}.jsonl", Budget(4.0, delta))
        for _ in range(allowed):
            ledger.charge("evidence", *gaussian(1.25), 1.0, 4000)
        assert ledger.spent() == pytest.approx(exact_epsilon([1.25] * allowed, delta), rel=2e-3)
        if allowed == 1:
            with pytest.raises(BudgetSpent, match="delta 1e-05"):
                ledger.charge("evidence", *gaussian(1.25), 1.0, 4000)
