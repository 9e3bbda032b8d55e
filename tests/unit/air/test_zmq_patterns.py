"""PUB/SUB and PUSH/PULL beside REQ/REP, and peers that leave and return."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import zmq

from tests.unit.air.zmq_bench import Bench, benches, fetch, gaussian, serve, until

KINDS = {"pub-sub": (zmq.XPUB, zmq.SUB), "push-pull": (zmq.PUSH, zmq.PULL)}


@pytest.fixture
def bench() -> Iterator:
    with benches() as make:
        yield make


def listen(b: Bench, pattern: str, key: bytes = b"") -> zmq.Socket:
    one = b.peer(KINDS[pattern][1], b.rx[0])
    if pattern == "pub-sub":
        one.setsockopt(zmq.SUBSCRIBE, key)
    return one


def speak(b: Bench, pattern: str) -> zmq.Socket:
    """A bound PUB or PUSH; a PUB that somebody listens to."""
    one = b.peer(KINDS[pattern][0], b.tx[0])
    if pattern == "pub-sub":
        assert one.recv() == b"\1"
    return one


def collect(one: zmq.Socket, count: int) -> np.ndarray:
    got: list[np.ndarray] = []
    while sum(map(len, got)) < count:
        got.append(np.frombuffer(one.recv(), np.complex64))
    return np.concatenate(got)


@pytest.mark.parametrize("pattern", KINDS)
def test_nothing_is_lost_in_lock_step_whoever_is_slow(bench, rng, pattern):
    """60 blocks, far more than sockets hold, to a reader that begins late: bit for bit what `Medium.mix` gives."""
    b = bench(patterns=(pattern, pattern), block=20_000)
    x = gaussian(rng, 1_200_000)
    b.start(total=len(x))
    one, receiver = speak(b, pattern), listen(b, pattern)
    sending = threading.Thread(
        target=lambda: [one.send(x[i : i + 70_000].tobytes()) for i in range(0, len(x), 70_000)], daemon=True
    )
    sending.start()
    time.sleep(0.3)
    got = collect(receiver, len(x))
    sending.join(5)
    assert b.result() == len(x)
    assert np.array_equal(got, b.medium().mix(x[None], 0)[0])
    assert not b.server.events


def test_a_key_and_samples_are_samples(bench, rng):
    b = bench(patterns=("pub-sub", "req-rep"), block=100)
    x = gaussian(rng, 100)
    b.start(total=100)
    one = speak(b, "pub-sub")
    one.send_multipart([b"edge", x.tobytes()])
    assert np.array_equal(fetch(b.peer(zmq.REQ, b.rx[0]), struct.pack("<I", 100)), b.medium().mix(x[None], 0)[0])


def test_a_message_with_tags_is_refused_with_the_remedy(bench):
    """gr-zeromq's header of two tags: 19 bytes, so that what follows is no whole number of samples."""
    b = bench(patterns=("push-pull", "req-rep"), block=100)
    b.start(total=100)
    one = speak(b, "push-pull")
    one.send(struct.pack("<HBQQ", 0x5FF0, 1, 0, 0) + bytes(800))
    one.send(bytes(800))
    assert len(fetch(b.peer(zmq.REQ, b.rx[0]), struct.pack("<I", 100))) == 100
    where = f"transmitter edge-1 at {b.tx[0]}"
    assert b.server.events == {
        f"{where}: message that is no whole number of samples: it bears tags, set Pass Tags to No there": 1
    }


def test_a_subscriber_that_wants_a_key_is_named(bench):
    b = bench(patterns=("push-pull", "pub-sub"), block=100, timeout_s=0.3, external=True)
    b.start()
    listen(b, "pub-sub", b"abc")
    speak(b, "push-pull").send(bytes(800))
    until(lambda: b.server.events)
    (event,) = b.server.events
    assert "a subscriber wants the key b'abc': samples bear no key, leave it empty" in event


def test_two_pull_sockets_are_named(bench):
    b = bench(patterns=("push-pull", "push-pull"), block=100)
    b.start()
    listen(b, "push-pull"), listen(b, "push-pull")
    until(lambda: b.server.events)
    assert "2 PULL sockets are connected, and each gets a part only" in next(iter(b.server.events))


