"""What every privacy mechanism must do: keep what its DpEvent says, add the noise that it states, know its own tails.

A mechanism joins by its line in the registry; `EXACT` and `UNIT` hold what it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.stats import norm

from testbed.errors import ScenarioError
from testbed.privacy.accounting import as_tree, epsilon_spent, from_tree
from testbed.privacy.budget import noise_multiplier
from testbed.privacy.mechanisms.base import Mechanism
from testbed.privacy.mechanisms.registry import MECHANISMS, mechanism_class, open_mechanism
from testbed.privacy.noise import SeededNoise, SystemNoise
from testbed.privacy.sensitivity import Sensitivity
from tests.requirements import TRAINING

dp_accounting = pytest.importorskip("dp_accounting", reason=TRAINING)

DELTA = 1e-5
OF = Sensitivity(l2=2.0, l1=5.0)


def gaussian_epsilon(z: float, delta: float) -> float:
    """B. Balle, Y.-X. Wang, ICML 2018, theorem 8."""

    def excess(epsilon: float) -> float:
        tail = math.exp(epsilon + norm.logcdf(-1 / (2 * z) - epsilon * z))
        return norm.cdf(1 / (2 * z) - epsilon * z) - tail - delta

    return brentq(excess, 0.0, 100.0)


def laplace_epsilon(b: float, delta: float) -> float:
    """delta(epsilon) = 1 - exp((epsilon - 1/b)/2) for epsilon in 0..1/b: the privacy profile of the Laplace mechanism.

    B. Balle, G. Barthe, M. Gaboardi, "Privacy Amplification by Subsampling", NeurIPS 2018, theorem 3.
    """
    return 1 / b + 2 * math.log1p(-delta)


EXACT: dict[str, Callable[[float, float], float]] = {"gaussian": gaussian_epsilon, "laplace": laplace_epsilon}
UNIT = {"gaussian": stats.norm, "laplace": stats.laplace}  # distribution of the noise of unit scale


@pytest.fixture(params=sorted(MECHANISMS))
def kind(request: pytest.FixtureRequest) -> type[Mechanism]:
    return mechanism_class(request.param)


def test_its_name_is_the_one_it_is_registered_by(kind: type[Mechanism]):
    assert mechanism_class(kind.name) is kind
    assert kind.norm in (1, 2)


@pytest.mark.parametrize("z", [0.3, 0.8, 2.0])
def test_epsilon_of_its_event_is_the_closed_form(kind: type[Mechanism], z: float):
    """Never below, at most 0.5 % above; and the event is the same after it was written down."""
    event = kind(z).event()
    exact = EXACT[kind.name](z, DELTA)
    assert exact * (1 - 1e-6) <= epsilon_spent([as_tree(event)], DELTA) <= exact * 1.005
    assert from_tree(as_tree(event)) == event


@pytest.mark.parametrize("z", [0.5, 1.5])
def test_what_it_adds_hides_one_record_as_its_event_says(kind: type[Mechanism], z: float, rng: np.random.Generator):
    """delta(epsilon) = E[max(0, 1 - exp(epsilon - L))] over outputs, L the log ratio of densities with a record and
    without, of a value that the record moves by exactly the sensitivity: below delta at the event's epsilon, and above
    at 0.8 of it, so that the noise is neither less nor much more than is accounted.

    200,000 outputs, delta 0.01 and 5 sigma. Half or twice the noise fails.
    """
    delta, count, mechanism = 0.01, 200_000, kind(z)
    moved = mechanism.bound_of(OF)
    noisy = mechanism.add(np.full(count, moved), OF, SeededNoise(rng)).astype(np.float64)
    scale = mechanism.scale(OF)
    log_density = UNIT[kind.name].logpdf
    loss = log_density((noisy - moved) / scale) - log_density(noisy / scale)
    spent = epsilon_spent([as_tree(mechanism.event())], delta)

    def profile(epsilon: float) -> tuple[float, float]:
        excess = np.maximum(0.0, -np.expm1(epsilon - loss))
        return float(excess.mean()), float(excess.std() / math.sqrt(count))

    mean, sigma = profile(spent)
    assert mean < delta + 5 * sigma
    mean, sigma = profile(0.8 * spent)
    assert mean > delta + 5 * sigma


@pytest.mark.parametrize("source", ["system", "seeded"])
def test_its_noise_has_the_distribution_and_deviation_that_it_states(
    kind: type[Mechanism], source: str, rng: np.random.Generator
):
    """Kolmogorov-Smirnov and standard deviation over 40,000 values; the system's fail once in 1e6 runs."""
    noise = SystemNoise() if source == "system" else SeededNoise(rng)
    mechanism = kind(1.5)
    value = rng.standard_normal((200, 200))
    added = (mechanism.add(value, OF, noise) - value).ravel()
    assert stats.kstest(added, UNIT[kind.name](scale=mechanism.scale(OF)).cdf).pvalue > 1e-6
    assert added.std() == pytest.approx(mechanism.std(OF), rel=0.06)
    assert mechanism.scale(OF) == 1.5 * {1: OF.l1, 2: OF.l2}[kind.norm]


