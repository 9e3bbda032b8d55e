"""Whoever comes to a port and is not its peer: named, dropped, and the stream is bit for bit what it would be."""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import zmq

from testbed.air.medium import Medium
from testbed.air.zmq_ports import AirServer
from testbed.config import Air, AirPort
from testbed.errors import PeerLost, PeerUnreachable
from testbed.phy.waveform import Waveform
from testbed.radio import sockets
from testbed.radio.base import RadioSettings
from testbed.radio.responder import MAX_NAMED, MAX_REQUEST_BYTES, Responder
from testbed.radio.zmq import ZmqRadio

RATE = Waveform().sample_rate_hz
ALL = struct.pack("<I", 0xFFFFFFFF)
ZMTP_1 = b"\x01\x00" + b"\x05\x00abcd"  # an anonymous peer of ZMTP 1 and one message


def endpoint(host: str = "127.0.0.1") -> str:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
        s.bind((host, 0))
        return f"tcp://{f'[{host}]' if ':' in host else host}:{s.getsockname()[1]}"


def raw(where: str, data: bytes) -> socket.socket:
    host, _, port = where.removeprefix("tcp://").rpartition(":")
    one = socket.create_connection((host, int(port)), 5)
    one.sendall(data)
    return one


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


def sock(context: zmq.Context, kind: int, where: str, bind: bool = False) -> zmq.Socket:
    one = context.socket(kind)
    one.setsockopt(zmq.LINGER, 0)
    for option in (zmq.RCVTIMEO, zmq.SNDTIMEO):
        one.setsockopt(option, 5000)
    (one.bind if bind else one.connect)(where)
    return one


@pytest.fixture
def port(context) -> Iterator:
    made: list[Responder] = []

    def make(timeout_s: float = 5.0) -> tuple[Responder, Counter]:
        reported: Counter[str] = Counter()
        one = Responder(context, endpoint(), "receiver server", timeout_s, 1920, lambda line: reported.update([line]))
        made.append(one)
        return one, reported

    yield make
    for one in made:
        one.close()


def settle(one: Responder, until, seconds: float = 5.0) -> None:
    """Read what comes until it is so."""
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, "it did not come so far"
        one.accept()
        one.watch()
        time.sleep(0.005)


def dealer_x(context, where):
    one = sock(context, zmq.DEALER, where)
    one.send(b"x")
    return one


def dealer_flood(context, where):
    one = sock(context, zmq.DEALER, where)
    for i in range(500):
        one.send_multipart([b"", os.urandom(i % 9), b"more"][: 1 + i % 3])
    return one


def big_frame(context, where):
    one = sock(context, zmq.DEALER, where)
    one.send_multipart([b"", bytes(1_000_000)])
    return one


def second_asker(context, where):
    one = sock(context, zmq.REQ, where)
    one.send(ALL)
    return one


INTRUDERS = {
    "DEALER b'x'": dealer_x,
    "DEALER, 500 messages": dealer_flood,
    "DEALER, a megabyte": big_frame,
    "a second REQ": second_asker,
    "SUB": lambda context, where: sock(context, zmq.SUB, where),
    "PULL": lambda context, where: sock(context, zmq.PULL, where),
    "random bytes": lambda context, where: raw(where, np.random.default_rng(5).bytes(5000)),
    "ZMTP 1": lambda context, where: raw(where, ZMTP_1 * 3),
    "HTTP": lambda context, where: raw(where, b"GET / HTTP/1.1\r\n\r\n" * 20),
    "a greeting and nothing": lambda context, where: raw(where, b"\xff" + bytes(8) + b"\x7f\x03"),
    "connect and close": lambda context, where: raw(where, b"").close(),
}

NAMED = ("DEALER b'x'", "DEALER, 500 messages", "a second REQ")  # what libzmq does not turn away by itself


