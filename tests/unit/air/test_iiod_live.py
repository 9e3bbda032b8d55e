"""Virtual Plutos in real pace, with time moved by hand: blocks that stall, silence, flags and counts, to the sample."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.air.iiod.context import find_attribute
from testbed.air.iiod.device import RX, TX, VirtualPluto
from testbed.air.iiod.live import LiveEther
from testbed.air.iiod.live_device import SETTLING, LiveDevice
from testbed.air.iiod.pace import Stepped
from testbed.air.iiod.protocol import Request
from testbed.config import RadioModel

RATE = 1_920_000
BLOCK = 1000
MS = RATE // 1000


class Wires:
    """A world of ideal clocks in which each receiver hears the sum of all transmitters at once, 30 dB lower."""

    def __init__(self, devices: list[LiveDevice]) -> None:
        self.now_ns = 0
        self.tunings = {device.name: device.tuning for device in devices}

    def tune(self, name, tuning) -> None:
        self.tunings[name] = tuning

    def due(self, until_ns: int) -> dict[str, tuple[int, int]]:
        def count(rate_hz: int) -> int:
            return until_ns * rate_hz // 10**9 - self.now_ns * rate_hz // 10**9

        return {name: (count(t.tx_rate_hz), count(t.rx_rate_hz)) for name, t in self.tunings.items()}

    def time_of(self, name: str, rx_samples: int) -> int:
        rate_hz = self.tunings[name].rx_rate_hz
        return -(-(self.now_ns * rate_hz // 10**9 + rx_samples) * 10**9 // rate_hz)

    def advance(self, until_ns, transmitted, listening):
        due, self.now_ns = self.due(until_ns), until_ns
        heard = {name: np.zeros((1, due[name][1]), np.complex64) for name in listening}
        for y in heard.values():
            for x in transmitted.values():
                y += x * np.float32(10**-1.5)
        return heard


class Lab:
    """Two Plutos; the first transmits, both receive."""

    def __init__(self) -> None:
        self.sender, self.receiver = VirtualPluto("127.0.1.2"), VirtualPluto("127.0.1.3")
        devices = [
            LiveDevice(pluto, RadioModel(name), noise_mw=0.0, seed=1, number=i)
            for i, (pluto, name) in enumerate(((self.sender, "sender"), (self.receiver, "receiver")))
        ]
        for pluto in (self.sender, self.receiver):
            pluto.timeout_s = 10.0
            pluto.phy.clock.rate_hz = RATE
            pluto.phy.modes, pluto.phy.rx_gains_db = ["manual"], [40]
        self.world = Wires(devices)
        self.ether = LiveEther(devices, self.world, Stepped())
        self.now_s = 0.0

    def pass_samples(self, count: int) -> None:
        self.now_s += count / RATE
        assert self.ether.advance(self.now_s + 1e-9)

    def open(self, pluto: VirtualPluto, side: str, samples: int = BLOCK, cyclic: bool = False):
        return self.open_request(pluto, side, Request("OPEN", number=samples, mask=3, mask_digits=8, cyclic=cyclic))

    def open_request(self, pluto: VirtualPluto, side: str, request: Request):
        buffer = self.ether.open(pluto, side, request)
        if side == RX:  # in two steps: what filters spoil may be more than one step
            self.pass_samples(100)
            self.pass_samples(SETTLING - 100)
        return buffer

    def push(self, buffer, codes: np.ndarray) -> None:
        self.ether.push(self.sender, buffer, codes.astype("<i2").tobytes(), lambda: False)

    def pull(self, buffer, count: int = BLOCK) -> np.ndarray:
        return np.frombuffer(self.ether.pull(self.receiver, buffer, count, lambda: False), "<i2").reshape(-1, 2)

    def flag(self, pluto: VirtualPluto, side: str) -> int:
        where = Request("READ", side, "debug", attribute="direct_reg_access")
        find_attribute(pluto.tree, where).write("0x80000088")
        return int(find_attribute(pluto.tree, where).read(), 16)

    def gaps(self) -> str:
        return find_attribute(self.receiver.tree, Request("READ", RX, "debug", attribute="semtb,gaps")).read()

    def ports(self) -> dict[str, tuple[int, int]]:
        """(lost, late) of each."""
        return {p.port: (p.lost, p.late) for p in self.ether.status(0.0)}


@pytest.fixture
def lab() -> Lab:
    return Lab()


def ramp(begin: int, count: int) -> np.ndarray:
    """Codes that say where they belong: multiples of 16, as the DAC holds them, heard as themselves over 8."""
    n = np.arange(begin, begin + count)
    return np.stack([16 * (n % 1000), -16 * (n // 1000 % 1000)], axis=1)


@pytest.mark.parametrize("blocks", [4, 2, 7])
def test_an_idle_client_gets_as_many_old_blocks_as_there_are_and_then_a_gap(lab: Lab, blocks: int):
    """Each sample is told apart: blocks from the beginning, then what passed since the first was handed back."""
    lab.receiver.blocks[RX] = blocks
    rx = lab.open(lab.receiver, RX)
    lab.push(lab.open(lab.sender, TX, 100_000), ramp(0, 100_000))
    lab.pass_samples(20_000)
    assert lab.flag(lab.receiver, RX) & 4
    for block in range(blocks):
        assert np.array_equal(lab.pull(rx), ramp(block * BLOCK, BLOCK) // 8)
    # The first read handed back nothing, the second one block: so many are free, and the client keeps the last.
    lab.pass_samples(blocks * BLOCK)
    again = [lab.pull(rx) for _ in range(blocks - 1)]
    assert np.array_equal(np.concatenate(again), ramp(20_000, (blocks - 1) * BLOCK) // 8)
    _, first, second = lab.gaps().split()
    assert first == f"{blocks * BLOCK}:{20_000 - blocks * BLOCK}"
    assert second == f"{(2 * blocks - 1) * BLOCK}:{BLOCK}"
    assert lab.ports()["receiver.rx1"][0] == 20_000 - blocks * BLOCK + BLOCK


def test_old_blocks_hold_what_was_received_with_the_settings_of_their_time(lab: Lab):
    """A gain that is lowered by 20 dB while blocks wait: they keep their level, what is taken later is a tenth."""
    lab.push(lab.open(lab.sender, TX, 16, cyclic=True), np.full((16, 2), 8000))
    rx = lab.open(lab.receiver, RX)
    lab.pass_samples(4 * BLOCK)
    lab.receiver.phy.rx_gains_db = [20]
    lab.pass_samples(4 * BLOCK)
    levels = [np.unique(lab.pull(rx)).tolist() for _ in range(4)]
    lab.pass_samples(BLOCK)
    assert [*levels, np.unique(lab.pull(rx)).tolist()] == [[1000]] * 4 + [[100]]


def test_a_client_that_keeps_up_loses_nothing(lab: Lab):
    lab.sender.blocks[TX] = 16
    tx = lab.open(lab.sender, TX, 5 * MS)
    rx = lab.open(lab.receiver, RX)
    got = []
    for turn in range(10):
        lab.push(tx, ramp(turn * 5 * MS, 5 * MS))
    for _ in range(50):
        lab.pass_samples(MS // 2)
        lab.pass_samples(MS - MS // 2)
        while rx.ready:
            got.append(lab.pull(rx))
    got_all = np.concatenate(got)
    assert np.array_equal(got_all, ramp(0, len(got_all)) // 8)
    assert len(got_all) >= 50 * MS - BLOCK
    assert lab.flag(lab.receiver, RX) == 0
    assert lab.ports()["receiver.rx1"][0] == 0


def test_a_transmitter_that_starves_is_silent_and_is_taken_up_again(lab: Lab):
    """1500 samples, then nothing for 2500, then more: what arrives is these with zeros between; flag and count."""
    lab.receiver.blocks[RX] = 8
    rx = lab.open(lab.receiver, RX)
    tx = lab.open(lab.sender, TX, 1500)
    lab.pass_samples(500)
    assert lab.flag(lab.sender, TX) == 0  # open, and nothing sent yet: the DMA has not begun
    lab.push(tx, ramp(2000, 1500))
    lab.pass_samples(4000)
    assert lab.flag(lab.sender, TX) & 1
    lab.push(tx, ramp(7000, 1500))
    lab.pass_samples(1500)
    got = np.concatenate([lab.pull(rx) for _ in range(6)])
    zeros = np.zeros((2500, 2), dtype=int)
    expected = np.concatenate([zeros[:500], ramp(2000, 1500) // 8, zeros, ramp(7000, 1500) // 8])
    assert np.array_equal(got, expected[:6000])
    assert lab.ports()["sender.tx1"] == (0, 2500)


def test_a_queue_of_blocks_that_is_full_holds_the_client(lab: Lab):
    lab.sender.timeout_s = 0.05
    tx = lab.open(lab.sender, TX)
    for _ in range(4):
        lab.push(tx, ramp(0, BLOCK))
    assert not tx.has_room
    lab.pass_samples(BLOCK)
    lab.push(tx, ramp(0, BLOCK))
    assert not tx.has_room


def test_a_buffer_may_be_read_in_parts_and_by_columns(lab: Lab):
    rx = lab.open_request(lab.receiver, RX, Request("OPEN", number=BLOCK, mask=2, mask_digits=8))
    lab.push(lab.open(lab.sender, TX, 8 * BLOCK), ramp(0, 8 * BLOCK))
    lab.pass_samples(3 * BLOCK)
    parts = [lab.ether.pull(lab.receiver, rx, count, lambda: False) for count in (300, 900, 1200)]
    assert np.array_equal(np.frombuffer(b"".join(parts), "<i2"), ramp(0, 2400)[:, 1] // 8)


def test_digital_loopback_is_exact_in_real_pace(lab: Lab, rng):
    x = rng.integers(-32_768, 32_768, (3 * BLOCK, 2))
    lab.sender.loopback = 1
    rx = lab.open(lab.sender, RX)
    lab.push(lab.open(lab.sender, TX, 3 * BLOCK), x)
    lab.pass_samples(3 * BLOCK)
    got = [np.frombuffer(lab.ether.pull(lab.sender, rx, BLOCK, lambda: False), "<i2") for _ in range(3)]
    silence = np.zeros((SETTLING, 2), dtype=np.int16)
    assert np.array_equal(np.concatenate(got).reshape(-1, 2), np.concatenate([silence, x >> 4])[: 3 * BLOCK])


def test_a_silent_transmitter_is_silence_and_time_goes_on(lab: Lab):
    rx = lab.open(lab.receiver, RX)
    lab.open(lab.sender, TX)
    lab.pass_samples(BLOCK)
    assert not lab.pull(rx).any()


@pytest.mark.parametrize("change", ["powerdown", "port", "sleep"])
def test_what_does_not_leave_is_read_from_the_state(lab: Lab, change: str):
    def state() -> str:
        return find_attribute(lab.sender.tree, Request("READ", TX, "debug", attribute="semtb,transmitter")).read()

    lab.push(lab.open(lab.sender, TX, 16, cyclic=True), np.full((16, 2), 8000))
    assert state() == "on powerdown 0 gain_db -10.00 buffers 1 samples 16"
    phy = lab.sender.phy
    {"powerdown": lambda: phy.tx_lo.power_down("1"), "port": lambda: phy.write_port("tx", "B")}.get(
        change, lambda: phy.write_state("sleep")
    )()
    rx = lab.open(lab.receiver, RX)
    lab.pass_samples(BLOCK)
    assert not lab.pull(rx).any()
    assert state().startswith("off ")


def test_an_air_that_is_far_behind_lets_all_lose_what_passed(lab: Lab):
    """A second at once: behind the limit. All of it is counted as lost and none is heard; what follows is right."""
    rx = lab.open(lab.receiver, RX)
    tx = lab.open(lab.sender, TX, 2 * RATE)
    lab.push(tx, ramp(0, 2 * RATE))
    lab.pass_samples(RATE)
    lab.pass_samples(SETTLING + BLOCK)
    assert np.array_equal(lab.pull(rx), ramp(RATE + SETTLING, BLOCK) // 8)
    assert lab.gaps().split()[1] == f"0:{RATE + SETTLING}"