def test_its_tails_are_exceeded_as_seldom_as_it_says(kind: type[Mechanism], rng: np.random.Generator):
    """20,000 draws of 50 values each, at a probability of 0.01: at most that (4 sigma), and at least a third of it, so
    that the bound is no wider than it need be. A smaller probability has a larger bound."""
    mechanism, probability, draws = kind(1.0), 0.01, 20_000
    unit = np.abs(mechanism.draw((draws, 50), SeededNoise(rng)))
    norms = unit.sum(axis=1) if kind.norm == 1 else np.sqrt((unit**2).sum(axis=1))
    for found, tail in ((unit.max(axis=1), mechanism.entry_tail), (norms, mechanism.norm_tail)):
        share = float(np.mean(found > tail(50, probability)))
        assert probability / 3 < share < probability + 4 * math.sqrt(probability / draws)
        assert tail(50, 1e-10) > tail(50, 1e-9) > tail(50, probability)
        assert math.isfinite(tail(10**6, 1e-12))


@pytest.mark.parametrize(("epsilon", "releases"), [(4.0, 1), (4.0, 3), (0.5, 2)])
def test_the_noise_that_a_budget_asks_for_keeps_it(kind: type[Mechanism], epsilon: float, releases: int):
    """And leaves no more than 1 % of it unused."""
    z = noise_multiplier(epsilon, releases, DELTA, kind.name)
    spent = epsilon_spent([as_tree(kind(z).event())] * releases, DELTA)
    assert 0.99 * epsilon <= spent <= epsilon


def test_a_wide_budget_asks_for_the_least_noise_there_is(kind: type[Mechanism]):
    z = noise_multiplier(50.0, 1, DELTA, kind.name)
    assert epsilon_spent([as_tree(kind(z).event())], DELTA) <= 50.0


def test_without_noise_it_changes_nothing_and_promises_nothing(kind: type[Mechanism], rng: np.random.Generator):
    value = rng.standard_normal((4, 3)).astype(np.float32)
    unbounded = Sensitivity(math.inf, math.inf)
    assert np.array_equal(kind(0.0).add(value, unbounded, SystemNoise()), value)
    assert kind(0.0).std(unbounded) == 0.0
    assert epsilon_spent([as_tree(kind(0.0).event())]) == math.inf
    with pytest.raises(ScenarioError, match="finite"):
        kind(1.0).add(value, unbounded, SystemNoise())


@pytest.mark.parametrize("z", [-1.0, math.nan, math.inf, 1e-3, 1e5])
def test_a_multiplier_out_of_range_is_refused(kind: type[Mechanism], z: float):
    with pytest.raises(ScenarioError, match="noise multiplier"):
        kind(z)


def test_a_mechanism_that_nobody_knows_is_refused_by_name():
    with pytest.raises(ScenarioError, match=r"uniform: allowed: gaussian, laplace"):
        open_mechanism("uniform", 1.0)
