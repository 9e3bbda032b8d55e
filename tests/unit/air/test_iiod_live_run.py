"""The air of a run in real pace, time moved by hand: every Pluto hears all others, there and back alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from testbed.air.commands import SetLink
from testbed.air.iiod.air import PlutoAir
from testbed.air.iiod.device import RX, TX, VirtualPluto
from testbed.air.iiod.live_device import SETTLING
from testbed.air.iiod.live_run import LivePlutoAir
from testbed.air.iiod.pace import Stepped
from testbed.air.iiod.protocol import Request
from testbed.air.medium import Medium
from testbed.config import Air, AirPort, Oscillator, RadioModel
from testbed.errors import ScenarioError
from testbed.phy.waveform import Waveform
from tests.addresses import own_address

RATE = 1_920_000
AIR = Air(
    snr_db=60.0,
    doppler_hz=0.0,
    user_delay_samples=[0.0] * 8,
    pace="realtime",
    radios=[RadioModel("edge-2", Oscillator(ppm=10.0))],
)
NAMES = ("edge-1", "edge-2", "server")


class Run:
    """Two edges and a server with two antennas."""

    def __init__(self) -> None:
        ports = [
            AirPort("edge-1", user=0, pluto=own_address()),
            AirPort("edge-2", user=1, pluto=own_address()),
            AirPort("server", pluto=own_address(), antennas=2),
        ]
        self.air = LivePlutoAir(Medium(Waveform(), AIR, [0, 1], 2, 5), ports, 5, Stepped())
        self.ether = self.air._ether
        self.plutos: dict[str, VirtualPluto] = dict(zip(NAMES, self.ether.plutos, strict=True))
        for pluto in self.plutos.values():
            pluto.phy.clock.rate_hz = RATE
            pluto.phy.tx_lo.frequency_hz = pluto.phy.rx_lo.frequency_hz = 2_400_000_000
            pluto.phy.modes, pluto.phy.rx_gains_db = ["manual"] * pluto.channels, [40] * pluto.channels
        self.now_s = 0.0

    def heard(self, sender: str, channel: int, receiver: str, count: int = 4000) -> np.ndarray:
        """[channels, count] of full scale, of half of full scale without an end on one transmit channel."""
        tx, rx = self.plutos[sender], self.plutos[receiver]
        sent = self.ether.open(tx, TX, Request("OPEN", number=16, mask=3 << 2 * channel, mask_digits=8, cyclic=True))
        self.ether.push(tx, sent, np.tile([2**13, 0], (16, 1)).astype("<i2").tobytes(), lambda: False)
        buffer = self.ether.open(rx, RX, Request("OPEN", number=count, mask=(1 << 2 * rx.channels) - 1, mask_digits=8))
        while not buffer.ready:
            self.now_s += 0.001
            self.ether.advance(self.now_s)
        codes = np.frombuffer(self.ether.pull(rx, buffer, count, lambda: False), "<i2").reshape(count, -1)
        self.ether.close(rx, buffer)
        self.ether.close(tx, sent)
        return (codes.astype(np.float64).view(np.complex128) / 2**11).T[:, 500:]


@pytest.fixture
def run() -> Iterator[Run]:
    made = Run()
    yield made
    made.air.close()


def test_the_channel_is_that_of_the_medium_and_the_same_on_the_way_back(run: Run):
    """Without Doppler a constant arrives as the medium's own response at 0 Hz, to 1 %, in both directions."""
    response = run.air.medium.response(np.array([0.0]), np.zeros(1))[0, 0]  # [antennas, users]
    for antenna in (0, 1):
        up = np.mean(run.heard("edge-1", 0, "server")[antenna])
        down = np.mean(run.heard("server", antenna, "edge-1")[0])
        assert abs(up) == pytest.approx(0.5 * abs(response[antenna, 0]), rel=0.01)
        assert abs(down) == pytest.approx(abs(up), rel=0.01)


