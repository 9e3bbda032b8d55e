"""Radios by URI: the scheme names the driver."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from testbed.errors import RadioNotFound
from testbed.radio.base import Radio, RadioSettings

ENTRY_POINTS = "semtb.radios"  # a distribution adds a driver by an entry point of this group, named like the scheme
DRIVERS = {
    "zmq": "testbed.radio.zmq:ZmqRadio",
    "memory": "testbed.radio.memory:MemoryRadio",
    "pluto": "testbed.radio.pluto:PlutoRadio",
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
    scheme, colon, _ = uri.partition(":")
    if colon and scheme in DRIVERS:
        module, _, name = DRIVERS[scheme].partition(":")
        return getattr(import_module(module), name)(uri, settings)
    added = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if colon and scheme in added:
        return added[scheme].load()(uri, settings)
    known = ", ".join(sorted({*DRIVERS, *added}))
    raise RadioNotFound(f"radio {uri!r}: unknown scheme. Known here: {known}. Write it as SCHEME:ADDRESS")
