"""The control bus between threads of one process: who hears what, and who is missed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest
import zmq

from testbed.control import bus
from testbed.control.bus import Hub, Lost, Member, hub, member
from testbed.control.messages import Heartbeat, Hello, Ready, Result, ResultFile, Start, Stop
from testbed.errors import AddressInUse, PeerLost, PeerUnreachable, ProtocolError, RunIncomplete, ScenarioError


def free_address() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{s.getsockname()[1]}"


def wait_until(condition: Callable[[], object], limit_s: float = 20.0) -> None:
    """Wait for what must come; the limit only ends a broken test."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "what must come did not come"
        time.sleep(0.01)


def next_event(server: Hub) -> tuple[str, object]:
    event = server.poll(20.0)
    assert event is not None, "no event came"
    return event


@pytest.fixture
def server() -> Iterator[Hub]:
    with Hub(free_address()) as end:
        yield end


def start_in_thread(end: Member, into: list[object], **planned: int) -> threading.Thread:
    def body() -> None:
        try:
            into.append(end.ready(**planned))
        except Exception as error:
            into.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return thread


def raw_dealer(server: Hub, name: bytes) -> tuple[zmq.Context, zmq.Socket]:
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.ROUTING_ID, name)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.connect(server.address)
    return context, dealer


def test_a_whole_session_from_ready_to_stop(server: Hub) -> None:
    """Two members plan, start together, report values and a file, and stop; exact equality of what was said."""
    with Member(server.address, "edge-1", "edge") as one, Member(server.address, "air", "air") as two:
        starts: list[object] = []
        threads = [start_in_thread(one, starts, samples_planned=1000, frames_planned=3), start_in_thread(two, starts)]
        ready = server.wait_ready(["edge-1", "air"])
        assert ready["edge-1"] == Ready(node="edge-1", samples_planned=1000, frames_planned=3)
        server.broadcast(Start(samples=1234, run="r"))
        for thread in threads:
            thread.join(20)
        assert starts == [Start(samples=1234, run="r")] * 2
        assert one.stop_reason is None
        one.heartbeat(2, 3)
        wait_until(lambda: server.progress["edge-1"] == Heartbeat(node="edge-1", progress=2, of=3))
        one.result({"frames_sent": 3}, [("sent/edge-1/000.png", b"\x89PNG")])
        assert next_event(server) == (
            "edge-1",
            ResultFile(node="edge-1", name="sent/edge-1/000.png", data=b"\x89PNG"),
        )
        assert next_event(server) == ("edge-1", Result(node="edge-1", values={"frames_sent": 3}, files=1))
        server.broadcast(Stop(reason=""))
        wait_until(lambda: one.stop_reason == "" and two.stop_reason == "")


def test_a_stop_before_the_start_ends_the_wait_and_says_why(server: Hub) -> None:
    with Member(server.address, "edge-1", "edge") as end:
        answers: list[object] = []
        thread = start_in_thread(end, answers)
        server.wait_ready(["edge-1"])
        server.broadcast(Stop(reason="edge-2: no pictures"))
        thread.join(20)
        assert isinstance(answers[0], RunIncomplete)
        assert "edge-2: no pictures" in str(answers[0])


def test_who_is_ready_late_is_answered_with_the_last_order(server: Hub) -> None:
    server.broadcast(Start(samples=7))
    with Member(server.address, "late", "observer") as end:
        assert end.ready() == Start(samples=7)


def test_last_words_leave_before_the_hub_closes() -> None:
    """Stop, then close at once: the member hears all of it. 16 MiB, so that it does not fit into any buffer."""
    server = Hub(free_address())
    with Member(server.address, "edge-1", "edge") as end:
        server.broadcast(Stop(reason="x" * 2**24))
        server.close()
        wait_until(lambda: end.stop_reason is not None)
        assert end.stop_reason == "x" * 2**24


def test_a_member_that_fails_says_why(server: Hub) -> None:
    with pytest.raises(RunIncomplete), Member(server.address, "edge-1", "edge"):
        raise RunIncomplete("the radio fell over")
    assert next_event(server) == ("edge-1", Lost("the radio fell over"))