@pytest.mark.parametrize("intruder", INTRUDERS)
def test_a_run_over_the_air_goes_on_whoever_comes_to_either_port(context, rng, intruder):
    """Both ends' bound ports, the edge's and the air's, while samples flow: all arrive, bit for bit."""
    count = 60_000
    x = (0.1 * (rng.standard_normal((1, count)) + 1j * rng.standard_normal((1, count)))).astype(np.complex64)
    tx, rx = endpoint(), endpoint()
    ports = [AirPort(name="edge-1", user=0, tx=[tx]), AirPort(name="server", user=None, rx=[rx])]

    def medium() -> Medium:
        return Medium(Waveform(), Air(), [0], 1, 1)

    stop, outcome, held = threading.Event(), [], []
    with (
        ZmqRadio(f"zmq:tx_port={tx}", RadioSettings(RATE, tx_channels=1)) as edge,
        ZmqRadio(f"zmq:rx_port={rx}", RadioSettings(RATE, rx_channels=1)) as receiver,
        AirServer(medium(), ports, 5000) as air,
    ):

        def serve() -> None:
            try:
                outcome.append(air.run(stop.is_set, count))
            except Exception as error:
                outcome.append(error)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        feeder = threading.Thread(target=lambda: (edge.send(x), edge.finish()), daemon=True)
        feeder.start()
        got = [receiver.receive(20_000).samples]
        for where in (tx, rx):
            held.append(INTRUDERS[intruder](context, where))
        deadline = time.monotonic() + (10 if intruder in NAMED else 0.3)
        while not air.events and time.monotonic() < deadline:
            time.sleep(0.01)
        got.append(receiver.receive(40_000).samples)
        serving.join(10)
        stop.set()
    assert outcome == [count]
    assert np.array_equal(np.concatenate(got, axis=1), medium().mix(x, 0))
    named = [line for line in air.events if "127.0.0.1:" in line.replace(rx, "")]
    assert bool(named) == (intruder in NAMED)


@pytest.mark.parametrize("made", [dealer_x, second_asker, lambda c, w: raw(w, ZMTP_1)])
def test_the_culprit_is_named_with_its_address_and_the_peer_is_served(context, port, made):
    one, reported = port()
    peer = sock(context, zmq.REQ, one.endpoint)
    peer.send(struct.pack("<I", 7))
    settle(one, lambda: one.pending == 7)
    held = made(context, one.endpoint)
    settle(one, lambda: reported)
    (line,) = reported
    assert re.match(
        rf"receiver server at {one.endpoint}: (127\.0\.0\.1:\d+|a peer that speaks no ZMTP 3) sent a (message|request)",
        line,
    )
    assert one.answer(b"12345678")
    assert peer.recv() == b"12345678"
    held.close()


def test_the_next_in_line_is_served_when_the_peer_has_left(context, port):
    """A peer that reconnects before its old connection is known to be dead is not forgotten."""
    one, reported = port()
    first, second = sock(context, zmq.REQ, one.endpoint), sock(context, zmq.REQ, one.endpoint)
    first.send(struct.pack("<I", 1))
    settle(one, lambda: one.pending == 1)
    second.send(struct.pack("<I", 2))
    settle(one, lambda: reported)
    first.close(linger=0)
    settle(one, lambda: one.pending == 2)
    assert one.answer(bytes(16))
    assert second.recv() == bytes(16)


