"""Several virtual Plutos as `semtb air --pluto` presents them: who hears whom, through what, and with whose noise."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from testbed.air.iiod.air import present
from testbed.air.iiod.device import RX, TX, VirtualPluto
from testbed.air.iiod.protocol import Request
from testbed.air.iiod.server import IiodServer
from testbed.config import Air
from tests.addresses import own_address

RATE = 1_920_000
COUNT = 20_000
SETTLED = 64  # samples of a filter's start


def here() -> bool:
    return False


class Plutos:
    """Some that `present` serves, driven without sockets: constant levels on their transmitters."""

    def __init__(self, servers: list[IiodServer], rate_hz: int) -> None:
        self.ether = servers[0].ether
        self.ether.patience_s = float("inf")
        self.all: list[VirtualPluto] = [server.pluto for server in servers]
        for pluto in self.all:
            pluto.timeout_s = 30.0
            pluto.phy.clock.rate_hz = rate_hz
            pluto.phy.tx_lo.frequency_hz = pluto.phy.rx_lo.frequency_hz = 2_400_000_000
            pluto.phy.modes, pluto.phy.rx_gains_db = ["manual"] * pluto.channels, [40] * pluto.channels

    def send(self, number: int, levels: list[complex]) -> None:
        """A constant of so much of full scale on each channel, for ever."""
        pluto = self.all[number]
        mask = (1 << 2 * pluto.channels) - 1
        request = Request("OPEN", number=16, mask=mask, mask_digits=8, cyclic=True)
        row = np.array(levels, dtype=np.complex128).view(np.float64) * 2**14
        buffer = self.ether.open(pluto, TX, request)
        self.ether.push(pluto, buffer, np.tile(row, (16, 1)).astype("<i2").tobytes(), here)

    def receive(self, number: int, count: int = COUNT, together: bool = False) -> np.ndarray:
        """[channel, count] of full scale; ``together`` with the others: once all have a buffer open."""
        pluto = self.all[number]
        mask = (1 << 2 * pluto.channels) - 1
        buffer = self.ether.open(pluto, RX, Request("OPEN", number=count, mask=mask, mask_digits=8))
        if together:
            while sum(len(p.rx_buffers) for p in self.all) < len(self.all):
                time.sleep(0.01)
        codes = np.frombuffer(self.ether.pull(pluto, buffer, count, here), "<i2").reshape(count, -1)
        self.ether.close(pluto, buffer)
        return (codes.astype(np.float64).view(np.complex128) / 2**11).T

    def receive_at_once(self) -> np.ndarray:
        """[Plutos * channels, COUNT], all over the same time."""
        with ThreadPoolExecutor(len(self.all)) as pool:
            return np.concatenate(
                list(pool.map(lambda number: self.receive(number, together=True), range(len(self.all))))
            )


@pytest.fixture
def plutos() -> Iterator:
    made: list[IiodServer] = []

    def make(number: int, channels: int = 1, rate_hz: int = RATE, air: Air | None = None) -> Plutos:
        made.extend(present([own_address() for _ in range(number)], channels, air=air))
        return Plutos(made, rate_hz)

    yield make
    for server in made:
        server.close()


def test_each_hears_all_others_and_not_itself(plutos):
    """Three with a level of their own each: the mean of what arrives is the sum of the two others, to 1e-3."""
    three = plutos(3)
    levels = [0.125, 0.25j, -0.0625 + 0.0625j]
    for number, level in enumerate(levels):
        three.send(number, [level])
    for number in range(3):
        heard = three.receive(number)[0, SETTLED:]
        assert np.mean(heard) == pytest.approx(sum(levels) - levels[number], abs=1e-3)


def test_one_alone_hears_itself(plutos):
    one = plutos(1)
    one.send(0, [0.25])
    assert np.mean(one.receive(0)[0, SETTLED:]) == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize("number", [1, 2])
def test_without_a_scenario_each_channel_has_a_cable_of_its_own(plutos, number: int):
    """2R2T: the first transmitter arrives at the first receiver at its full level, and nothing of it at the second."""
    some = plutos(number, channels=2)
    some.send(0, [0.25, 0.0])
    first, second = some.receive(number - 1)[:, SETTLED:]
    assert np.mean(first) == pytest.approx(0.25, abs=1e-3)
    assert abs(np.mean(second)) < 1e-3
    some.ether.close(some.all[0], some.all[0].tx_buffers[0])
    some.send(0, [0.0, 0.25j])
    first, second = some.receive(number - 1)[:, 2 * SETTLED :]
    assert abs(np.mean(first)) < 1e-3
    assert np.mean(second) == pytest.approx(0.25j, abs=1e-3)


@pytest.mark.parametrize("air", [None, Air(snr_db=0.0, channel="AWGN", common_cfo_hz=0.0)])
def test_every_receiver_has_noise_of_its_own(plutos, air: Air | None):
    """Two Plutos with two channels each, all silent: each pair of the four is uncorrelated, |r| < 5 / sqrt(n)."""
    two = plutos(2, channels=2, air=air)
    for pluto in two.all:
        pluto.phy.rx_gains_db = [71, 71]
    noise = two.receive_at_once()
    assert noise.std() > 2**-9  # well above a step of the converter
    r = np.abs(np.corrcoef(noise))
    assert r[~np.eye(4, dtype=bool)].max() < 5 / np.sqrt(COUNT)


@pytest.mark.parametrize("rate_hz", [RATE, 2 * RATE])
def test_offsets_of_an_air_are_in_hertz_at_every_rate(plutos, rate_hz: int):
    """10 kHz turn a constant by 2 pi 10 kHz / rate a sample, at the scenario's rate and at twice that; to 20 Hz."""
    two = plutos(2, rate_hz=rate_hz, air=Air(snr_db=30.0, channel="AWGN", common_cfo_hz=10_000.0, user_cfo_hz=[0.0]))
    two.send(0, [0.25])
    heard = two.receive(1)[0, 200:]
    assert np.angle(np.vdot(heard[:-1], heard[1:])) / (2 * np.pi) * rate_hz == pytest.approx(10_000, abs=20)
