"""Composition of any mechanism's releases by `dp-accounting`. Nothing here is derived by hand, and nothing is spent.

A release is accounted as an *event*, the library's ``DpEvent``. A ledger keeps events as plain trees, so that it can be
read without the library: ``{"kind": "GaussianDpEvent", "noise_multiplier": 1.53}``.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from testbed.errors import LedgerError, MissingExtra

NEIGHBOURING = "add or remove one record of one client"
DELTA = 1e-5
GRID = 1e-4  # of privacy losses; they are rounded up to it, so that a coarser grid promises less than is kept
KIND = "kind"  # the key of an event's class in its tree

Event = Mapping[str, Any]


def library() -> Any:
    """`dp_accounting`, imported when it is needed: a node that only sends and receives does without.

    Raises
    ------
    MissingExtra
        If it is not installed.
    """
    try:
        import dp_accounting
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "privacy is accounted by dp-accounting, which is not installed: pip install 'semcom-testbed[train]'"
        ) from error
    return dp_accounting


def accountant(grid: float = GRID) -> Any:
    """A fresh accountant by privacy loss distributions for records added or removed.

    Parameters
    ----------
    grid : float
        Of privacy losses, in nats.

    Returns
    -------
    dp_accounting.pld.PLDAccountant
    """
    relation = library().NeighboringRelation.ADD_OR_REMOVE_ONE
    from dp_accounting import pld

    return pld.PLDAccountant(relation, grid)


def as_tree(event: Any) -> dict[str, Any]:
    """An event as plain values.

    Parameters
    ----------
    event : dp_accounting.DpEvent

    Returns
    -------
    dict
        The class under ``kind``, and its parameters; events in it are trees, too.
    """
    fields = (field.name for field in type(event).__attrs_attrs__)
    return {KIND: type(event).__name__} | {name: plain(getattr(event, name)) for name in fields}


def plain(value: Any) -> Any:
    """A parameter of an event as plain values."""
    if hasattr(type(value), "__attrs_attrs__"):
        return as_tree(value)
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def from_tree(tree: Event) -> Any:
    """The event that a tree stands for.

    Parameters
    ----------
    tree : mapping

    Returns
    -------
    dp_accounting.DpEvent

    Raises
    ------
    LedgerError
        If the library has no such event, or not with these parameters.
    """
    known = library()
    kind = getattr(known, str(tree.get(KIND)), None)
    if not (isinstance(kind, type) and issubclass(kind, known.DpEvent)):
        raise LedgerError(f"event {tree.get(KIND)!r}: dp-accounting knows none of this name, so nothing is released")
    try:
        return kind(**{name: rebuilt(value) for name, value in tree.items() if name != KIND})
    except (TypeError, ValueError) as error:
        raise LedgerError(f"event {tree[KIND]}: {error}, so nothing is released") from error


def rebuilt(value: Any) -> Any:
    """A parameter of an event from plain values."""
    if isinstance(value, Mapping):
        return from_tree(value)
    return [rebuilt(item) for item in value] if isinstance(value, list) else value


def epsilon_spent(events: Iterable[Event], delta: float = DELTA) -> float:
    """Composed epsilon of releases, adaptively chosen or not; infinite if one of them had no noise.

    Parameters
    ----------
    events : iterable of mapping
        As :func:`as_tree` gives them; order does not matter.
    delta : float

    Returns
    -------
    float
        An upper bound; the accountant rounds pessimistically.

    Raises
    ------
    LedgerError
        If an event is one that the accountant cannot compose.
    """
    count = Counter(json.dumps(dict(event), sort_keys=True) for event in events)
    if not count:
        return 0.0
    total = accountant()
    for tree, times in count.items():
        event = from_tree(json.loads(tree))
        if not total.supports(event):
            raise LedgerError(f"event {event}: dp-accounting's PLD accountant cannot compose it: nothing is released")
        try:
            total.compose(event, times)
        except (ValueError, ArithmeticError, LookupError) as error:
            raise LedgerError(f"event {event}: cannot be accounted ({error}), so nothing is released") from error
    epsilon = float(total.get_epsilon(delta))
    if math.isnan(epsilon):
        raise LedgerError("the releases compose to no number, so nothing is released")
    return epsilon
