"""`semtb radio selftest`: the suite of every radio on virtual Plutos, in both paces, and on one that is broken."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from testbed.air.iiod.air import present
from testbed.air.iiod.ether import Ether
from testbed.experiments.selftest import selftest
from testbed.radio.pluto_device import PlutoDevice
from tests.addresses import own_address

pytestmark = pytest.mark.needs("pluto", "libiio")


def tried(server, out: Path) -> tuple[dict, str]:
    """The report, and what was shown."""
    shown = io.StringIO()
    if hasattr(server.ether, "patience_s"):
        server.ether.patience_s = server.ether.hold_s = 0.05  # checks let clients idle on purpose
    selftest(f"pluto:ip:{server.pluto.address}", 0.0, out, lambda: False, Console(file=shown, width=200))
    return json.loads(out.read_text()), shown.getvalue()


@pytest.mark.parametrize("pace, channels", [("lockstep", 2), ("realtime", 1)])
def test_a_virtual_pluto_passes_and_is_left_as_it_was(tmp_path: Path, pace: str, channels: int):
    """Every check; afterwards it is mute, without loopback and buffers, at the rate at which it was found."""
    (server,) = present([own_address()], channels=channels, pace=pace)
    device = server.pluto
    device.phy.clock.set_rate(4_000_000)
    try:
        report, shown = tried(server, tmp_path / "report.json")
        assert (device.loopback, device.tx_buffers, device.rx_buffers) == (0, [], [])
        assert device.phy.clock.rate_hz == 4_000_000
        assert device.phy.tx_lo.off
    finally:
        server.close()
    outcomes = {check["name"]: check["outcome"] for check in report["checks"]}
    assert set(outcomes.values()) == {"passed"}, report["checks"]
    assert len(outcomes) == 12
    assert "What is sent arrives bit for bit, and then silence" in outcomes
    assert "A transmitter whose process is killed is mute" in outcomes
    assert report["facts"]["serial"] in shown and report["facts"]["channels"] == channels
    assert report["versions"]["pyadi-iio"] and report["machine"]


def test_a_broken_pluto_fails_and_one_without_a_lab_leaves_out_what_radiates(tmp_path: Path, monkeypatch):
    """Its loopback is one sample late every 8192: bits are wrong, all else is right; nothing may be transmitted."""
    receive = Ether._receive

    def broken(self, *arguments):
        codes = receive(self, *arguments)
        return np.concatenate([codes[-1:], codes[:-1]])

    monkeypatch.setattr(Ether, "_receive", broken)
    monkeypatch.setattr(PlutoDevice, "virtual", False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("SEMTB_LAB", raising=False)
    monkeypatch.chdir(tmp_path)
    (server,) = present([own_address()])
    try:
        report, _ = tried(server, tmp_path / "report.json")
    finally:
        server.close()
    outcomes = {check["name"]: check for check in report["checks"]}
    first = outcomes["What is sent arrives bit for bit, and then silence"]
    assert first["outcome"] == "failed" and "samples differ" in first["words"]
    last = outcomes["A transmitter whose process is killed is mute"]
    assert last["outcome"] == "left out" and "lab.toml" in last["words"]