def test_a_member_whose_connection_ends_is_lost(server: Hub) -> None:
    """What a killed process leaves behind: a closed connection without a word."""
    context, dealer = raw_dealer(server, b"edge-1")
    dealer.send(msgspec.msgpack.encode(Heartbeat(node="edge-1")))
    wait_until(lambda: "edge-1" in server.progress)
    context.destroy(linger=0)
    assert next_event(server) == ("edge-1", Lost("its connection ended"))


def test_wait_ready_names_a_member_that_left_again(server: Hub) -> None:
    context, dealer = raw_dealer(server, b"edge-1")
    dealer.send(msgspec.msgpack.encode(Hello(node="edge-1", role="edge")))
    dealer.send(msgspec.msgpack.encode(Ready(node="edge-1")))
    wait_until(lambda: "edge-1" in server._peers and server._peers["edge-1"].ready)
    context.destroy(linger=0)
    with pytest.raises(PeerLost, match="edge-1"):
        server.wait_ready(["edge-1", "edge-2"])


def test_wait_ready_can_be_stopped_and_names_who_is_missing(server: Hub) -> None:
    with pytest.raises(RunIncomplete, match=r"edge-1, edge-2"):
        server.wait_ready(["edge-1", "edge-2"], should_stop=lambda: True)


def test_a_silent_member_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connected peer that says nothing more; the limit is shortened, the way to it is the real one."""
    monkeypatch.setattr(hub, "SILENCE_S", 0.2)
    with Hub(free_address()) as server:
        context, dealer = raw_dealer(server, b"edge-1")
        dealer.send(msgspec.msgpack.encode(Heartbeat(node="edge-1")))
        node, event = next_event(server)
        assert node == "edge-1"
        assert isinstance(event, Lost)
        assert "silent" in event.reason
        context.destroy(linger=0)


def test_a_lost_server_is_noticed_and_named() -> None:
    server = Hub(free_address())
    with Member(server.address, "edge-1", "edge") as end:
        server.close()
        wait_until(lambda: end.stop_reason is not None)
        assert server.address in str(end.stop_reason)
        with pytest.raises(PeerLost, match="went away"):
            end.ready()


def test_nobody_listening_is_named_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit itself is 2.5 s, so that the command line stays below 5 s; shortened here."""
    assert member.CONNECT_S <= 3
    monkeypatch.setattr(member, "CONNECT_S", 0.3)
    address = free_address()
    with pytest.raises(PeerUnreachable, match="refused") as caught:
        Member(address, "edge-1", "edge")
    assert address in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stranger_at_the_address_is_told_from_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "CONNECT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        address = f"tcp://127.0.0.1:{stranger.getsockname()[1]}"
        with pytest.raises(PeerUnreachable, match="not the control bus"):
            Member(address, "edge-1", "edge")


def test_a_mute_zmq_peer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "SILENCE_S", 0.3)
    context = zmq.Context()
    mute = context.socket(zmq.ROUTER)
    mute.setsockopt(zmq.LINGER, 0)
    port = mute.bind_to_random_port("tcp://127.0.0.1")
    with pytest.raises(PeerUnreachable, match="does not answer"):
        Member(f"tcp://127.0.0.1:{port}", "edge-1", "edge")
    context.destroy(linger=0)


def test_a_taken_port_is_said_with_what_to_do(server: Hub) -> None:
    with pytest.raises(AddressInUse, match=r"taken.*--set net\.port_base") as caught:
        Hub(server.address)
    assert server.address in str(caught.value)


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:47001", "tcp://192.168.1.5:47001", "tcp://*:47001"])
def test_the_hub_binds_to_loopback_only(address: str) -> None:
    with pytest.raises(ScenarioError, match="this machine alone"):
        Hub(address)


