"""The state of an AD936x: oscillators, gains, bandwidths and what may be written to them. It sees no samples."""

from __future__ import annotations

import errno
import re
from decimal import Decimal, InvalidOperation

from testbed.air.iiod.clock import Clock
from testbed.air.iiod.context import Attribute, Attributes, Channel, fixed
from testbed.air.iiod.protocol import Refused

XO_HZ = 40_000_000  # of the crystal; `xo_correction` is what the driver takes it for
XO_RANGE_HZ = 8_000
MODES = ("manual", "fast_attack", "slow_attack", "hybrid")
RX_GAINS_DB = ((1.3e9, -1, 73), (4.0e9, -3, 71), (float("inf"), -10, 62))  # below this LO: lowest, highest
MIN_TX_GAIN_DB = Decimal("-89.75")
TX_STEP_DB = Decimal("0.25")
MIN_BANDWIDTH_HZ = 200_000
MAX_BANDWIDTH_HZ = {"rx": 56_000_000, "tx": 40_000_000}
AD9363A_BANDWIDTH_HZ = 20_000_000
LO_RANGES_HZ = {  # (rx, tx)
    "ad9363a": ((325_000_000, 3_800_000_000), (325_000_000, 3_800_000_000)),
    "ad9361": ((70_000_000, 6_000_000_000), (46_875_001, 6_000_000_000)),
}


def integer(text: str) -> int:
    """What the kernel's kstrtoull takes: decimal digits, nothing else."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise Refused(errno.EINVAL)
    return int(text)


def decimal(text: str) -> Decimal:
    """What the kernel's fixed-point parser takes, with an optional dB behind."""
    if not re.fullmatch(r"[+-]?[0-9]{1,12}(\.[0-9]{0,12})?( ?dB)?", text):
        raise Refused(errno.EINVAL)
    try:
        return Decimal(text.removesuffix("dB").strip())
    except InvalidOperation:  # a dot that nothing follows
        raise Refused(errno.EINVAL) from None


def switch(text: str) -> bool:
    """What the kernel's strtobool takes."""
    if text[:1] in ("1", "y", "Y") or text.lower() == "on":
        return True
    if text[:1] in ("0", "n", "N") or text.lower() == "off":
        return False
    raise Refused(errno.EINVAL)


class Oscillator:
    """One of the two local oscillators."""

    def __init__(self, low_hz: int, high_hz: int, frequency_hz: int) -> None:
        self.low_hz, self.high_hz = low_hz, high_hz
        self.frequency_hz = frequency_hz
        self.off = False

    def tune(self, text: str) -> None:
        """Stored as frequency >> 1 by the driver: an odd hertz is lost."""
        frequency_hz = integer(text)
        if not self.low_hz <= frequency_hz <= self.high_hz:
            raise Refused(errno.EINVAL)
        self.frequency_hz = frequency_hz >> 1 << 1

    def power_down(self, text: str) -> None:
        """It survives a change of frequency."""
        self.off = switch(text)

    def attributes(self) -> Attributes:
        """Of its channel."""
        return {
            "frequency": Attribute(lambda: str(self.frequency_hz), self.tune),
            "frequency_available": fixed(f"[{self.low_hz} 1 {self.high_hz}]"),
            "powerdown": Attribute(lambda: str(int(self.off)), self.power_down),
            "external": fixed("0"),
        }


