"""Composition of Gaussian releases by `dp-accounting`. Nothing here is derived by hand, and nothing is spent here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from testbed.errors import MissingExtra, ScenarioError

NEIGHBOURING = "add or remove one record of one client"
DELTA = 1e-5
EPSILONS = (0.01, 50.0)  # above, nothing is promised that means anything; below, nothing is left to learn
GRID = 1e-4  # of privacy losses; they are rounded up to it, so that a coarser grid promises less than is kept
SEARCH_GRID = 1e-3
ROUNDED = 1e4  # noise multipliers are rounded up to four decimals, so that what is written is what was added


def _accountant(grid: float = GRID) -> tuple[Any, Any]:
    """The library, and a fresh accountant by privacy loss distributions for records added or removed."""
    try:
        import dp_accounting
        from dp_accounting import pld
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "privacy is accounted by dp-accounting, which is not installed: pip install 'semcom-testbed[train]'"
        ) from error
    return dp_accounting, pld.PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE, grid)


def epsilon_spent(noise_multipliers: Iterable[float], delta: float = DELTA) -> float:
    """Composed epsilon of Gaussian releases, adaptively chosen or not; infinite if one of them had no noise.

    Parameters
    ----------
    noise_multipliers : iterable of float
        Of each release, standard deviation over L2 sensitivity when a record is added or removed.
    delta : float

    Returns
    -------
    float
        An upper bound; the accountant rounds pessimistically.
    """
    count: dict[float, int] = {}
    for z in noise_multipliers:
        if not z >= 0 or math.isinf(z):
            raise ScenarioError(f"noise multiplier = {z}: allowed: 0 (no noise) and positive numbers")
        count[z] = count.get(z, 0) + 1
    if not count:
        return 0.0
    if 0.0 in count:
        return math.inf
    library, accountant = _accountant()
    for z, times in count.items():
        accountant.compose(library.GaussianDpEvent(z), times)
    return float(accountant.get_epsilon(delta))


def noise_multiplier(epsilon: float, releases: int, delta: float = DELTA) -> float:
    """The least noise multiplier at which ``releases`` Gaussian releases compose to at most ``epsilon``.

    Zero for an infinite epsilon.

    Raises
    ------
    ScenarioError
        If epsilon is out of the range in which the accountant answers in seconds, or there is no release.
    """
    if releases < 1:
        raise ScenarioError(f"releases = {releases}: allowed: at least 1")
    if epsilon == math.inf:
        return 0.0
    low, high = EPSILONS
    if not low <= epsilon <= high:
        raise ScenarioError(f"epsilon = {epsilon}: allowed: {low:g}..{high:g}, or inf for no noise and no promise")
    library, _ = _accountant()

    def event(z: float) -> Any:
        return library.SelfComposedDpEvent(library.GaussianDpEvent(z), releases)

    # Where to look, so that no time goes into multipliers far away; what is found is the accountant's alone.
    guess = math.sqrt(2 * releases * math.log(1.25 / delta)) / epsilon
    bracket = library.LowerEndpointAndGuess(guess / 2.5, guess)
    found = library.calibrate_dp_mechanism(
        lambda: _accountant(SEARCH_GRID)[1], event, epsilon, delta, bracket, tol=1e-4 * guess
    )
    return math.ceil(float(found) * ROUNDED) / ROUNDED
