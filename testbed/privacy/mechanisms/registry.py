"""Mechanisms by name."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from testbed.errors import ScenarioError
from testbed.privacy.mechanisms.base import Mechanism

ENTRY_POINTS = "semtb.mechanisms"  # a distribution adds a mechanism by an entry point of this group, of the same name
MECHANISMS = {
    "gaussian": "testbed.privacy.mechanisms.gaussian:Gaussian",
    "laplace": "testbed.privacy.mechanisms.laplace:Laplace",
}


def mechanism_class(name: str) -> type[Mechanism]:
    """The class of a mechanism.

    Parameters
    ----------
    name : str

    Returns
    -------
    type of Mechanism

    Raises
    ------
    ScenarioError
        If none has this name; the message lists those that are known.
    """
    if name in MECHANISMS:
        module, _, attribute = MECHANISMS[name].partition(":")
        return getattr(import_module(module), attribute)
    added = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in added:
        return added[name].load()
    raise ScenarioError(f"mechanism = {name}: allowed: {', '.join(sorted({*MECHANISMS, *added}))}")


def open_mechanism(name: str, noise_multiplier: float) -> Mechanism:
    """A mechanism with its noise.

    Parameters
    ----------
    name : str
    noise_multiplier : float
        Scale of the noise over the sensitivity; 0: no noise.

    Returns
    -------
    Mechanism

    Raises
    ------
    ScenarioError
        If the name or the multiplier is not allowed.
    """
    return mechanism_class(name)(noise_multiplier)
