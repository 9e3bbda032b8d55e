"""Real pace, by a clock that the tests move: what is due is mixed, and nobody is waited for."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import zmq

from testbed.air.receiver_ports import HOLD_S
from testbed.errors import PeerLost
from testbed.radio.base import RadioSettings
from testbed.radio.zmq import ZmqRadio
from tests.unit.air.zmq_bench import RATE, Bench, benches, fetch, gaussian, serve, until

BLOCK = 9600
BLOCK_S = BLOCK / RATE


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Timed:
    """A bench in real pace, and its clock."""

    def __init__(self, make, **settings) -> None:
        self.clock = Clock()
        self.bench: Bench = make(clock=self.clock, block=BLOCK, **settings)
        self.blocks = 0

    def pass_blocks(self, count: int) -> None:
        """Let time pass block by block; the air has mixed each before the next."""
        until(lambda: self.bench.server._clock.running)
        for _ in range(count):
            self.blocks += 1
            self.clock.now_s = 1000.0 + (self.blocks + 1e-3) * BLOCK_S
            until(lambda: self.bench.server.served >= self.blocks * BLOCK)
        assert self.bench.server.served == self.blocks * BLOCK

    def held(self) -> int:
        return self.bench.server._transmitters[0].queue.held

    def port(self, number: int):
        return self.bench.server.status(0.0)[number]


@pytest.fixture
def timed() -> Iterator:
    with benches() as make:
        yield lambda **settings: Timed(make, **settings)


def test_time_passes_as_the_clock_says_and_a_silent_transmitter_is_silence(timed, rng):
    """Nobody but a reader, three blocks of time: noise of the medium, bit for bit; no block before it is due."""
    t = timed(external=True)
    b = t.bench
    b.start()
    receiver = b.peer(zmq.REQ, b.rx[0])
    receiver.send(struct.pack("<I", 3 * BLOCK))
    until(lambda: b.server._antennas[0].attached)
    t.pass_blocks(3)
    got = [np.frombuffer(receiver.recv(), np.complex64)]
    while sum(map(len, got)) < 3 * BLOCK:
        got.append(fetch(receiver, struct.pack("<I", 3 * BLOCK)))
    assert np.array_equal(np.concatenate(got), b.medium().mix(np.zeros((1, 3 * BLOCK)), 0)[0])
    assert t.port(0).late == t.port(1).lost == 0


def test_who_takes_part_in_a_run_is_waited_for_before_the_clock_runs(timed, rng):
    """Its samples then arrive from sample 0 on, however late it began."""
    t = timed()
    b = t.bench
    one, receiver = b.peer(zmq.REP, b.tx[0]), b.peer(zmq.REQ, b.rx[0])
    b.start()
    x = gaussian(rng, 2 * BLOCK)
    receiver.send(struct.pack("<I", 2 * BLOCK))
    t.clock.now_s += 5.0
    until(lambda: b.server._antennas[0].attached)
    time.sleep(0.2)  # many turns of the air
    assert not b.server._clock.running
    assert b.server.served == 0
    t.clock.now_s = 1000.0
    serve(one, [[x.tobytes()]])
    until(lambda: b.server._clock.running)
    t.pass_blocks(2)
    got = np.concatenate([np.frombuffer(receiver.recv(), np.complex64), fetch(receiver, struct.pack("<I", BLOCK))])
    assert np.array_equal(got, b.medium().mix(x[None], 0)[0])


@pytest.mark.parametrize("pattern", ["req-rep", "push-pull", "pub-sub"])
def test_what_comes_too_late_leaves_silence_in_its_place_and_follows_it(timed, rng, pattern):
    """Half a block too little when it is due: half a block of silence, counted; then the rest."""
    t = timed(patterns=(pattern, "req-rep"))
    b = t.bench
    kind = {"req-rep": zmq.REP, "push-pull": zmq.PUSH, "pub-sub": zmq.XPUB}[pattern]
    one, receiver = b.peer(kind, b.tx[0]), b.peer(zmq.REQ, b.rx[0])
    b.start()
    x = gaussian(rng, 2 * BLOCK)

    def send(samples: np.ndarray) -> None:
        before = t.held()
        if pattern == "req-rep":
            one.recv()
        one.send(samples.tobytes())
        until(lambda: t.held() == before + len(samples))

    if pattern == "pub-sub":
        assert one.recv() == b"\1"
    receiver.send(struct.pack("<I", 10**6))
    send(x[: BLOCK // 2])
    until(lambda: b.server._clock.running)
    t.pass_blocks(1)
    got = [np.frombuffer(receiver.recv(), np.complex64)]
    send(x[BLOCK // 2 :])
    t.pass_blocks(2)
    while sum(map(len, got)) < 3 * BLOCK:
        got.append(fetch(receiver, struct.pack("<I", 10**6)))
    sent = np.concatenate([x[: BLOCK // 2], np.zeros(BLOCK // 2), x[BLOCK // 2 :], np.zeros(BLOCK // 2)])
    assert np.array_equal(np.concatenate(got), b.medium().mix(sent[None], 0)[0])
    assert t.port(0).late == BLOCK


def test_a_late_reader_loses_samples_and_is_told_how_many(timed):
    """Our own radio, away for 70 blocks, of which the air holds 50: then 20 blocks of zeros, with one event."""
    t = timed(external=True)
    b = t.bench
    b.start()
    held = round(HOLD_S * RATE / BLOCK)
    settings = RadioSettings(RATE, rx_channels=1)
    with ZmqRadio(f"zmq:rx_port={b.rx[0]},pace=realtime", settings) as radio:
        assert not radio.paced
        blocks = []
        first = threading.Thread(target=lambda: blocks.append(radio.receive(BLOCK)), daemon=True)
        first.start()
        until(lambda: b.server._antennas[0].attached)
        t.pass_blocks(1)
        first.join(5)
        t.pass_blocks(held + 20)
        blocks.append(radio.receive((held + 20) * BLOCK))
    total = (1 + held + 20) * BLOCK
    noise = b.medium().mix(np.zeros((1, total)), 0)
    lost_from = (1 + held) * BLOCK
    noise[:, lost_from:] = 0
    assert np.array_equal(np.concatenate([block.samples for block in blocks], axis=1), noise)
    (event,) = [event for block in blocks for event in block.events]
    assert (event.kind, event.sample, event.count) == ("overflow", lost_from, 20 * BLOCK)
    assert t.port(1).lost == 20 * BLOCK
    (said,) = b.server.events.items()
    assert said == (f"receiver server at {b.rx[0]}: samples lost, because they were taken too late", 20 * BLOCK)


@pytest.mark.parametrize("pattern", ["push-pull", "pub-sub"])
def test_who_listens_too_slowly_loses_samples_that_are_counted(timed, pattern):
    """Nothing is read for 2 s of samples: what was sent and what was lost are all there was."""
    t = timed(patterns=("req-rep", pattern), external=True)
    b = t.bench
    receiver = b.peer({"push-pull": zmq.PULL, "pub-sub": zmq.SUB}[pattern], b.rx[0])
    if pattern == "pub-sub":
        receiver.setsockopt(zmq.SUBSCRIBE, b"")
    b.start()
    until(lambda: b.server._antennas[0].attached)
    receiver.setsockopt(zmq.RCVTIMEO, 500)
    t.pass_blocks(400)
    lost = t.port(1).lost
    assert lost > 0
    got = 0
    while True:
        try:
            got += len(receiver.recv()) // 8
        except zmq.Again:
            break
    assert got + lost == 400 * BLOCK


def test_a_publisher_faster_than_the_air_loses_what_has_no_room(timed, rng):
    """Three quarters of a second sent at once: a quarter is kept, the rest is counted by name."""
    t = timed(patterns=("pub-sub", "req-rep"), external=True)
    b = t.bench
    one = b.peer(zmq.XPUB, b.tx[0])
    b.start()
    assert one.recv() == b"\1"
    for _ in range(3):
        one.send(gaussian(rng, round(RATE / 4)).tobytes())
    until(lambda: t.port(0).lost == round(RATE / 2))
    assert t.held() == round(RATE / 4)
    assert b.server.events[
        f"transmitter edge-1 at {b.tx[0]}: samples lost, because it sends faster than the air's rate"
    ] == round(RATE / 2)


def test_a_starving_port_is_named_after_a_second_and_goes_on_when_it_returns(timed, rng, caplog):
    """Silence is late for one second, and then no longer counted; the next samples end it."""
    caplog.set_level("INFO")
    t = timed(external=True)
    b = t.bench
    one = b.peer(zmq.REP, b.tx[0])
    b.start()
    x = gaussian(rng, BLOCK)
    serve(one, [[x.tobytes()]])
    until(lambda: b.server._clock.running and t.held())
    second = round(RATE / BLOCK)
    t.pass_blocks(second)
    assert not b.server.events
    t.pass_blocks(10)
    assert t.port(0).late == second * BLOCK
    name = f"transmitter edge-1 at {b.tx[0]}"
    assert b.server.events == {f"{name} sends nothing: silence goes out in its place": 1}
    serve(one, [[x.tobytes()]])
    until(lambda: t.held() == BLOCK)
    assert f"{name} goes on after {(second + 9) * BLOCK} samples of silence" in caplog.text
    t.pass_blocks(1)
    assert t.held() == 0


def test_an_air_that_fell_far_behind_moves_its_time_and_says_so(timed):
    """Ten seconds at once: it does not mix them all, and goes on at its rate from there."""
    t = timed(external=True)
    b = t.bench
    b.start()
    until(lambda: b.server._clock.running)
    t.clock.now_s += 10.0
    until(lambda: b.server.events)
    (event,) = b.server.events.items()
    assert event[0] == "samples by which the air fell behind its clock, which was moved"
    assert b.server.served + event[1] == pytest.approx(10 * RATE, abs=BLOCK)
    served = b.server.served
    t.clock.now_s += 5 * BLOCK_S
    until(lambda: b.server.served >= served + 4 * BLOCK)
    assert b.server.served <= served + 6 * BLOCK


@pytest.mark.parametrize("who", ["transmitter edge-1", "receiver server"])
def test_a_peer_of_a_run_that_goes_away_ends_it_in_real_pace_too(timed, who):
    """What is not external is needed: its end is named, as in lock step."""
    t = timed()
    b = t.bench
    one, receiver = b.peer(zmq.REP, b.tx[0]), b.peer(zmq.REQ, b.rx[0])
    b.start()
    receiver.send(struct.pack("<I", 10))
    serve(one, [[bytes(8 * BLOCK)]])
    until(lambda: b.server._clock.running)
    t.pass_blocks(1)
    receiver.recv()
    (one if who.startswith("tr") else receiver).close(linger=0)
    outcome = b.result()
    assert isinstance(outcome, PeerLost)
    assert str(outcome).startswith(f"{who} at {b.tx[0] if who.startswith('tr') else b.rx[0]} went away")
