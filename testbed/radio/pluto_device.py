"""Finding a Pluto and setting it up through pyadi-iio: rate, frequency, gain, buffers, mute. No samples move here."""

from __future__ import annotations

import errno
import logging
import time
from typing import Any

from testbed.errors import RadioError, RadioNotFound
from testbed.radio.base import RadioIdentity, RadioSettings, Tuning
from testbed.radio.pluto_alone import Alone
from testbed.radio.pluto_libraries import libraries
from testbed.radio.pluto_losses import ClockedLosses, CountedLosses, Losses
from testbed.radio.pluto_mute import PHY, mute, tx_lo
from testbed.radio.pluto_uri import Choice
from testbed.radio.pluto_watch import silence

PACE_FACT, GAPS = "semtb,pace", "semtb,gaps"  # that virtual Plutos have
TX_DEVICE, RX_DEVICE = "cf-ad9361-dds-core-lpc", "cf-ad9361-lpc"
STALL_S = 60.0  # for a device that is connected and does not go on, as `testbed.radio.sockets` has it
SET_UP_S = 5.0  # for one attribute: libiio's own limit
TX_STEP_DB = 0.25  # to which the device cuts an attenuation down
LO_STEP_HZ = 10.0
RATE_TOLERANCE = 1e-6  # the device rounds to what its dividers give
STATUS_REGISTER, ADC_OVERFLOW = 0x80000088, 1 << 2

LOOK_S = 0.1
BUSY_TRIES_S = 2.0  # an OPEN may overtake the CLOSE before it: libiio, iiod/ops.c
BUSY_PAUSE_S = 0.02

log = logging.getLogger(__name__)