class Phy:
    """``ad9361-phy``: what a client set, and what that means for samples (``rx_gain_db`` and so on)."""

    def __init__(self, model: str, channels: int) -> None:
        self.model = model
        self.channels = channels
        self.clock = Clock(channels)
        (rx_low, rx_high), (tx_low, tx_high) = LO_RANGES_HZ[model]
        self.rx_lo = Oscillator(rx_low, rx_high, 2_400_000_000)
        self.tx_lo = Oscillator(tx_low, tx_high, 2_450_000_000)
        self.xo_hz = XO_HZ
        self.bandwidth_hz = {"rx": 18_000_000, "tx": 18_000_000}
        self.modes = ["slow_attack"] * channels
        self.rx_gains_db = [71] * channels
        self.tx_gains_db = [Decimal(-10)] * channels
        self.rssi_db = [115.0] * channels

    def rx_range_db(self) -> tuple[int, int]:
        """The receiver's gains at its present frequency."""
        return next((low, high) for below, low, high in RX_GAINS_DB if self.rx_lo.frequency_hz < below)

    def rx_gain_db(self, channel: int) -> int:
        """In force; a gain that the present band does not have is held to its ends."""
        low, high = self.rx_range_db()
        return min(max(self.rx_gains_db[channel], low), high)

    def true_lo_hz(self, oscillator: Oscillator) -> float:
        """The driver divides by what it takes the crystal for; the crystal is ``XO_HZ``."""
        return oscillator.frequency_hz * XO_HZ / self.xo_hz

    def write_rx_gain(self, channel: int, text: str) -> None:
        """Integer dB. While AGC is on a write is ignored and succeeds, as on the device."""
        gain_db = int(decimal(text))
        if self.modes[channel] != "manual":
            return
        low, high = self.rx_range_db()
        if not low <= gain_db <= high:
            raise Refused(errno.EINVAL)
        self.rx_gains_db[channel] = gain_db

    def write_tx_gain(self, channel: int, text: str) -> None:
        """Steps of 0.25 dB."""
        gain_db = decimal(text)
        if not MIN_TX_GAIN_DB <= gain_db <= 0:
            raise Refused(errno.EINVAL)
        self.tx_gains_db[channel] = (gain_db / TX_STEP_DB).to_integral_value() * TX_STEP_DB

    def write_mode(self, channel: int, text: str) -> None:
        if text not in MODES:
            raise Refused(errno.EINVAL)
        self.modes[channel] = text

    def write_bandwidth(self, side: str, text: str) -> None:
        """Clamped, as the driver does."""
        highest = AD9363A_BANDWIDTH_HZ if self.model == "ad9363a" else MAX_BANDWIDTH_HZ[side]
        self.bandwidth_hz[side] = min(max(int(decimal(text)), MIN_BANDWIDTH_HZ), highest)

    def write_xo(self, text: str) -> None:
        value = integer(text)
        if abs(value - XO_HZ) > XO_RANGE_HZ:
            raise Refused(errno.EINVAL)
        self.xo_hz = value

    def tree(self) -> list[Channel]:
        """Its channels, in the order of the device's own XML: outputs of both LOs, then voltages."""
        channels = [
            Channel("altvoltage1", True, self.tx_lo.attributes(), "TX_LO"),
            Channel("altvoltage0", True, self.rx_lo.attributes(), "RX_LO"),
        ]
        for i in range(self.channels):
            channels.append(Channel(f"voltage{i}", False, self.rx_attributes(i)))
            channels.append(Channel(f"voltage{i}", True, self.tx_attributes(i)))
        aux = {"raw": fixed("306"), "scale": fixed("1.000000")}
        channels += [
            Channel("voltage2", False, {"raw": fixed("975"), "offset": fixed("57"), "scale": fixed("0.305250")}),
            Channel("voltage2", True, aux),
            Channel("voltage3", True, aux),
            Channel("temp0", False, {"input": fixed("36842")}),
            Channel("out", False, {"voltage_filter_fir_en": self.fir_switch()}),
        ]
        return channels

    def fir_switch(self) -> Attribute:
        """``voltage_filter_fir_en``, which both directions share."""
        return Attribute(lambda: str(int(self.clock.enabled)), lambda text: self.clock.enable(switch(text)))

    def shared(self, side: str) -> dict[str, Attribute]:
        """Of every voltage channel of one direction."""
        clock = self.clock
        return {
            "filter_fir_en": self.fir_switch(),
            "rf_bandwidth": Attribute(
                lambda: str(self.bandwidth_hz[side]), lambda text: self.write_bandwidth(side, text)
            ),
            "rf_bandwidth_available": fixed(f"[{MIN_BANDWIDTH_HZ} 1 {MAX_BANDWIDTH_HZ[side]}]"),
            "sampling_frequency": Attribute(
                lambda: str(clock.rate_hz), lambda text: clock.set_rate(int(decimal(text)))
            ),
            "sampling_frequency_available": Attribute(lambda: f"[{clock.min_rate_hz} 1 {clock.max_rate_hz}]"),
        }

    def rx_attributes(self, i: int) -> Attributes:
        """Of ``voltageI`` input."""
        return self.shared("rx") | {
            "gain_control_mode": Attribute(lambda: self.modes[i], lambda text: self.write_mode(i, text)),
            "gain_control_mode_available": fixed(" ".join(MODES)),
            "hardwaregain": Attribute(
                lambda: f"{self.rx_gain_db(i)}.000000 dB", lambda text: self.write_rx_gain(i, text)
            ),
            "hardwaregain_available": Attribute(lambda: "[{} 1 {}]".format(*self.rx_range_db())),
            "rssi": Attribute(lambda: f"{max(self.rssi_db[i], 0.0):.2f} dB"),
            "rf_port_select": fixed("A_BALANCED"),
            "rf_port_select_available": fixed("A_BALANCED"),
            "bb_dc_offset_tracking_en": fixed("1"),
            "rf_dc_offset_tracking_en": fixed("1"),
            "quadrature_tracking_en": fixed("1"),
        }

    def tx_attributes(self, i: int) -> Attributes:
        """Of ``voltageI`` output."""
        return self.shared("tx") | {
            "hardwaregain": Attribute(
                lambda: f"{self.tx_gains_db[i]:.6f} dB", lambda text: self.write_tx_gain(i, text)
            ),
            "hardwaregain_available": fixed("[-89.750000 0.250000 0.000000]"),
            "rf_port_select": fixed("A"),
            "rf_port_select_available": fixed("A"),
            "rssi": fixed("0.00 dB"),
        }

    def attributes(self) -> Attributes:
        """Of the device itself."""
        return {
            "filter_fir_config": Attribute(lambda: str(self.clock.fir or "FIR Rx: 0,0 Tx: 0,0"), self.clock.load),
            "rx_path_rates": Attribute(lambda: self.clock.path_rates(False)),
            "tx_path_rates": Attribute(lambda: self.clock.path_rates(True)),
            "xo_correction": Attribute(lambda: str(self.xo_hz), self.write_xo),
            "xo_correction_available": fixed(f"[{XO_HZ - XO_RANGE_HZ} 1 {XO_HZ + XO_RANGE_HZ}]"),
            "ensm_mode": fixed("fdd"),
            "ensm_mode_available": fixed("sleep wait alert fdd pinctrl pinctrl_fdd_indep"),
            "calib_mode": fixed("auto"),
            "calib_mode_available": fixed("auto manual manual_tx_quad tx_quad rf_dc_offs rssi_gain_step"),
            "trx_rate_governor": fixed("nominal"),
            "trx_rate_governor_available": fixed("nominal highest_osr"),
        }
