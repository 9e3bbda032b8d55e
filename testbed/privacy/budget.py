"""How much noise a budget asks for: the least at which so many releases of a mechanism compose to its epsilon."""

from __future__ import annotations

import math
from typing import Any

from testbed.errors import ScenarioError
from testbed.privacy.accounting import DELTA, accountant, library
from testbed.privacy.mechanisms.base import MULTIPLIERS
from testbed.privacy.mechanisms.registry import mechanism_class

EPSILONS = (0.01, 50.0)  # above, nothing is promised that means anything; below, nothing is left to learn
SEARCH_GRID = 1e-3  # of privacy losses
ROUNDED = 1e4  # noise multipliers are rounded up to four decimals, so that what is written is what was added


def noise_multiplier(epsilon: float, releases: int, delta: float = DELTA, mechanism: str = "gaussian") -> float:
    """The least noise multiplier at which ``releases`` releases compose to at most ``epsilon``.

    Parameters
    ----------
    epsilon : float
        In nats; infinite: no noise.
    releases : int
    delta : float
    mechanism : str

    Returns
    -------
    float
        Without dimension; zero for an infinite epsilon.

    Raises
    ------
    ScenarioError
        If epsilon is out of the range in which the accountant answers in seconds, or there is no release.
    """
    kind = mechanism_class(mechanism)
    if releases < 1:
        raise ScenarioError(f"releases = {releases}: allowed: at least 1")
    if epsilon == math.inf:
        return 0.0
    low, high = EPSILONS
    if not low <= epsilon <= high:
        raise ScenarioError(f"epsilon = {epsilon}: allowed: {low:g}..{high:g}, or inf for no noise and no promise")
    known = library()

    def event(z: float) -> Any:
        return known.SelfComposedDpEvent(kind(z).event(), releases)

    # Where to look, so that no time goes into multipliers far away; what is found is the accountant's alone.
    guess = kind.first_guess(epsilon, releases, delta)
    least = max(guess / 2.5, MULTIPLIERS[0])
    if least == MULTIPLIERS[0] and accountant(SEARCH_GRID).compose(event(least)).get_epsilon(delta) <= epsilon:
        return least
    bracket = known.LowerEndpointAndGuess(least, max(guess, 2 * least))
    found = known.calibrate_dp_mechanism(
        lambda: accountant(SEARCH_GRID), event, epsilon, delta, bracket, tol=1e-4 * guess
    )
    return math.ceil(float(found) * ROUNDED) / ROUNDED
