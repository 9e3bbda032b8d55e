"""Channel estimation: least squares, linear MMSE under priors or under statistics of the frame, and a network.

An estimator is made by a factory ``(waveform, antennas) -> Estimator`` in `ESTIMATORS`, see `base`. Another
distribution adds one with an entry point in the group ``semtb.estimators``; a trained network is named by its card.
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

from server.estimation.base import Assuming, Assumptions, ChannelEstimate, Estimator, Factory, Fading
from server.estimation.dnn import dnn, make_dnn, make_network
from server.estimation.empirical import lmmse_estimated, make_lmmse_estimated
from server.estimation.lmmse import lmmse, make_lmmse
from server.estimation.ls import ls, make_ls, pilot_estimates
from testbed.errors import ScenarioError

ESTIMATORS: dict[str, Factory] = {
    "ls": make_ls,
    "lmmse": make_lmmse,
    "lmmse-estimated": make_lmmse_estimated,
    "dnn": make_dnn,
}


def find_estimator(name: str) -> Factory:
    """The factory of this name: one of ours, that of a network's card (.json), else an entry point's.

    Parameters
    ----------
    name : str

    Returns
    -------
    Factory
        A network is opened when it makes an estimator, before any frame comes; EstimatorError then, if a file is
        missing or not the one of its card.

    Raises
    ------
    ScenarioError
        If nobody knows the name; the message lists those known.
    """
    if name.endswith(".json"):
        return partial(make_network, Path(name))
    if name in ESTIMATORS:
        return ESTIMATORS[name]
    foreign = {e.name: e for e in entry_points(group="semtb.estimators")}
    if name not in foreign:
        known = ", ".join([*ESTIMATORS, *foreign])
        raise ScenarioError(f"server.estimator = {name}: allowed: {known}, or a card's path (.json)")
    return foreign[name].load()


__all__ = [
    "ESTIMATORS",
    "Assuming",
    "Assumptions",
    "ChannelEstimate",
    "Estimator",
    "Factory",
    "Fading",
    "dnn",
    "find_estimator",
    "lmmse",
    "lmmse_estimated",
    "ls",
    "pilot_estimates",
]