def test_what_cannot_be_sent_is_not_counted_as_sent(context, port):
    one, _ = port()
    peer = sock(context, zmq.REQ, one.endpoint)
    peer.send(ALL)
    settle(one, lambda: one.pending is not None)
    peer.close(linger=0)
    deadline = time.monotonic() + 5
    while one.answer(b"12345678"):  # until libzmq knows
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_only_a_peer_that_shook_hands_can_leave(context, port, monkeypatch):
    """Connect and close, garbage, a wrong pattern: behind each, for longer than a lost peer is given, nobody is lost;
    the peer itself is lost when it leaves, although a stranger stays."""
    monkeypatch.setattr(sockets, "LOST_S", 0.2)
    one, _ = port()
    peer = sock(context, zmq.REQ, one.endpoint)
    peer.send(ALL)
    settle(one, lambda: one.pending is not None)
    raw(one.endpoint, b"").close()
    raw(one.endpoint, b"GET / HTTP/1.1\r\n\r\n").close()
    subscriber = sock(context, zmq.SUB, one.endpoint)
    stranger = sock(context, zmq.DEALER, one.endpoint)
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        one.check()
        time.sleep(0.01)
    subscriber.close()
    peer.close(linger=0)
    with pytest.raises(PeerLost, match="went away"):
        settle(one, lambda: one.check())
    stranger.close()


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda c, w: sock(c, zmq.SUB, w), "a ZeroMQ socket of another pattern connected: a request comes from a REQ"),
        (lambda c, w: sock(c, zmq.PULL, w), "a ZeroMQ socket of another pattern connected"),
        (lambda c, w: raw(w, b"GET / HTTP/1.1\r\n\r\n").close(), "something connected that speaks no ZeroMQ"),
        (lambda c, w: raw(w, b"").close(), "something connected that speaks no ZeroMQ"),
        (lambda c, w: None, "nobody connected"),
    ],
)
def test_what_came_instead_of_a_receiver_is_said(context, port, made, says):
    one, _ = port(timeout_s=0.5)
    held = made(context, one.endpoint)
    with pytest.raises(PeerUnreachable, match=f"within 0.5 s: {says}"):
        settle(one, lambda: one.check())
    del held


@pytest.mark.parametrize("kind", ["PUSH", "PUB", "PAIR", "DEALER"])
def test_another_pattern_where_an_answer_is_wanted_is_named(context, kind):
    where = endpoint()
    held = sock(context, getattr(zmq, kind), where, bind=True)
    settings = RadioSettings(RATE, rx_channels=1, timeout_s=0.4)
    with (
        ZmqRadio(f"zmq:rx_port={where}", settings) as radio,
        pytest.raises(PeerUnreachable, match=rf"within 0.4 s: a ZeroMQ {kind} socket is there: it is no ZeroMQ REP"),
    ):
        radio.receive(10)
    held.close()


@pytest.mark.parametrize("frames", [[b"x"], [b"x", b"y", b"z"], [b"", b"12345678", b""]])
def test_a_router_in_place_of_a_rep_is_named_and_ends_nothing_else(context, frames, monkeypatch):
    """Frames without an answer's shape: libzmq cuts such a peer off, and the radio says what it is; one whose shape
    alone is right is an event, and asked again."""
    monkeypatch.setattr(sockets, "LOST_S", 0.2)
    where = endpoint()
    router = sock(context, zmq.ROUTER, where, bind=True)

    def serve() -> None:
        identity, _, _ = router.recv_multipart()
        router.send_multipart([identity, *frames])
        if frames[0] == b"":
            router.send_multipart([router.recv_multipart()[0], b"", np.ones(4, np.complex64).tobytes()])

    serving = threading.Thread(target=serve, daemon=True)
    with ZmqRadio(f"zmq:rx_port={where}", RadioSettings(RATE, rx_channels=1)) as radio:
        serving.start()
        if frames[0] == b"":
            block = radio.receive(4)
            assert np.array_equal(block.samples, np.ones((1, 4)))
            assert [event.kind for event in block.events] == ["malformed"]
            assert where in block.events[0].detail
        else:
            with pytest.raises(PeerLost, match=rf"{where} went away: a ZeroMQ ROUTER socket is there"):
                radio.receive(4)
    serving.join(5)