@pytest.mark.parametrize("pattern", ["req-rep", "push-pull"])
def test_a_transmitter_that_leaves_is_named_once_and_taken_up_again(bench, rng, pattern):
    """It ends with a request unanswered; another at the same address goes on where it left off, bit for bit."""
    b = bench(patterns=(pattern, "req-rep"), block=100, timeout_s=0.3, external=True)
    x = gaussian(rng, 300)
    receiver = b.peer(zmq.REQ, b.rx[0])
    b.start(total=300)
    got = []
    for number in range(3):
        one = b.peer(zmq.REP if pattern == "req-rep" else zmq.PUSH, b.tx[0])
        part = [x[100 * number : 100 * (number + 1)].tobytes()]
        if pattern == "req-rep":
            serve(one, [part])
        else:
            one.send_multipart(part)
        got.append(fetch(receiver, struct.pack("<I", 100)))
        if number < 2:
            if pattern == "req-rep":
                one.recv()  # a request that it will never answer
            one.close(linger=0)
            until(lambda n=number: sum(b.server.events.values()) == n + 1)
    assert b.result() == 300
    assert np.array_equal(np.concatenate(got), b.medium().mix(x[None], 0)[0])
    (event,) = b.server.events
    assert event == f"transmitter edge-1 at {b.tx[0]} went away; it is waited for"


@pytest.mark.parametrize("pattern", ["req-rep", "push-pull", "pub-sub"])
def test_a_receiver_that_leaves_is_named_and_another_goes_on(bench, rng, pattern):
    b = bench(patterns=("req-rep", pattern), block=100, timeout_s=0.3, external=True)
    x = gaussian(rng, 400)
    one = b.peer(zmq.REP, b.tx[0])

    def receive(receiver: zmq.Socket) -> np.ndarray:
        if pattern == "req-rep":
            return fetch(receiver, struct.pack("<I", 100))
        return np.frombuffer(receiver.recv(), np.complex64)

    def connected() -> zmq.Socket:
        return b.peer(zmq.REQ, b.rx[0]) if pattern == "req-rep" else listen(b, pattern)

    b.start(total=400)
    receiver = connected()
    serve(one, [[x[:100].tobytes()]])
    first = receive(receiver)
    receiver.close(linger=0)
    time.sleep(0.1)  # its end is known
    serve(one, [[x[100:200].tobytes()]])
    until(lambda: b.server.events)
    (event,) = b.server.events
    assert event == f"receiver server at {b.rx[0]} went away; it is waited for"
    receiver = connected()
    second = receive(receiver)
    serve(one, [[x[200:].tobytes()]])
    got = [first, second]
    while sum(map(len, got)) < 400:
        got.append(receive(receiver))
    assert b.result() == 400
    assert np.array_equal(np.concatenate(got), b.medium().mix(x[None], 0)[0])


def test_behind_the_end_who_still_receives_gets_silence_until_it_leaves(bench):
    """A program that waits for one more answer is not left without."""
    b = bench(block=100, external=True)
    one, receiver = b.peer(zmq.REP, b.tx[0]), b.peer(zmq.REQ, b.rx[0])
    b.start(total=100)
    serve(one, [[bytes(800)]])
    assert len(fetch(receiver, struct.pack("<I", 100))) == 100
    assert b.result() == 100
    b.thread = threading.Thread(target=b.server.linger, args=(30.0,), daemon=True)
    b.thread.start()
    assert not fetch(receiver, struct.pack("<I", 100)).any()
    receiver.close(linger=0)
    b.thread.join(10)
    assert not b.thread.is_alive()


@pytest.mark.parametrize("pattern", KINDS)
def test_a_stopped_receiver_stops_who_pushes_or_publishes(bench, pattern):
    """Nobody receives: of 100 messages the air holds what its next block wants, whatever the time."""
    b = bench(patterns=(pattern, "req-rep"), block=1000)
    b.peer(zmq.REQ, b.rx[0])
    b.start()
    one = speak(b, pattern)
    for _ in range(100):
        one.send(bytes(8 * 1000))
    until(lambda: b.server.served == 2000)
    time.sleep(0.2)
    assert b.server.served == 2000
    assert b.server._transmitters[0].queue.held == 1000
