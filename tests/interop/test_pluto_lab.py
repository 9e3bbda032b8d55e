"""A lab's limits, held by the driver on a virtual Pluto that it takes for hardware: read from the device's state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from testbed.air.iiod.air import present
from testbed.air.iiod.server import IiodServer
from testbed.errors import RadioError
from testbed.radio.base import RadioSettings, Tuning
from testbed.radio.pluto_device import PlutoDevice
from testbed.radio.registry import open_radio
from tests.addresses import own_address

pytestmark = pytest.mark.needs("pluto", "libiio")

RATE = 1.92e6
LAB = "full_scale_dbm = 8\n[[bands]]\nlow_hz = 2.4e9\nhigh_hz = 2.4835e9\nmax_eirp_dbm = -12\n"


@pytest.fixture
def pluto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IiodServer]:
    """In a folder without a lab.toml; the driver does not know that it is virtual."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("SEMTB_LAB", raising=False)
    monkeypatch.setattr(PlutoDevice, "virtual", False)
    (server,) = present([own_address()])
    yield server
    server.close()


def never_on(pluto: IiodServer) -> list[bool]:
    """What every change of the transmitter's gain found: whether it was on the air then."""
    phy, seen = pluto.pluto.phy, []
    change = phy.write_tx_gain

    def watched(channel: int, text: str) -> None:
        change(channel, text)
        seen.append(not phy.tx_lo.off and phy.tx_gains_db[0] > -89)

    phy.write_tx_gain = watched  # type: ignore[method-assign]
    return seen


def test_without_a_lab_it_receives_and_does_not_transmit(pluto: IiodServer):
    seen, uri = never_on(pluto), f"pluto:ip:{pluto.pluto.address}"
    with pytest.raises(RadioError, match=r"it may only receive: no lab\.toml"):
        open_radio(f"{uri},lo_hz=2.45e9", RadioSettings(RATE, tx_channels=1, rx_channels=1))
    assert seen and not any(seen) and pluto.pluto.phy.tx_lo.off
    with open_radio(uri, RadioSettings(RATE, rx_channels=1)) as radio:
        assert radio.receive(100).samples.shape == (1, 100)


def test_what_is_mute_needs_no_lab_and_stays_mute(pluto: IiodServer):
    """Digital loopback brings back what is sent all the same."""
    seen = never_on(pluto)
    pluto.pluto.loopback = 1
    uri = f"pluto:ip:{pluto.pluto.address},mute=1"
    with open_radio(uri, RadioSettings(RATE, tx_channels=1, rx_channels=1)) as radio:
        radio.send(np.full((1, 19_200), 0.5, np.complex64))
        assert np.abs(radio.receive(40_000).samples).max() > 0.1
        assert pluto.pluto.phy.tx_lo.off
        radio.retune(Tuning(lo_hz=900e6, tx_gain_db=-5.0))
        assert pluto.pluto.phy.tx_lo.off
    assert seen and not any(seen)


def test_within_its_lab_it_transmits_and_a_retune_that_leaves_it_changes_nothing(pluto: IiodServer):
    Path("lab.toml").write_text(LAB)
    uri, phy = f"pluto:ip:{pluto.pluto.address}", pluto.pluto.phy
    with pytest.raises(RadioError, match=r"not transmitting: lab\.toml: tx_gain_db = -19 is -11 dBm EIRP"):
        open_radio(f"{uri},lo_hz=2.45e9,tx_gain_db=-19", RadioSettings(RATE, tx_channels=1))
    with pytest.raises(RadioError, match=r"not transmitting: lab\.toml: 2484\.04\.\.2485\.96 MHz lies in none"):
        offset = RadioSettings(RATE, tx_channels=1, tx_lo_offset_hz=35e6)
        open_radio(f"{uri},lo_hz=2.45e9,tx_gain_db=-20", offset)
    with open_radio(f"{uri},lo_hz=2.45e9,tx_gain_db=-20", RadioSettings(RATE, tx_channels=1)) as radio:
        for wrong in (Tuning(lo_hz=2.4e9), Tuning(lo_hz=2.6e9), Tuning(tx_gain_db=-10.0)):
            with pytest.raises(RadioError, match=r"not transmitting: lab\.toml: "):
                radio.retune(wrong)
            assert (phy.tx_lo.frequency_hz, phy.tx_lo.off, phy.tx_gains_db) == (2_450_000_000, False, [-20])
        radio.retune(Tuning(lo_hz=2.41e9, tx_gain_db=-30.0))
        assert (phy.tx_lo.frequency_hz, phy.tx_gains_db) == (2_410_000_000, [-30])
