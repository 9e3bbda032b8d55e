"""`semtb radio probe`, `tone` and `spectrum` on virtual Plutos, and what they leave behind: nothing."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from testbed.air.iiod.air import present
from testbed.air.iiod.server import IiodServer
from testbed.errors import RadioError
from testbed.experiments.radios import power_spectrum, probe, spectrum, tone
from testbed.radio.base import RadioSettings
from tests.addresses import own_address
from tests.waiting import wait_until

pytestmark = pytest.mark.needs("pluto", "libiio")

SEMTB = [sys.executable, "-m", "testbed.cli.main", "radio"]
RATE = 1.92e6


def never() -> bool:
    return False


@pytest.fixture(params=[1, 2])
def pluto(request) -> Iterator[IiodServer]:
    """One that hears itself, 1R1T and 2R2T."""
    (server,) = present([own_address()], channels=request.param)
    yield server
    server.close()


@pytest.fixture
def single() -> Iterator[IiodServer]:
    (server,) = present([own_address()])
    yield server
    server.close()


def mute(server: IiodServer) -> bool:
    phy = server.pluto.phy
    return phy.tx_lo.off and max(phy.tx_gains_db) < -89


def test_a_probe_tells_what_the_device_is_and_leaves_it_as_it_was(pluto: IiodServer, tmp_path: Path):
    """Model, ranges and temperature as the device has them; rate, filter and loopback as before; mute all the time."""
    device, shown = pluto.pluto, io.StringIO()
    device.phy.clock.set_rate(5_000_000)
    device.phy.temperature_c = 41.5
    file = tmp_path / "probe.json"
    probe(f"pluto:ip:{device.address}", 0.1, file, never, Console(file=shown, width=100))
    assert (device.phy.clock.rate_hz, device.loopback, mute(pluto)) == (5_000_000, 0, True)
    assert not device.tx_buffers and not device.rx_buffers
    told = json.loads(file.read_text())
    facts = told["facts"]
    assert (facts["channels"], facts["temperature_c"], facts["virtual"]) == (device.channels, 41.5, True)
    low_hz, high_hz = device.phy.rx_lo.low_hz, device.phy.rx_lo.high_hz
    assert facts["ranges"]["receive LO (Hz)"] == f"{low_hz} 1 {high_hz}"
    assert facts["ranges"]["transmit gain (dB)"].split()[0] == "-89.750000"
    assert facts["serial"] in shown.getvalue() and f"{device.channels}R{device.channels}T" in shown.getvalue()
    assert [(one["rate_hz"], one["breaks"]) for one in told["rates"]] == [(RATE, 0)]
    assert "time waits" in shown.getvalue()


def test_in_real_pace_the_sustained_rate_is_one_that_was_tried(tmp_path: Path):
    """Rates rise until samples are lost; which that is depends on the machine."""
    (server,) = present([own_address()], pace="realtime")
    file = tmp_path / "probe.json"
    try:
        probe(f"pluto:ip:{server.pluto.address}", 0.1, file, never, Console(file=io.StringIO()))
        assert server.pluto.loopback == 0 and mute(server)
    finally:
        server.close()
    rates = json.loads(file.read_text())["rates"]
    assert rates[0]["rate_hz"] == RATE
    assert [one["rate_hz"] for one in rates] == sorted(one["rate_hz"] for one in rates)
    assert all(one["breaks"] == 0 for one in rates[:-1])


def test_a_tone_of_full_scale_reads_0_dbfs():
    """In the middle of a bin; -20 dB of it are -20 dBFS, on the other side of the carrier."""
    n = np.arange(1 << 15)
    x = np.stack([np.exp(2j * np.pi * 100 / 1024 * n), 0.1 * np.exp(-2j * np.pi * 200 / 1024 * n)]).astype(np.complex64)
    frequency_hz, level_db = power_spectrum(x, RATE)
    assert level_db.max(axis=1) == pytest.approx([0.0, -20.0], abs=1e-3)
    assert frequency_hz[level_db.argmax(axis=1)] == pytest.approx([RATE * 100 / 1024, -RATE * 200 / 1024])


def test_what_tone_sends_spectrum_shows(tmp_path: Path):
    """From one Pluto to another over a cable: the strongest bin is the tone's, and figures are files of their kind."""
    sender, receiver = present([own_address(), own_address()])
    command = [*SEMTB, "tone", f"pluto:ip:{sender.pluto.address}", "--offset-hz", "300e3", "--gain", "-10"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        wait_until(lambda: not mute(sender) and bool(sender.pluto.tx_buffers), 50)
        uri, settings = f"pluto:ip:{receiver.pluto.address}", RadioSettings(RATE, rx_channels=1, lo_hz=2.45e9)
        for name in ("band.svg", "band.png"):
            shown = io.StringIO()
            spectrum(uri, settings, 0.05, tmp_path / name, never, Console(file=shown, width=100))
            words = shown.getvalue().split("strongest ")[1].split()
            assert float(words[3]) == pytest.approx(300e3, abs=RATE / 1024)
            assert "2450" in shown.getvalue() and "█" in shown.getvalue()
        assert (tmp_path / "band.svg").read_text().lstrip().startswith("<?xml")
        assert Image.open(tmp_path / "band.png").size[0] > 400
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
        assert process.returncode == 0 and "ended and mute" in said
        assert mute(sender) and not sender.pluto.tx_buffers
    finally:
        process.kill()
        for server in (sender, receiver):
            server.close()


def test_a_tone_that_is_killed_leaves_no_carrier(single: IiodServer):
    process = subprocess.Popen([*SEMTB, "tone", f"pluto:ip:{single.pluto.address}"], stdout=-1, stderr=-1)
    try:
        wait_until(lambda: not mute(single) and bool(single.pluto.tx_buffers), 50)
    finally:
        process.kill()
        process.communicate()
    wait_until(lambda: mute(single), 20)


def test_a_tone_outside_of_the_band_is_refused_before_anything_is_sent(single: IiodServer):
    settings = RadioSettings(RATE, tx_channels=1)
    with pytest.raises(RadioError, match=r"--offset-hz 1e\+06: allowed: -960000\.\.960000, half the sample rate"):
        tone(f"pluto:ip:{single.pluto.address}", settings, 1e6, -6.0, 1.0, never, print)
    with pytest.raises(RadioError, match=r"band\.pdf: allowed: a name that ends in \.svg or \.png"):
        spectrum(f"pluto:ip:{single.pluto.address}", settings, 0.1, Path("band.pdf"), never, Console())
