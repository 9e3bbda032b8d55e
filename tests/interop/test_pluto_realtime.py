"""The driver on virtual Plutos whose time waits for nobody: stale blocks, lost samples, silence for late ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import numpy as np
import pytest

from testbed.air.iiod.air import present
from testbed.air.iiod.buffers import DmaBuffer
from testbed.air.iiod.device import DAC_UNDERFLOW, TX
from testbed.air.iiod.server import IiodServer
from testbed.radio import pluto_receiver
from testbed.radio.base import RadioSettings, Tuning
from testbed.radio.pluto_device import PlutoDevice
from testbed.radio.registry import open_radio
from tests.addresses import own_address

pytestmark = pytest.mark.needs("pluto", "libiio")

RATE = 1.92e6
BLOCK = 9600
RX, TX_ONLY = (RadioSettings(RATE, **{f"{side}_channels": 1}, timeout_s=20.0) for side in ("rx", "tx"))


@pytest.fixture
def pluto() -> Iterator[IiodServer]:
    """One that hears itself over a cable."""
    (server,) = present([own_address()], pace="realtime")
    yield server
    server.close()


def with_tone(server: IiodServer, lo_hz: int) -> None:
    """Its tone generators send one at ``lo_hz``, half of full scale."""
    pluto = server.pluto
    pluto.phy.tx_lo.frequency_hz = lo_hz
    for index, phase in ((0, 90_000), (2, 0)):
        tone = pluto.dds.tones[index]
        tone.scale, tone.step, tone.phase_mdeg = 0.5, 0, phase


def frequencies_hz(x: np.ndarray, window: int = 480) -> np.ndarray:
    """The mean frequency in each window of 0.25 ms; those that a busy machine lost, which are zeros, left out."""
    steps = (x[1:] * x[:-1].conj())[: (len(x) - 1) // window * window].reshape(-1, window)
    return np.angle(steps[steps.all(axis=1)].sum(axis=1)) / (2 * np.pi) * RATE


@pytest.mark.parametrize("shared", [False, True])
def test_after_a_retune_no_sample_of_the_old_frequency_arrives(pluto, monkeypatch, shared: bool):
    """A carrier that is 100 kHz above the receiver, then 200 kHz below, then above again: every 0.25 ms of the first
    100 ms. Also where every block of the device was filled before the retune, as happens where others have the
    receiver open, too; at rest the queue of this process is full of old samples."""
    with_tone(pluto, 2_400_000_000)
    if shared:
        fresh = DmaBuffer.__init__
        now = {"offset_hz": 0.0}

        def filled(self, *arguments) -> None:
            fresh(self, *arguments)
            phase = 2 * np.pi * now["offset_hz"] / RATE * np.arange(self.block_samples)
            old = np.stack([np.cos(phase), np.sin(phase)], axis=1) * 500
            for _ in range(self.blocks):
                self.push(old.astype(np.int16))

        monkeypatch.setattr(DmaBuffer, "__init__", filled)
    uri = f"pluto:ip:{pluto.pluto.address},rx_gain_db=20"
    with open_radio(f"{uri},lo_hz=2399.9e6", RX) as radio:
        radio.receive(BLOCK)
        for lo_hz, offset_hz, old_hz in ((2400.2e6, -200e3, 100e3), (2399.9e6, 100e3, -200e3)):
            if shared:
                now["offset_hz"] = old_hz
            radio.retune(Tuning(lo_hz=lo_hz))
            block = radio.receive(20 * BLOCK)
            assert [event.kind for event in block.events][:1] == ["retuned"]
            heard = frequencies_hz(block.samples[0])
            while len(heard) < 300:
                heard = np.concatenate([heard, frequencies_hz(radio.receive(20 * BLOCK).samples[0])])
            assert np.abs(heard - offset_hz).max() < 5e3
            time.sleep(0.3)  # blocks of this frequency fill whatever there is to fill


def test_a_sender_that_is_late_is_told_where_and_how_long(pluto):
    """Nothing comes for 0.3 s of which the queue covers 80 ms: silence went out before that block. On a machine that is
    too busy the emulator itself may be late meanwhile, which is no underflow: then once more."""
    with open_radio(f"pluto:ip:{pluto.pluto.address}", TX_ONLY) as radio:
        attempts, events = 0, ()
        while not events and attempts < 8:
            attempts += 1
            radio.send(np.full((1, 40 * BLOCK), 0.25, np.complex64))
            radio.sent_events()
            time.sleep(0.3)
            radio.send(np.full((1, 20 * BLOCK), 0.25, np.complex64))
            events = radio.sent_events()
        assert (events[0].kind, events[0].sample) == ("underflow", (60 * attempts - 20) * BLOCK)
        assert 0.1 * RATE < events[0].count < 3 * RATE
        assert radio.sent_events() == ()


def test_a_status_bit_that_is_always_set_is_no_underflow(pluto, caplog):
    """As on some firmware: it is said once, and what really was late is found all the same."""

    class Stuck(dict):
        def __getitem__(self, key):
            return super().__getitem__(key) | (DAC_UNDERFLOW if key == TX else 0)

    pluto.pluto.status = Stuck(pluto.pluto.status)
    with (
        caplog.at_level(logging.WARNING),
        open_radio(f"pluto:ip:{pluto.pluto.address}", TX_ONLY) as radio,
    ):
        for _ in range(10):
            radio.send(np.full((1, 10 * BLOCK), 0.25, np.complex64))
        found = radio.sent_events()
        assert all(event.count > 1 for event in found)  # none by the bit alone
        time.sleep(0.3)
        radio.send(np.zeros((1, BLOCK), np.complex64))
        assert [event.sample for event in radio.sent_events()] == [100 * BLOCK]
    assert [r.getMessage().count("is set whatever happens") for r in caplog.records].count(1) == 1


def test_hardware_that_loses_samples_is_seen_by_its_bit_and_the_clock(pluto, monkeypatch):
    """The device's own list is not asked: it is taken for hardware. Nobody takes samples for a second."""
    monkeypatch.setattr(PlutoDevice, "pace", "")
    monkeypatch.setattr(pluto_receiver, "AHEAD_S", 0.05)
    events = []
    with open_radio(f"pluto:ip:{pluto.pluto.address}", RX) as radio:
        for _ in range(100):
            events += radio.receive(BLOCK).events
        assert sum(event.count for event in events) < 0.2 * RATE  # of a machine that is busy, perhaps
        time.sleep(1.0)
        later = []
        for _ in range(60):
            later += radio.receive(BLOCK).events
        assert pluto.pluto.rx_buffers[0].gaps
    assert later and all(event.kind == "overflow" for event in later)
    assert all("clock" in event.detail for event in later)
    assert sum(event.count for event in later) > 0.4 * RATE
