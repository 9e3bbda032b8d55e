"""The attributes of ``ad9361-phy``: names, formats and file names as the Linux driver has them; what they do: `phy`."""

from __future__ import annotations

import errno
from dataclasses import replace
from functools import partial

from testbed.air.iiod.clock import GOVERNORS
from testbed.air.iiod.context import Attribute, Attributes, Channel, fixed, shared
from testbed.air.iiod.phy import (
    AD9363A_BANDWIDTH_HZ,
    CALIBRATIONS,
    MAX_BANDWIDTH_HZ,
    MIN_BANDWIDTH_HZ,
    MODES,
    RX_PORTS,
    TRACKING,
    TX_PORTS,
    XO_HZ,
    XO_RANGE_HZ,
    Phy,
    decimal,
)
from testbed.air.iiod.protocol import Refused

LEAST_RSSI_DB = 127.75  # of nine bits in steps of 0.25 dB
NO_FIR = "FIR Rx: 0,0 Tx: 0,0"


def channels(phy: Phy) -> list[Channel]:
    """Those of the device, in the order of its own XML: outputs of both LOs, then voltages."""
    tree = [
        Channel("altvoltage1", True, phy.tx_lo.attributes(), "TX_LO"),
        Channel("altvoltage0", True, phy.rx_lo.attributes(), "RX_LO"),
    ]
    for i in range(phy.channels):
        tree.append(Channel(f"voltage{i}", False, _rx(phy, i)))
        tree.append(Channel(f"voltage{i}", True, _tx(phy, i)))
    aux_in = {"raw": fixed("975"), "offset": fixed("57"), "scale": fixed("0.305250")}
    aux_out = {"raw": fixed("306"), "scale": fixed("1.000000")}
    tree += [
        Channel("voltage2", False, _rx_shared(phy) | aux_in),
        Channel("voltage2", True, _tx_shared(phy) | aux_out),
        Channel("voltage3", True, _tx_shared(phy) | aux_out),
        Channel("temp0", False, {"input": Attribute(lambda: str(round(phy.temperature_c * 1000)))}),
        Channel("out", False, {"voltage_filter_fir_en": _fir_switch(phy, tx=True, rx=True)}),
    ]
    return [replace(channel, attributes=_awake(phy, channel.attributes)) for channel in tree]


def attributes(phy: Phy) -> Attributes:
    """Those of the device itself."""
    clock = phy.clock
    asleep = {"ensm_mode": Attribute(lambda: phy.state, phy.write_state)}
    return asleep | _awake(
        phy,
        {
            "filter_fir_config": Attribute(lambda: str(clock.fir or NO_FIR), clock.load),
            "rx_path_rates": Attribute(lambda: clock.path_rates(False)),
            "tx_path_rates": Attribute(lambda: clock.path_rates(True)),
            "xo_correction": Attribute(lambda: str(phy.xo_hz), phy.write_xo),
            "xo_correction_available": fixed(f"[{XO_HZ - XO_RANGE_HZ} 1 {XO_HZ + XO_RANGE_HZ}]"),
            "ensm_mode_available": fixed("sleep wait alert fdd pinctrl pinctrl_fdd_indep"),
            "calib_mode": Attribute(lambda: phy.calibration, phy.write_calibration),
            "calib_mode_available": fixed(" ".join(CALIBRATIONS)),
            "trx_rate_governor": Attribute(lambda: clock.governor, clock.govern),
            "trx_rate_governor_available": fixed(" ".join(GOVERNORS)),
        },
    )


def _awake(phy: Phy, table: Attributes) -> dict[str, Attribute]:
    """The same attributes; what is written to a device that sleeps is refused."""

    def guarded(attribute: Attribute, text: str) -> None:
        if phy.asleep or attribute.write is None:
            raise Refused(errno.EINVAL)
        attribute.write(text)

    return {
        name: replace(attribute, write=partial(guarded, attribute)) if attribute.write else attribute
        for name, attribute in table.items()
    }


def _fir_switch(phy: Phy, tx: bool, rx: bool) -> Attribute:
    """``filter_fir_en`` of one direction, or of both together."""
    clock = phy.clock
    return Attribute(
        lambda: str(int((clock.tx_enabled or not tx) and (clock.rx_enabled or not rx))),
        lambda text: phy.enable_fir(text, tx, rx),
    )


def _both(phy: Phy, side: str) -> dict[str, Attribute]:
    """What the voltage channels of either direction share."""
    clock = phy.clock
    highest_hz = AD9363A_BANDWIDTH_HZ if phy.model == "ad9363a" else MAX_BANDWIDTH_HZ[side]
    return {
        "filter_fir_en": _fir_switch(phy, side == "tx", side == "rx"),
        "rf_bandwidth": Attribute(lambda: str(phy.bandwidth_hz[side]), lambda text: phy.write_bandwidth(side, text)),
        "rf_bandwidth_available": fixed(f"[{MIN_BANDWIDTH_HZ} 1 {highest_hz}]"),
        "sampling_frequency": Attribute(lambda: str(clock.rate_hz), lambda text: clock.set_rate(int(decimal(text)))),
        "sampling_frequency_available": Attribute(lambda: f"[{clock.min_rate_hz} 1 {clock.max_rate_hz}]"),
    }


def _rx_shared(phy: Phy) -> dict[str, Attribute]:
    """Of all inputs together, the auxiliary converter among them."""
    tracking = {
        name: Attribute(partial(phy.read_tracking, name), partial(phy.write_tracking, name)) for name in TRACKING
    }
    lists = {
        "gain_control_mode_available": fixed(" ".join(MODES)),
        "rf_port_select_available": fixed(" ".join(RX_PORTS)),
    }
    return shared(_both(phy, "rx") | tracking | lists)


def _tx_shared(phy: Phy) -> dict[str, Attribute]:
    """Of all outputs together."""
    return shared(_both(phy, "tx") | {"rf_port_select_available": fixed(" ".join(TX_PORTS))})


def _rx(phy: Phy, i: int) -> Attributes:
    """Of ``voltageI`` input. Level and AGC are measured when they are read, whether anybody takes samples or not."""

    def gain() -> str:
        if phy.modes[i] != "manual":
            phy.measure()
        return f"{phy.rx_gain_db(i)}.000000 dB"

    def rssi() -> str:
        phy.measure()
        return f"{min(max(phy.rssi_db[i], 0.0), LEAST_RSSI_DB):.2f} dB"

    return _rx_shared(phy) | {
        "gain_control_mode": Attribute(lambda: phy.modes[i], lambda text: phy.write_mode(i, text)),
        "hardwaregain": Attribute(gain, lambda text: phy.write_rx_gain(i, text)),
        "hardwaregain_available": Attribute(lambda: "[{} 1 {}]".format(*phy.rx_range_db())),
        "rssi": Attribute(rssi),
        "rf_port_select": Attribute(lambda: phy.rx_port, lambda text: phy.write_port("rx", text)),
    }


def _tx(phy: Phy, i: int) -> Attributes:
    """Of ``voltageI`` output."""
    return _tx_shared(phy) | {
        "hardwaregain": Attribute(lambda: f"{phy.tx_gains_db[i]:.6f} dB", lambda text: phy.write_tx_gain(i, text)),
        "hardwaregain_available": fixed("[-89.750000 0.250000 0.000000]"),
        "rf_port_select": Attribute(lambda: phy.tx_port, lambda text: phy.write_port("tx", text)),
        "rssi": fixed("0.00 dB"),
    }