def open_device(uri: str, choice: Choice, settings: RadioSettings) -> PlutoDevice:
    """Connect and set up; the transmitter is muted if it will be used.

    Raises
    ------
    MissingExtra, RadioNotFound, RadioError
        As `testbed.radio.pluto.PlutoRadio` has it.
    """
    adi, iio = libraries()
    kind, _, host = choice.address.partition(":")
    deadline = time.monotonic() + choice.wait_s
    while reason := silence(host, settings.timeout_s) if kind == "ip" else "":
        if time.monotonic() > deadline:
            break
        time.sleep(LOOK_S)
    if not reason:
        try:
            return PlutoDevice(uri, choice, settings, adi, iio.Context(choice.address))
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
        self._watches_status = True
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
        with Alone(choice.address):
            self._set_up(settings)
        context.set_timeout(int(STALL_S * 1e3))  # of buffers, from here on: `pluto_watch` sees to those that are gone

    def _set_up(self, settings: RadioSettings) -> None:
        sdr, choice = self.sdr, self._choice
        rate_hz = round(settings.sample_rate_hz)
        try:
            if settings.tx_channels:
                self.mute()
            if abs(sdr.sample_rate - rate_hz) > rate_hz * RATE_TOLERANCE:
                sdr.sample_rate = rate_hz  # loads a FIR too, which rates below 2.083 MS/s need
            if settings.tx_channels:
                sdr.tx_lo = round(choice.lo_hz)
                sdr.tx_rf_bandwidth = rate_hz
                sdr.disable_dds()
            if settings.rx_channels:
                sdr.rx_lo = round(choice.lo_hz)
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
            self._confirm("rx gain", getattr(sdr, f"rx_hardwaregain_chan{i}"), choice.rx_gain_db, 0.5)
        for side in ("tx", "rx"):
            if getattr(settings, f"{side}_channels"):
                self._confirm(f"{side} LO", getattr(sdr, f"{side}_lo"), choice.lo_hz, LO_STEP_HZ)

    def _confirm(self, what: str, got: float, wanted: float, tolerance: float) -> None:
        """A write that is ignored says nothing on this device; reading back does."""
        if abs(got - wanted) > tolerance:
            raise RadioError(f"{self.uri}: {what}: wanted {wanted:.10g}, the Pluto has {got:.10g}")

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
            self._confirm("tx gain", getattr(self.sdr, f"tx_hardwaregain_chan{i}"), self._choice.tx_gain_db, TX_STEP_DB)

    @property
    def tuning(self) -> Tuning:
        """In force, as far as this radio uses it; as the device rounded it."""
        sdr, settings, choice = self.sdr, self._settings, self._choice
        tx, rx = settings.tx_channels > 0, settings.rx_channels > 0
        return Tuning(
            lo_hz=float(sdr.tx_lo if tx else sdr.rx_lo),
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
    def virtual(self) -> bool:
        """Whether nothing leaves it by radio: it says so, or lies at an address of this machine itself."""
        return bool(self.pace) or self._choice.address.startswith("ip:127.")

    @property
    def pace(self) -> str:
        """Of a virtual one, ``lock-step`` where time waits for its clients without limit; empty for hardware."""
        return self.context.attrs.get(PACE_FACT, "")

    def retune(self, choice: Choice) -> None:
        """Another frequency or other gains; the transmitter is mute while its oscillator moves.

        Raises
        ------
        RadioError
            If the device does not take it; it is then as it was.
        """
        before, self._choice = self._choice, choice
        try:
            self._tune()
        except RadioError:
            self._choice = before
            self._tune()
            raise

    def _tune(self) -> None:
        sdr, choice, settings = self.sdr, self._choice, self._settings
        try:
            if settings.tx_channels:
                self.mute()
                sdr.tx_lo = round(choice.lo_hz)
                self.unmute()
                self._confirm("tx LO", sdr.tx_lo, choice.lo_hz, LO_STEP_HZ)
            if settings.rx_channels:
                sdr.rx_lo = round(choice.lo_hz)
                self._confirm("rx LO", sdr.rx_lo, choice.lo_hz, LO_STEP_HZ)
            for i in range(settings.rx_channels):
                setattr(sdr, f"rx_hardwaregain_chan{i}", choice.rx_gain_db)
                self._confirm("rx gain", getattr(sdr, f"rx_hardwaregain_chan{i}"), choice.rx_gain_db, 0.5)
        except (OSError, ValueError) as error:
            raise RadioError(
                f"{self.uri}: the Pluto refuses LO {choice.lo_hz:g} Hz, tx gain {choice.tx_gain_db:g} dB or rx gain "
                f"{choice.rx_gain_db:g} dB ({error}); `iio_attr -u {choice.address} -c {PHY}` shows its ranges"
            ) from None

    def losses(self) -> Losses:
        """What counts the samples that the receive buffer loses which was opened last."""
        if not self.pace:
            return ClockedLosses(float(self.sdr.sample_rate), self.overflowed)
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

    def _make_buffer(self, device: Any, samples: int) -> Any:
        """A buffer, tried again for a while where the device is busy: its last client may have closed a moment ago."""
        end = time.monotonic() + BUSY_TRIES_S
        while True:
            try:
                return self._iio.Buffer(device, samples, False)
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > end:
                    raise
            time.sleep(BUSY_PAUSE_S)

    def open_buffer(self, name: str, channels: int, samples: int, kernel_buffers: int) -> Any:
        """A libiio buffer of the first ``channels`` complex channels.

        Raises
        ------
        RadioError
            If another program has it.
        """
        device = self.context.find_device(name)
        try:
            device.set_kernel_buffers_count(kernel_buffers)
            for channel in device.channels:
                if channel.scan_element:
                    channel.enabled = int(channel.id.removeprefix("voltage")) < 2 * channels
            return self._make_buffer(device, samples)
        except OSError as error:
            raise RadioError(
                f"{self.uri}: its {'transmitter' if name == TX_DEVICE else 'receiver'} cannot be opened "
                f"({error.strerror or error}): does another program use it?"
            ) from None

    def overflowed(self) -> bool:
        """Whether samples were lost since the last call, as the FPGA's status bit says; it is cleared."""
        if not self._watches_status:
            return False
        try:
            device = self.context.find_device(RX_DEVICE)
            lost = bool(device.reg_read(STATUS_REGISTER) & ADC_OVERFLOW)
            if lost:
                device.reg_write(STATUS_REGISTER, ADC_OVERFLOW)
            return lost
        except OSError:
            self._watches_status = False
            log.warning("%s: no access to its status register: lost samples go unseen", self.uri)
            return False
