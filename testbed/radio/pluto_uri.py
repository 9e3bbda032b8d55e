"""What a Pluto's URI may say, and which values some Pluto takes. No device is touched here."""

from __future__ import annotations

import msgspec

from testbed.errors import RadioError
from testbed.radio.base import RadioSettings
from testbed.radio.pluto_mute import MUTE_GAIN_DB

# What some AD936x takes: AD9364 for the LO, the lowest and highest of all bands for the receiver's gain; ad9361.c.
# A stock Pluto's LO (AD9363, 325 MHz to 3.8 GHz) and its band take less, and say so themselves.
ALLOWED = {
    "lo_hz": (70e6, 6e9),
    "tx_gain_db": (MUTE_GAIN_DB, 0.0),
    "rx_gain_db": (-10.0, 73.0),
    "lead_s": (0.0, 10.0),
    "wait_s": (0.0, 60.0),
    "mute": (0.0, 1.0),
}


class Choice(msgspec.Struct, frozen=True):
    """What a URI asks for."""

    address: str  # as libiio has it: ip:192.168.2.1 or usb:1.4.5
    lo_hz: float
    tx_gain_db: float
    rx_gain_db: float
    lead_s: float = 0.0
    wait_s: float = 0.0  # for the device to appear: a virtual one may start together with this process
    fir: str = ""  # name or path of a filter; empty: the one that ships for the rate, else pyadi-iio's
    mute: float = 0.0  # 1: nothing is radiated whatever is sent, as digital loopback wants it


def parse(uri: str, settings: RadioSettings) -> Choice:
    """``pluto:ADDRESS[,key=value…]`` with the settings for what it leaves out.

    Raises
    ------
    RadioError
        Unknown keys, values that no Pluto takes, no address.
    """
    address, *options = uri.partition(":")[2].split(",")
    values = {"lo_hz": settings.lo_hz, "tx_gain_db": settings.tx_gain_db, "rx_gain_db": settings.rx_gain_db}
    values |= {"lead_s": 0.0, "wait_s": 0.0, "mute": 0.0}
    fir = ""
    if address.partition(":")[0] not in ("ip", "usb", "local"):
        raise RadioError(f"{uri}: write pluto:ip:ADDRESS or pluto:usb:BUS.PORT.INTERFACE; `iio_info -s` lists them")
    for option in options:
        key, _, text = option.partition("=")
        if key == "fir":
            fir = text
            continue
        try:
            if key not in values:
                raise RadioError(f"{uri}: {key}: unknown; known: {', '.join(values)}, fir")
            values[key] = float(text)
        except ValueError:
            raise RadioError(f"{uri}: {key} = {text!r}: a number is allowed") from None
    return in_ranges(uri, Choice(address, fir=fir, **values))


def in_ranges(uri: str, choice: Choice) -> Choice:
    """The choice itself, if some Pluto takes it.

    Raises
    ------
    RadioError
        Which value is out of which range.
    """
    for key, (low, high) in ALLOWED.items():
        value = getattr(choice, key)
        if not low <= value <= high:  # NaN among them
            raise RadioError(f"{uri}: {key} = {value:g}: allowed: {low:g}..{high:g}")
    return choice


def hears_otherwise(choice: Choice, before: Choice) -> bool:
    """Whether what is received is not as before."""
    return (choice.lo_hz, choice.rx_gain_db) != (before.lo_hz, before.rx_gain_db)
