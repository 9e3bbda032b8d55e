"""No carrier from a Pluto: what its driver and its watchdog both do. Only libiio is needed for it."""

from __future__ import annotations

import contextlib
from typing import Any

PHY = "ad9361-phy"
TX_LO = "altvoltage1"
MUTE_GAIN_DB = -89.75  # the strongest attenuation of an AD936x; ad9361.c


def tx_lo(context: Any) -> Any:
    """The channel of the transmitter's oscillator."""
    return context.find_device(PHY).find_channel(TX_LO, True)


def mute(context: Any) -> None:
    """The transmitter's oscillator off, then the strongest attenuation on every channel, used or not.

    Parameters
    ----------
    context : iio.Context

    Raises
    ------
    OSError
        If the device does not take one of these; the others were written all the same.
    """
    failures = contextlib.ExitStack()  # raises the last failure once all was tried
    with failures:
        for channel in context.find_device(PHY).channels:
            if channel.output and "hardwaregain" in channel.attrs:
                failures.callback(_write, channel, "hardwaregain", f"{MUTE_GAIN_DB}")
        failures.callback(_write, tx_lo(context), "powerdown", "1")


def is_mute(context: Any) -> bool:
    """Whether the oscillator is off and every channel at its strongest attenuation, as the device has it."""
    gains_db = [
        float(channel.attrs["hardwaregain"].value.split()[0])
        for channel in context.find_device(PHY).channels
        if channel.output and "hardwaregain" in channel.attrs
    ]
    return tx_lo(context).attrs["powerdown"].value.strip() == "1" and max(gains_db) <= MUTE_GAIN_DB


def _write(channel: Any, name: str, value: str) -> None:
    channel.attrs[name].value = value