@pytest.mark.parametrize("address", ["", "127.0.0.1:5", "tcp://127.0.0.1", "tcp://127.0.0.1:port", "ipc:///tmp/x"])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    for end in (lambda: Hub(address), lambda: Member(address, "edge-1", "edge")):
        with pytest.raises(ScenarioError, match=r"tcp://127\.0\.0\.1:PORT"):
            end()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"GET / HTTP/1.1\r\n",
        msgspec.msgpack.encode({"type": "ready"}),
        msgspec.msgpack.encode({"type": "heartbeat", "node": "stranger", "colour": 1}),
        msgspec.msgpack.encode({"type": "heartbeat", "node": "stranger", "version": 99}),
        msgspec.msgpack.encode({"type": "launch", "version": 2}),
        msgspec.msgpack.encode(Ready(node="edge-1")),  # in another's name
        b"\x91" * 200_000,  # arrays in arrays, deeper than a decoder goes
        msgspec.msgpack.encode({"type": "result", "version": 2})[:-1] + b"\x91" * 200_000,
    ],
)
def test_malformed_messages_are_counted_and_harm_nobody(server: Hub, data: bytes) -> None:
    """Each kind twice from a stranger; afterwards another member works as before."""
    context, dealer = raw_dealer(server, b"stranger")
    dealer.send(data)
    dealer.send(data)
    wait_until(lambda: server.malformed["stranger"] == 2)
    with Member(server.address, "edge-1", "edge") as end:
        thread = start_in_thread(end, [])
        assert list(server.wait_ready(["edge-1"])) == ["edge-1"]
        server.broadcast(Stop(reason=""))
        thread.join(20)
    context.destroy(linger=0)


def test_random_bytes_never_become_a_message(rng_bytes: Callable[[int], bytes]) -> None:
    """2000 random strings of up to 64 bytes: each is refused with ProtocolError, never another exception."""
    for n in range(2000):
        with pytest.raises(ProtocolError, match="stranger"):
            bus.wire.decode(rng_bytes(n % 64), "stranger")


@pytest.fixture
def rng_bytes() -> Callable[[int], bytes]:
    import numpy as np

    return np.random.default_rng(2).bytes


def test_an_oversized_message_ends_the_connection_of_who_sent_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is the socket's own, so that nothing is allocated; the server goes on."""
    monkeypatch.setattr(bus.wire, "MAX_FRAME_BYTES", 10_000)
    monkeypatch.setattr(bus.wire, "MAX_MESSAGE_BYTES", 10_000)
    with Hub(free_address()) as server, Member(server.address, "edge-1", "edge") as end:
        context, dealer = raw_dealer(server, b"stranger")
        dealer.send(bytes(10_001))
        answers: list[object] = []
        thread = start_in_thread(end, answers)
        server.wait_ready(["edge-1"])
        assert server.malformed["stranger"] == 0
        with pytest.raises(ProtocolError, match="larger than the control bus carries"):
            end.result({}, [("x", bytes(10_001))])
        server.broadcast(Start(samples=1))
        thread.join(20)
        assert answers == [Start(samples=1)]
        context.destroy(linger=0)


@pytest.mark.parametrize("version", [1, 3])
def test_another_version_is_named_to_the_member(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """A server of another release, older or newer: the member says so instead of waiting."""
    monkeypatch.setattr(hub, "encode", lambda m: msgspec.msgpack.encode(msgspec.structs.replace(m, version=version)))
    with Hub(free_address()) as server, pytest.raises(ProtocolError, match=f"version {version}"):
        Member(server.address, "edge-1", "edge")


def test_a_bus_that_breaks_tells_its_owner(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error nobody thought of, in the thread that owns the socket: an event, not silence."""
    monkeypatch.setattr(hub, "decode", lambda data, peer: 1 / 0)
    context, dealer = raw_dealer(server, b"stranger")
    dealer.send(b"x")
    node, event = next_event(server)
    assert node == server.name
    assert isinstance(event, Lost)
    assert "division by zero" in event.reason
    server._failed(event.reason)
    with pytest.raises(PeerLost, match="division by zero"):
        server.wait_ready(["edge-1"])
    context.destroy(linger=0)


def test_closing_is_idempotent_and_frees_the_port() -> None:
    address = free_address()
    for _ in range(3):
        server = Hub(address)
        end = Member(address, "edge-1", "edge")
        end.close()
        end.close()
        server.close()
        server.close()
