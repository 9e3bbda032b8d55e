"""What a Pluto is and what it can do: identity, ranges, temperature, and the rate at which no sample is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from testbed.errors import RadioError
from testbed.radio.base import RadioSettings
from testbed.radio.pluto import PlutoRadio
from testbed.radio.pluto_libraries import libraries
from testbed.radio.pluto_mute import PHY, TX_LO
from testbed.radio.pluto_sequence import breaks, counting

RATES_HZ = (1.92e6, 2.5e6, 3.84e6, 5e6, 7.68e6, 10e6, 15.36e6, 20e6, 30.72e6, 61.44e6)
RX_LO = "altvoltage0"
TRIES = 2  # of a rate: another program may have had the machine for a moment
# What is read of the control device: the words for people, channel, whether it is an output, attribute.
RANGES = {
    "receive LO (Hz)": (RX_LO, True, "frequency_available"),
    "transmit LO (Hz)": (TX_LO, True, "frequency_available"),
    "sample rate (S/s)": ("voltage0", False, "sampling_frequency_available"),
    "receive bandwidth (Hz)": ("voltage0", False, "rf_bandwidth_available"),
    "transmit bandwidth (Hz)": ("voltage0", True, "rf_bandwidth_available"),
    "receive gain (dB)": ("voltage0", False, "hardwaregain_available"),
    "transmit gain (dB)": ("voltage0", True, "hardwaregain_available"),
}


class Facts(msgspec.Struct, frozen=True):
    """Of one device. A range is lowest, step, highest as the device writes it, with its present settings."""

    address: str
    model: str
    serial: str
    firmware: str
    channels: int  # 1: 1R1T, 2: 2R2T
    ranges: dict[str, str]
    temperature_c: float | None
    xo_correction_hz: int | None
    virtual: bool


class Sustained(msgspec.Struct, frozen=True):
    """What became of one sample rate."""

    rate_hz: float
    seconds: float
    breaks: int  # in the sequence of samples; 0: none was lost
    measured_hz: float  # samples that came in a second of this machine's clock

    @property
    def holds(self) -> bool:
        """Whether no sample was lost."""
        return not self.breaks


def facts_of(radio: PlutoRadio) -> Facts:
    """What an open Pluto says of itself."""
    device = radio.device("facts")
    who, context = device.identity, device.context
    correction = context.attrs.get("ad9361-phy,xo_correction", "")
    return Facts(
        address=who.address,
        model=who.model,
        serial=who.serial,
        firmware=who.firmware,
        channels=device.offered,
        ranges={words: found for words, place in RANGES.items() if (found := _attribute(context, *place))},
        temperature_c=radio.temperature_c,
        xo_correction_hz=int(correction) if correction.isdigit() else None,
        virtual=device.virtual,
    )


def sustained(
    uri: str, channels: int, seconds: float, should_stop: Callable[[], bool], most_hz: float = RATES_HZ[-1]
) -> Iterator[Sustained]:
    """The sample rates in rising order up to the first that loses samples; all channels receive.

    The transmitter is mute; the device's own rate and filter are changed, and put back.

    Parameters
    ----------
    uri : str
        Of a Pluto; nobody else may use it meanwhile.
    channels : int
        How many it has.
    seconds : float
        For each rate.
    should_stop : callable
    most_hz : float
        Higher rates are left out.
    """
    before_hz = 0.0
    iio = libraries()[1]
    for rate_hz in RATES_HZ:
        if rate_hz > most_hz or should_stop():
            break
        for _ in range(TRIES):
            with PlutoRadio(uri, RadioSettings(rate_hz, rx_channels=channels)) as radio:
                before_hz = before_hz or radio.rate_before_hz
                with counting(iio, radio.device("loopback").context):
                    found = _measure(radio, seconds, should_stop)
            if found.holds:
                break
        yield found
        if not found.holds:
            break
    if before_hz:
        with PlutoRadio(uri, RadioSettings(before_hz, rx_channels=channels)):
            pass


def _measure(radio: PlutoRadio, seconds: float, should_stop: Callable[[], bool]) -> Sustained:
    rate_hz = radio.settings.sample_rate_hz
    part, wanted = round(rate_hz * 0.02), round(rate_hz * seconds)
    radio.receive(part)  # the loop is full from here on
    begin_s, got, broken = time.monotonic(), 0, 0
    while got < wanted and not should_stop():
        block = radio.receive(part)
        broken += breaks(block.samples) + len(block.events)
        got += part
    spent_s = time.monotonic() - begin_s
    return Sustained(rate_hz, spent_s, broken, got / spent_s)


def _attribute(context: Any, channel: str, output: bool, name: str) -> str:
    """As the device writes it, without brackets; empty if it has none."""
    found = context.find_device(PHY).find_channel(channel, output)
    try:
        return " ".join(found.attrs[name].value.strip("[] \n\0").split())
    except (AttributeError, KeyError, OSError):
        return ""


def highest_rate_hz(facts: Facts) -> float:
    """That the device takes, by its own range; an AD936x with two channels takes half."""
    text = facts.ranges.get("sample rate (S/s)", "").split()
    highest = float(text[-1]) if text else RATES_HZ[-1]
    return min(highest, RATES_HZ[-1] / facts.channels)


def require_pluto(uri: str) -> None:
    """Raise RadioError for any other radio."""
    if not uri.startswith("pluto:"):
        raise RadioError(f"{uri}: only a Pluto can be probed: write pluto:ip:ADDRESS; `semtb radio list` shows them")
