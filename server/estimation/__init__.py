"""Channel estimation: least squares, linear MMSE under a prior or under statistics of the frame, and a network.

An estimator is a function ``(grid, waveform) -> ChannelEstimate`` as `lmmse.lmmse` documents it.
"""

from __future__ import annotations

from pathlib import Path

from server.estimation.base import ChannelEstimate, Estimator
from server.estimation.dnn import DnnEstimator, dnn, shipped
from server.estimation.empirical import lmmse_estimated
from server.estimation.lmmse import lmmse
from server.estimation.ls import ls, pilot_estimates
from testbed.errors import ScenarioError

ESTIMATORS: dict[str, Estimator] = {"ls": ls, "lmmse": lmmse, "lmmse-estimated": lmmse_estimated, "dnn": dnn}


def find_estimator(name: str) -> Estimator:
    """The estimator of this name, or the network of a card (.json); a network is opened here, before any frame comes.

    Raises
    ------
    ScenarioError
        If there is none; the message lists those known.
    EstimatorError
        If a network's file is missing or not the one of its card.
    """
    if name.endswith(".json"):
        return DnnEstimator(Path(name))
    if name not in ESTIMATORS:
        raise ScenarioError(f"server.estimator = {name}: allowed: {', '.join(ESTIMATORS)}, or a card's path (.json)")
    return shipped() if ESTIMATORS[name] is dnn else ESTIMATORS[name]


__all__ = [
    "ESTIMATORS",
    "ChannelEstimate",
    "DnnEstimator",
    "Estimator",
    "dnn",
    "find_estimator",
    "lmmse",
    "lmmse_estimated",
    "ls",
    "pilot_estimates",
]
