"""The state of an AD936x: oscillators, gains, bandwidths, modes, and what may be written. Attributes: `phy_tree`."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal, InvalidOperation

from testbed.air.iiod.clock import Clock
from testbed.air.iiod.context import Attribute, Attributes, fixed
from testbed.air.iiod.protocol import Refused

XO_HZ = 40_000_000  # of the crystal; `xo_correction` is what the driver takes it for
XO_RANGE_HZ = 8_000
MODES = ("manual", "fast_attack", "slow_attack", "hybrid")
RX_GAINS_DB = ((1.3e9, -1, 73), (4.0e9, -3, 71), (float("inf"), -10, 62))  # below this LO: lowest, highest
MIN_TX_GAIN_DB = Decimal("-89.75")
TX_STEP_DB = Decimal("0.25")
RX_PORTS = (
    *("A_BALANCED", "B_BALANCED", "C_BALANCED", "A_N", "A_P", "B_N", "B_P", "C_N", "C_P"),
    *("TX_MONITOR1", "TX_MONITOR2", "TX_MONITOR1_2"),
)
TX_PORTS = ("A", "B")
# The state machine after a write, as REG_STATE reads; with pinctrl the pins decide, and here nothing moves them.
STATES = {"sleep": "sleep", "wait": "sleep", "alert": "alert", "fdd": "fdd", "pinctrl_fdd_indep": "fdd"}
CALIBRATIONS = ("auto", "manual", "manual_tx_quad", "tx_quad", "rf_dc_offs", "rssi_gain_step")
CALIBRATION_HOLDS_HZ = 100_000_000  # ad9361.c: cal_threshold_freq
TRACKING = ("bb_dc_offset_tracking_en", "rf_dc_offset_tracking_en", "quadrature_tracking_en")
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
        self.rx_port, self.tx_port = RX_PORTS[0], TX_PORTS[0]  # one choice for both channels
        self.state = "fdd"
        self.asleep = False  # the driver refuses all but ensm_mode then
        self.calibration = "auto"
        self.temperature_c = 36.842
        self._calibrated_hz: float | None = None  # LO of the last quadrature calibration of the transmitter
        self.tracking = dict.fromkeys(TRACKING, True)
        self.measure: Callable[[], None] = lambda: None  # brings RSSI and AGC up to date; set by the ether

    @property
    def transmits(self) -> bool:
        """Whether the DAC's samples leave: the oscillator on, the state machine in FDD, the port one with a plug."""
        return self.state == "fdd" and not self.tx_lo.off and self.tx_port == TX_PORTS[0]

    @property
    def tx_calibrated(self) -> bool:
        """Whether a client has had the transmitter's quadrature calibrated, within 100 MHz of where it is now."""
        calibrated_hz = self._calibrated_hz
        return calibrated_hz is not None and abs(self.tx_lo.frequency_hz - calibrated_hz) <= CALIBRATION_HOLDS_HZ

    @property
    def receives(self) -> bool:
        """Whether what arrives reaches the ADC."""
        return self.state == "fdd" and not self.rx_lo.off and self.rx_port == RX_PORTS[0]

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
        """Steps of 0.25 dB; an attenuation between two of them becomes the lower, as the driver's integers have it."""
        gain_db = decimal(text)
        if not MIN_TX_GAIN_DB <= gain_db <= 0:
            raise Refused(errno.EINVAL)
        self.tx_gains_db[channel] = (gain_db / TX_STEP_DB).to_integral_value(
            ROUND_DOWN
        ) * TX_STEP_DB + 0  # no minus before a zero

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

    def enable_fir(self, text: str, tx: bool = False, rx: bool = False) -> None:
        """The filter of one direction or of both; one that names a rate and bandwidths brings them along."""
        on = switch(text)
        designed = self.clock.enable(on if tx else None, on if rx else None)
        if designed is not None:
            for side, hertz in (("tx", designed.tx_bandwidth_hz), ("rx", designed.rx_bandwidth_hz)):
                if hertz:
                    self.write_bandwidth(side, str(hertz))

    def write_port(self, side: str, text: str) -> None:
        if text not in (RX_PORTS if side == "rx" else TX_PORTS):
            raise Refused(errno.EINVAL)
        if side == "rx":
            self.rx_port = text
        else:
            self.tx_port = text

    def read_tracking(self, name: str) -> str:
        return str(int(self.tracking[name]))

    def write_tracking(self, name: str, text: str) -> None:
        self.tracking[name] = switch(text)

    def write_state(self, text: str) -> None:
        """``ensm_mode``. A word that the driver does not know changes nothing and succeeds, as there."""
        self.asleep = text == "sleep"
        self.state = STATES.get(text, self.state)

    def write_calibration(self, text: str) -> None:
        """``calib_mode``: a mode stays, a calibration runs and succeeds; unknown words as in `write_state`."""
        if text == "tx_quad":
            self._calibrated_hz = self.tx_lo.frequency_hz
        word, _, argument = text.partition(" ")
        if word in ("auto", "manual"):
            self.calibration = word
        elif word == "manual_tx_quad":
            self.calibration = f"{word} {integer(argument)}" if argument else word
