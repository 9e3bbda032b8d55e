"""Multi-user detection that reports its own error.

A detector is a function ``Received -> Posterior``, see `base`. Another distribution adds one with an entry point in the
group ``semtb.detectors``.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from server.detection.base import Channel, Detector, Posterior, Prior, Received
from server.detection.lmmse import detect_lmmse, lmmse
from server.detection.matched_filter import matched_filter
from testbed.errors import ScenarioError

DETECTORS: dict[str, Detector] = {"lmmse": detect_lmmse, "matched-filter": matched_filter}


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


__all__ = [
    "DETECTORS",
    "Channel",
    "Detector",
    "Posterior",
    "Prior",
    "Received",
    "detect_lmmse",
    "find_detector",
    "lmmse",
    "matched_filter",
]
