"""Radios by URI: the scheme names the driver."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points

from testbed.errors import RadioNotFound
from testbed.radio.base import Radio, RadioSettings

ENTRY_POINTS = "semtb.radios"  # a distribution adds a driver by an entry point of this group, named like the scheme
DRIVERS = {
    "zmq": "testbed.radio.zmq:ZmqRadio",
    "memory": "testbed.radio.memory:MemoryRadio",
    "pluto": "testbed.radio.pluto:PlutoRadio",
    "sigmf": "testbed.radio.sigmf:SigmfRadio",
}


def open_radio(uri: str, settings: RadioSettings) -> Radio:
    """Open the radio at ``scheme:address``.

    Raises
    ------
    RadioNotFound
        If no driver knows the scheme; the message lists those that are known.
    RadioError, AddressInUse
        As the driver says.
    """
    return driver_of(uri)(uri, settings)


def check_uri(uri: str, settings: RadioSettings) -> None:
    """Refuse, without touching any device, what `open_radio` would refuse of the URI alone; a driver's ``check`` does.

    Raises
    ------
    RadioNotFound, RadioError
        As `open_radio` has it.
    """
    check = getattr(driver_of(uri), "check", None)
    if check is not None:
        check(uri, settings)


def require_driver(uri: str) -> None:
    """Raise MissingExtra where this machine lacks what the driver of a radio needs; a driver's ``require`` does.

    Raises
    ------
    MissingExtra
        With the command that installs it.
    """
    require = getattr(driver_of(uri), "require", None)
    if require is not None:
        require()


def has_own_clock(uri: str, settings: RadioSettings) -> bool:
    """Whether a radio's samples and carrier come from an oscillator that no other radio shares.

    False unless a driver's ``has_own_clock`` says so, which may have to look at the device.

    Raises
    ------
    RadioNotFound, RadioError
        As `open_radio` has it.
    """
    asked = getattr(driver_of(uri), "has_own_clock", None)
    return asked is not None and asked(uri, settings)


def driver_of(uri: str) -> Callable[[str, RadioSettings], Radio]:
    """The class behind a scheme."""
    scheme, colon, _ = uri.partition(":")
    if colon and scheme in DRIVERS:
        module, _, name = DRIVERS[scheme].partition(":")
        return getattr(import_module(module), name)
    added = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if colon and scheme in added:
        return added[scheme].load()
    known = ", ".join(sorted({*DRIVERS, *added}))
    raise RadioNotFound(f"radio {uri!r}: unknown scheme. Known here: {known}. Write it as SCHEME:ADDRESS")
