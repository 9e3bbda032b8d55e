"""Finding a Pluto and setting it up through pyadi-iio: rate, frequency, gain, buffers, mute. No samples move here."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from testbed.errors import RadioError, RadioNotFound
from testbed.radio.base import RadioIdentity, RadioSettings, Tuning
from testbed.radio.pluto_alone import Alone
from testbed.radio.pluto_buffers import RX_DEVICE, TX_DEVICE, open_buffer
from testbed.radio.pluto_libraries import libraries
from testbed.radio.pluto_losses import ClockedLosses, CountedLosses, Losses
from testbed.radio.pluto_mute import PHY, mute, tx_lo
from testbed.radio.pluto_rate import RATE_TOLERANCE, set_rate
from testbed.radio.pluto_status import ADC_OVERFLOW, DAC_UNDERFLOW, StatusBit
from testbed.radio.pluto_underflows import Underflows
from testbed.radio.pluto_uri import Choice, hears_otherwise
from testbed.radio.pluto_watch import silence

PACE_FACT, GAPS = "semtb,pace", "semtb,gaps"  # that virtual Plutos have
REAL_PACE = "realtime"  # of those whose time waits for nobody
STALL_S = 60.0  # for a device that is connected and does not go on, as `testbed.radio.sockets` has it
SET_UP_S = 5.0  # for one attribute: libiio's own limit
TX_STEP_DB = 0.25  # to which the device cuts an attenuation down
LO_STEP_HZ = 10.0

LOOK_S = 0.1

log = logging.getLogger(__name__)


def open_device(uri: str, choice: Choice, settings: RadioSettings) -> PlutoDevice:
    """Connect and set up; the transmitter is muted if it will be used.

    Raises
    ------
    MissingExtra, RadioNotFound, RadioError
        As `testbed.radio.pluto.PlutoRadio` has it.
    """
    adi, _ = libraries()
    return PlutoDevice(uri, choice, settings, adi, connect(choice, settings.timeout_s))


def waits(context: Any) -> bool:
    """Whether a device's time stands still for clients, always or for a while; that of hardware does not."""
    return context.attrs.get(PACE_FACT, "") not in ("", REAL_PACE)


def connect(choice: Choice, timeout_s: float) -> Any:
    """A context of libiio's of the Pluto at an address, once it is there.

    Raises
    ------
    MissingExtra, RadioNotFound
        As `open_device` has it.
    """
    _, iio = libraries()
    kind, _, host = choice.address.partition(":")
    deadline = time.monotonic() + choice.wait_s
    while reason := silence(host, timeout_s) if kind == "ip" else "":
        if time.monotonic() > deadline:
            break
        time.sleep(LOOK_S)
    if not reason:
        try:
            return iio.Context(choice.address)
        except OSError as error:
            reason = error.strerror or str(error)
    raise RadioNotFound(
        f"no Pluto at {choice.address} ({reason}). Is it plugged in? `semtb radio list` shows what answers; "
        "without hardware: `semtb air --pluto 127.0.0.2`, then pluto:ip:127.0.0.2."
    )


