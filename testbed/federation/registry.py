"""Strategies by name."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from testbed.errors import ScenarioError
from testbed.federation.base import Strategy

ENTRY_POINTS = "semtb.strategies"  # a distribution adds a strategy by an entry point of this group, of the same name
STRATEGIES = {
    "evidence": "testbed.federation.evidence:EVIDENCE",
    "mean-logits": "testbed.federation.mean_logits:MEAN_LOGITS",
    "fedavg": "testbed.federation.fedavg:FEDAVG",
}


def strategy_names() -> list[str]:
    """All that are known here, those of other distributions, too."""
    return [*STRATEGIES, *(p.name for p in entry_points(group=ENTRY_POINTS) if p.name not in STRATEGIES)]


def open_strategy(name: str) -> Strategy:
    """The strategy of a name.

    Parameters
    ----------
    name : str

    Returns
    -------
    Strategy

    Raises
    ------
    ScenarioError
        If none has this name; the message lists those that are known.
    """
    if name in STRATEGIES:
        module, _, attribute = STRATEGIES[name].partition(":")
        return getattr(import_module(module), attribute)
    added = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in added:
        return added[name].load()
    raise ScenarioError(f"strategy = {name[:40]}: allowed: {', '.join(strategy_names())}")
