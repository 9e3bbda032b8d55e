"""Channel estimation: least squares, then linear MMSE.

An estimator is a function ``(grid, waveform) -> ChannelEstimate`` as `lmmse.lmmse` documents it.
"""

from __future__ import annotations

from server.estimation.base import ChannelEstimate, Estimator
from server.estimation.lmmse import lmmse
from server.estimation.ls import ls, pilot_estimates
from testbed.errors import ScenarioError

ESTIMATORS: dict[str, Estimator] = {"ls": ls, "lmmse": lmmse}


def find_estimator(name: str) -> Estimator:
    """The estimator of this name.

    Raises
    ------
    ScenarioError
        If there is none; the message lists those known.
    """
    if name not in ESTIMATORS:
        raise ScenarioError(f"server.estimator = {name}: allowed: {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]


__all__ = ["ESTIMATORS", "ChannelEstimate", "Estimator", "find_estimator", "lmmse", "ls", "pilot_estimates"]