class PlutoDevice:
    """One connection to a Pluto, set up for what the settings ask."""

    def __init__(self, uri: str, choice: Choice, settings: RadioSettings, adi: Any, context: Any) -> None:
        self.uri = uri
        self.context = context
        self._iio = libraries()[1]
        self._choice = choice
        self._settings = settings
        self._channels = settings.tx_channels
        self.rate_before_hz = 0.0
        self.adjusted: dict[str, str] = {}  # what the device has otherwise than it was asked for, in words
        device = context.find_device(RX_DEVICE)
        if device is None or context.find_device(PHY) is None:
            raise RadioError(f"{uri}: what answers there is no Pluto (no {PHY} and {RX_DEVICE}): {context.description}")
        self.offered = len([channel for channel in device.channels if channel.scan_element]) // 2
        wanted = max(settings.tx_channels, settings.rx_channels)
        if wanted > self.offered:
            raise RadioError(
                f"{uri}: {wanted} channels wanted: this Pluto has {self.offered}. One with 2R2T has two (Rev. C or "
                "later, its environment set to the AD9361 and 2r2t); or choose server.antennas=1"
            )
        self.sdr = (adi.Pluto if self.offered == 1 else adi.ad9361)(context)
        context.set_timeout(int(SET_UP_S * 1e3))
        if wanted:  # else it is only looked at
            with Alone(choice.address):
                self._set_up(settings)
        context.set_timeout(int(STALL_S * 1e3))  # of buffers, from here on: `pluto_watch` sees to those that are gone

    def _set_up(self, settings: RadioSettings) -> None:
        sdr, choice = self.sdr, self._choice
        rate_hz = round(settings.sample_rate_hz)
        try:
            if settings.tx_channels:
                self.mute()
            self.rate_before_hz = float(sdr.sample_rate)
            set_rate(sdr, self.uri, rate_hz, choice.fir)
            if settings.tx_channels:
                sdr.tx_lo = round(choice.lo_hz + settings.tx_lo_offset_hz)
                sdr.tx_rf_bandwidth = rate_hz
                sdr.disable_dds()
            if settings.rx_channels:
                sdr.rx_lo = round(choice.lo_hz + settings.rx_lo_offset_hz)
                sdr.rx_rf_bandwidth = rate_hz
                for i in range(settings.rx_channels):
                    setattr(sdr, f"gain_control_mode_chan{i}", "manual")
                    setattr(sdr, f"rx_hardwaregain_chan{i}", choice.rx_gain_db)
        except (OSError, ValueError) as error:
            raise RadioError(
                f"{self.uri}: the Pluto refuses rate {rate_hz} S/s, LO {choice.lo_hz:g} Hz or gain "
                f"{choice.rx_gain_db:g} dB ({error}); `iio_attr -u {choice.address} -c {PHY}` shows its ranges"
            ) from None
        self._confirm("sample rate", sdr.sample_rate, rate_hz, rate_hz * RATE_TOLERANCE + 4)
        for i in range(settings.rx_channels):
            self._confirm(f"rx{i + 1} gain", getattr(sdr, f"rx_hardwaregain_chan{i}"), choice.rx_gain_db, 0.5)
        for side in ("tx", "rx"):
            if getattr(settings, f"{side}_channels"):
                wanted_hz = choice.lo_hz + getattr(settings, f"{side}_lo_offset_hz")
                self._confirm(f"{side} LO", getattr(sdr, f"{side}_lo"), wanted_hz, LO_STEP_HZ)
                self._confirm(f"{side} rf_bandwidth", getattr(sdr, f"{side}_rf_bandwidth"), rate_hz, math.inf)

    def _confirm(self, what: str, got: float, wanted: float, tolerance: float) -> None:
        """A write that is ignored, clamped or rounded says nothing on this device; reading back does."""
        words = f"{what}: wanted {wanted:.10g}, the Pluto has {got:.10g}"
        if not abs(got - wanted) <= tolerance:
            raise RadioError(f"{self.uri}: {words}")
        if got == wanted:
            self.adjusted.pop(what, None)
        elif self.adjusted.get(what) != words:
            self.adjusted[what] = words
            log.info("%s: %s", self.uri, words)

    def mute(self) -> bool:
        """No carrier; whether the device took it."""
        try:
            mute(self.context)
            return True
        except OSError as error:
            log.warning("%s: could not mute the transmitter: %s", self.uri, error)
            return False

    def unmute(self) -> None:
        """The carrier at the gain that was asked for, unless it is to stay mute."""
        if self._choice.mute:
            return
        try:
            tx_lo(self.context).attrs["powerdown"].value = "0"
            for i in range(self._channels):
                setattr(self.sdr, f"tx_hardwaregain_chan{i}", self._choice.tx_gain_db)
        except OSError as error:
            raise RadioError(
                f"{self.uri}: tx_gain_db = {self._choice.tx_gain_db:g}: refused ({error}): allowed: -89.75..0"
            ) from None
        for i in range(self._channels):
            got_db = getattr(self.sdr, f"tx_hardwaregain_chan{i}")
            self._confirm(f"tx{i + 1} gain", got_db, self._choice.tx_gain_db, TX_STEP_DB)

    @property
    def tuning(self) -> Tuning:
        """In force, as far as this radio uses it; as the device rounded it."""
        sdr, settings, choice = self.sdr, self._settings, self._choice
        tx, rx = settings.tx_channels > 0, settings.rx_channels > 0
        return Tuning(
            lo_hz=sdr.tx_lo - settings.tx_lo_offset_hz if tx else sdr.rx_lo - settings.rx_lo_offset_hz,
            tx_gain_db=choice.tx_gain_db if tx else None,
            rx_gain_db=float(sdr.rx_hardwaregain_chan0) if rx else None,
        )

    @property
    def identity(self) -> RadioIdentity:
        """As the device's context has it."""
        facts = self.context.attrs
        model, serial, firmware = (facts.get(key, "") for key in ("hw_model", "hw_serial", "fw_version"))
        return RadioIdentity("pluto", self._choice.address, model, serial, firmware)

    @property
    def temperature_c(self) -> float | None:
        """Of the transceiver; None if it does not say."""
        try:
            return float(self.context.find_device(PHY).find_channel("temp0", False).attrs["input"].value) / 1000
        except (AttributeError, KeyError, OSError, ValueError):
            return None

    @property
    def virtual(self) -> bool:
        """Whether nothing leaves it by radio: it says so, or lies at an address of this machine itself."""
        return bool(self.pace) or self._choice.address.startswith("ip:127.")

    @property
    def pace(self) -> str:
        """Of a virtual one, ``lock-step`` where time waits for its clients without limit; empty for hardware."""
        return self.context.attrs.get(PACE_FACT, "")

    @property
    def waits(self) -> bool:
        """Whether its time stands still for clients, always or for a while; that of hardware does not."""
        return waits(self.context)

    def retune(self, choice: Choice) -> None:
        """Another frequency or other gains; the transmitter is mute while its oscillator moves.

        Raises
        ------
        RadioError
            If the device does not take it; it is then as it was.
        """
        before, self._choice = self._choice, choice
        try:
            self._tune(before)
        except RadioError:
            self._choice = before
            self._tune(choice)
            raise

    def _tune(self, before: Choice) -> None:
        """Set what is not as before: the other direction goes on undisturbed."""
        sdr, choice, settings = self.sdr, self._choice, self._settings
        moved = choice.lo_hz != before.lo_hz
        try:
            if settings.tx_channels and moved:
                self.mute()
                sdr.tx_lo = round(choice.lo_hz + settings.tx_lo_offset_hz)
                self._confirm("tx LO", sdr.tx_lo, choice.lo_hz + settings.tx_lo_offset_hz, LO_STEP_HZ)
            if settings.tx_channels and (moved or choice.tx_gain_db != before.tx_gain_db):
                self.unmute()
            if settings.rx_channels and moved:
                sdr.rx_lo = round(choice.lo_hz + settings.rx_lo_offset_hz)
                self._confirm("rx LO", sdr.rx_lo, choice.lo_hz + settings.rx_lo_offset_hz, LO_STEP_HZ)
            for i in range(settings.rx_channels if hears_otherwise(choice, before) else 0):
                setattr(sdr, f"rx_hardwaregain_chan{i}", choice.rx_gain_db)
                self._confirm(f"rx{i + 1} gain", getattr(sdr, f"rx_hardwaregain_chan{i}"), choice.rx_gain_db, 0.5)
        except (OSError, ValueError) as error:
            raise RadioError(
                f"{self.uri}: the Pluto refuses LO {choice.lo_hz:g} Hz, tx gain {choice.tx_gain_db:g} dB or rx gain "
                f"{choice.rx_gain_db:g} dB ({error}); `iio_attr -u {choice.address} -c {PHY}` shows its ranges"
            ) from None

    def losses(self) -> Losses:
        """What counts the samples that the receive buffer loses which was opened last."""
        if not self.pace:
            bit = StatusBit(self.context.find_device(RX_DEVICE), ADC_OVERFLOW, self.uri)
            return ClockedLosses(float(self.sdr.sample_rate), bit)
        device = self.context.find_device(RX_DEVICE)

        def lists() -> dict[int, list[str]]:
            """Of each buffer that is open on the device, by its number."""
            words = [one.split() for one in device.debug_attrs[GAPS].value.split(",")]
            return {int(number): pairs for number, *pairs in words if number.isdigit()}

        own = max(lists(), default=0)

        def gaps() -> list[tuple[int, int]]:
            pairs = [pair.partition(":") for pair in lists().get(own, [])]
            return [(int(delivered), int(lost)) for delivered, _, lost in pairs]

        return CountedLosses(gaps)

    def underflows(self, queued_samples: int) -> Underflows | None:
        """What counts the samples that an open transmit buffer lacks; None where time waits for its clients.

        Parameters
        ----------
        queued_samples : int
            That wait in the device when its queue is full.
        """
        if self.waits:
            return None
        bit = StatusBit(self.context.find_device(TX_DEVICE), DAC_UNDERFLOW, self.uri)
        return Underflows(float(self.sdr.sample_rate), queued_samples, bit)

    def open_buffer(self, name: str, channels: int, samples: int, blocks: int) -> Any:
        """See `testbed.radio.pluto_buffers.open_buffer`."""
        return open_buffer(self._iio, self.context, self.uri, name, channels, samples, blocks)
