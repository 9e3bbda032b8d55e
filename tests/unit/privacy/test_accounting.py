"""Composition against the noise multipliers of the literature's table and against a closed form."""

from __future__ import annotations

import json
import math

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from testbed.errors import LedgerError, ScenarioError
from testbed.privacy.accounting import as_tree, epsilon_spent, from_tree
from testbed.privacy.budget import noise_multiplier
from tests.requirements import TRAINING

dp_accounting = pytest.importorskip("dp_accounting", reason=TRAINING)
pld = pytest.importorskip("dp_accounting.pld", reason=TRAINING)


def gaussian(*multipliers: float) -> list[dict]:
    return [as_tree(dp_accounting.GaussianDpEvent(z)) for z in multipliers]


@pytest.mark.parametrize(("epsilon", "releases", "z"), [(0.5, 1, 7.03), (4, 1, 1.08), (8, 1, 0.60), (4, 10, 3.42)])
def test_noise_multipliers_are_those_of_the_reference_table(epsilon: float, releases: int, z: float):
    """PLD accountant, delta 1e-5, to the three digits of the table; and the budget is kept."""
    found = noise_multiplier(epsilon, releases)
    assert found == pytest.approx(z, rel=6e-3)
    assert epsilon_spent(gaussian(found) * releases) <= epsilon


def test_the_composed_epsilon_is_that_of_the_closed_form():
    """Gaussian releases compose to one of multiplier (sum 1/z^2)^-1/2, whose epsilon is known exactly (Balle, Wang,
    ICML 2018, theorem 8); the accountant stands at most 0.1 % above it and never below."""
    multipliers = [2.0, 3.0, 3.0, 5.0]
    mu = math.sqrt(sum(1 / z**2 for z in multipliers))

    def delta_of(epsilon: float) -> float:
        return norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)

    exact = brentq(lambda epsilon: delta_of(epsilon) - 1e-5, 0.1, 20)
    found = epsilon_spent(gaussian(*multipliers))
    assert exact * (1 - 1e-6) <= found <= exact * 1.001


def test_nothing_released_costs_nothing_and_a_release_without_noise_has_no_bound():
    assert epsilon_spent([]) == 0.0
    assert epsilon_spent([*gaussian(5.0), {"kind": "NonPrivateDpEvent"}]) == math.inf
    assert noise_multiplier(math.inf, 3) == 0.0
    for wrong in (0.0, -1.0, math.nan, 1e-9, 51.0, 1e6):
        with pytest.raises(ScenarioError, match=r"0\.01\.\.50, or inf"):
            noise_multiplier(wrong, 1)


@pytest.mark.parametrize(
    "event",
    [
        *({"kind": "ZCDpEvent", "rho": 1.0}, {"kind": "UnsupportedDpEvent"}, {"kind": "PLDAccountant"}, {"kind": "os"}),
        *({}, {"kind": "GaussianDpEvent"}, {"kind": "GaussianDpEvent", "noise_multiplier": -1.0}),
        *({"kind": "LaplaceDpEvent", "noise_multiplier": math.nan}, {"kind": "GaussianDpEvent", "sigma": 1.0}),
    ],
)
def test_what_cannot_be_accounted_is_refused(event: dict):
    """An event that the accountant does not compose, no event of the library, or parameters that mean nothing."""
    with pytest.raises(LedgerError, match="nothing is released"):
        epsilon_spent([*gaussian(5.0), event])


def test_an_event_is_the_same_after_it_was_written_down():
    """Any of the library's, with events in events, through JSON; and its epsilon is the library's own."""
    known = dp_accounting
    sampled = known.PoissonSampledDpEvent(0.1, known.GaussianDpEvent(1.2))
    nested = (known.SelfComposedDpEvent(sampled, 3), known.ComposedDpEvent([sampled, known.NoOpDpEvent()]))
    for event in (sampled, *nested):
        assert from_tree(json.loads(json.dumps(as_tree(event)))) == event
    own = pld.PLDAccountant(known.NeighboringRelation.ADD_OR_REMOVE_ONE, 1e-4).compose(sampled, 3).get_epsilon(1e-5)
    assert epsilon_spent([as_tree(sampled)] * 3) == own