def test_edges_hear_each_other_and_clocks_are_those_of_the_scenario(run: Run):
    """10 ppm of 2.4 GHz: 24 kHz up at the server and down at the edge that has it; the truth says so too."""
    for sender, receiver, offset_hz in (("edge-2", "edge-1", 24_000), ("server", "edge-2", -24_000)):
        heard = run.heard(sender, 0, receiver)[0]
        turned = np.angle(np.vdot(heard[:-1], heard[1:])) / (2 * np.pi) * RATE
        assert np.mean(np.abs(heard)) > 0.01  # noise has 0.0001
        assert turned == pytest.approx(offset_hz, abs=50)
    assert run.air.truth.user_cfo_hz == pytest.approx([0.0, 24_000.0], abs=0.01)
    assert run.air.truth.common_cfo_hz == 0.0


def test_what_was_lost_is_an_event_of_its_port(run: Run):
    pluto = run.plutos["server"]
    run.ether.open(pluto, RX, Request("OPEN", number=100, mask=15, mask_digits=8))
    run.ether.advance(0.01)
    lost = {name: count for name, count in run.air.events.items() if "server" in name}
    assert list(lost) == [f"server.rx{c}: samples lost, nobody took them in time" for c in (1, 2)]
    assert run.air.served == pytest.approx(RATE * 0.01, abs=2)
    assert set(lost.values()) == {run.air.served - 4 * 100 - SETTLING}


def test_two_nodes_cannot_share_a_pluto():
    address = own_address()
    ports = [AirPort("edge-1", user=0, pluto=address), AirPort("server", pluto=address, antennas=1)]
    with pytest.raises(ScenarioError, match="one of its own"):
        LivePlutoAir(Medium(Waveform(), AIR, [0], 1, 5), ports, 5, Stepped())


def test_a_link_that_is_ordered_to_change_is_another_from_that_sample_on(run: Run):
    """20 dB less in both directions, 1 ms into the run; no other link changes, and what is no link is refused."""
    run.now_s = 0.001
    run.ether.advance(run.now_s)
    before = np.mean(np.abs(run.heard("edge-1", 0, "server")[0]))
    at = round(run.now_s * RATE)
    change = run.air.set_link(SetLink("edge-1.server", "gain_db", -20.0))
    assert abs(change.at_sample - at) <= 1
    for sender, receiver in (("edge-1", "server"), ("server", "edge-1")):
        after = np.mean(np.abs(run.heard(sender, 0, receiver)[0]))
        assert after == pytest.approx(before / 10, rel=0.05)
    response = run.air.medium.response(np.array([0.0]), np.zeros(1))[0, 0]
    other = np.mean(np.abs(run.heard("edge-2", 0, "server")[0]))
    assert other == pytest.approx(0.5 * abs(response[0, 1]), rel=0.02)
    with pytest.raises(ScenarioError, match=r"no such link in this air; links: edge-1\.server, edge-2\.server"):
        run.air.set_link(SetLink("edge-1.edge-2", "gain_db", 0.0))


@pytest.mark.parametrize("pace", ["lockstep", "realtime"])
def test_an_order_is_taken_whatever_moves_the_samples(pace):
    """A thread that follows the wall clock, or clients that are waited for: it says the sample at once."""
    ports = [AirPort("edge-1", user=0, pluto=own_address()), AirPort("server", pluto=own_address())]
    medium = Medium(Waveform(), AIR, [0], 1, 5)
    before = np.abs(medium.response(np.array([1e9])))
    with PlutoAir(medium, ports) if pace == "lockstep" else LivePlutoAir(medium, ports, 5) as air:
        first = air.set_link(SetLink("edge-1.server", "gain_db", -10.0))
        second = air.set_link(SetLink("edge-1.server", "path_loss_db", 50.0))
        assert 0 <= first.at_sample <= second.at_sample
        assert (second.path_loss_db, second.gain_db) == (50.0, None)
    if pace == "lockstep":
        assert np.abs(medium.response(np.array([1e9]))) == pytest.approx(before / 10)
