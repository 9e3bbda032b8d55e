"""Multi-user detection that reports its own error.

A detector is a function ``(y, h, no, *, cov=None) -> (x_hat, no_eff)`` as `lmmse.lmmse` documents it. Another
distribution adds one with an entry point in the group ``semtb.detectors``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

import numpy as np

from server.detection.lmmse import lmmse
from testbed.errors import ScenarioError

Detector = Callable[..., tuple[np.ndarray, np.ndarray]]

DETECTORS: dict[str, Detector] = {"lmmse": lmmse}


def find_detector(name: str) -> Detector:
    """The detector of this name: one of ours, else an entry point's.

    Raises
    ------
    ScenarioError
        If nobody knows the name; the message lists those known.
    """
    if name in DETECTORS:
        return DETECTORS[name]
    foreign = {e.name: e for e in entry_points(group="semtb.detectors")}
    if name not in foreign:
        raise ScenarioError(f"server.detector = {name}: allowed: {', '.join([*DETECTORS, *foreign])}")
    return foreign[name].load()


__all__ = ["DETECTORS", "Detector", "find_detector", "lmmse"]