@pytest.mark.parametrize("answer", [b"", b"x" * 13])
def test_answers_without_samples_are_not_waited_for_for_ever(context, answer, monkeypatch):
    """At the radio and at the air: a peer that always answers, and never with samples, is lost as a silent one is;
    it is not asked in a circle either."""
    monkeypatch.setattr(sockets, "STALL_S", 0.5)
    where, count = endpoint(), Counter()
    peer = sock(context, zmq.REP, where, bind=True)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            if peer.poll(50):
                peer.recv()
                peer.send(answer)
                count["asked"] += 1

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    with (
        ZmqRadio(f"zmq:rx_port={where}", RadioSettings(RATE, rx_channels=1)) as radio,
        pytest.raises(PeerLost, match="is connected but sends nothing"),
    ):
        radio.receive(10)
    assert 2 < count["asked"] <= 0.6 / sockets.ASK_AGAIN_S
    ports = [AirPort(name="edge-1", user=0, tx=[where]), AirPort(name="server", user=None, rx=[endpoint()])]
    with (
        AirServer(Medium(Waveform(), Air(), [0], 1, 1), ports, 1000) as air,
        pytest.raises(PeerLost, match=r"transmitter edge-1 at .* is connected but sends nothing"),
    ):
        air.run(lambda: False, 1000)
    stop.set()
    serving.join(5)
    peer.close()


def test_a_receiver_that_asks_for_nothing_for_ever_is_not_waited_for(context, monkeypatch):
    monkeypatch.setattr(sockets, "STALL_S", 0.5)
    tx, rx = endpoint(), endpoint()
    ports = [AirPort(name="edge-1", user=0, tx=[tx]), AirPort(name="server", user=None, rx=[rx])]
    stop = threading.Event()
    asking = sock(context, zmq.REQ, rx)

    def ask() -> None:
        while not stop.is_set():
            asking.send(bytes(4))
            while not stop.is_set() and not asking.poll(50):
                pass
            if not stop.is_set():
                assert asking.recv() == b""

    thread = threading.Thread(target=ask, daemon=True)
    with ZmqRadio(f"zmq:tx_port={tx}", RadioSettings(RATE, tx_channels=1)) as edge:
        edge.send(np.zeros((1, 10_000), np.complex64))
        with (
            AirServer(Medium(Waveform(), Air(), [0], 1, 1), ports, 1000) as air,
            pytest.raises(PeerLost, match=r"receiver server at .* is connected but asks for nothing"),
        ):
            thread.start()
            air.run(lambda: False, 10_000)
    stop.set()
    thread.join(5)
    asking.close()


def test_a_flood_of_culprits_is_counted_together(context, port):
    one, reported = port()
    peer = sock(context, zmq.REQ, one.endpoint)
    peer.send(ALL)
    settle(one, lambda: one.pending is not None)
    for i in range(MAX_NAMED + 10):
        held = dealer_x(context, one.endpoint)
        settle(one, lambda i=i: sum(reported.values()) > i)
        held.close(linger=0)
    assert len(reported) == MAX_NAMED + 1
    assert reported[next(line for line in reported if " others sent" in line)] == 10


def test_a_length_from_the_wire_reserves_nothing(context, port):
    """A request of more than a request's size ends its connection; it is never a message."""
    one, reported = port()
    peer = sock(context, zmq.DEALER, one.endpoint)
    peer.send_multipart([b"", bytes(MAX_REQUEST_BYTES + 1)])
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        one.accept()
    assert one.pending is None
    assert not reported


def test_ipv6_works_as_ipv4_does(rng):
    try:
        tx = endpoint("::1")
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    x = (0.1 * rng.standard_normal((1, 1000))).astype(np.complex64)
    with (
        ZmqRadio(f"zmq:tx_port={tx}", RadioSettings(RATE, tx_channels=1)) as edge,
        ZmqRadio(f"zmq:rx_port={tx}", RadioSettings(RATE, rx_channels=1)) as receiver,
    ):
        edge.send(x)
        assert np.array_equal(receiver.receive(1000).samples, x)
