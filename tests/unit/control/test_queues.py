"""Nothing is lost on the bus while somebody works: members wait, large messages go in pieces, floods are refused."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import pytest
import zmq

from edge.node import sent_files
from testbed.control.bus import Hub, Lost, Member, hub
from testbed.control.bus.mailbox import MAX_WAITING, WINDOW, Mailbox
from testbed.control.messages import (
    AnyMessage,
    Heartbeat,
    Hello,
    Offer,
    Pair,
    Prepared,
    PublicSet,
    Ready,
    Result,
    ResultFile,
    Stop,
    Tensor,
    Upload,
)
from testbed.data.pictures import Picture
from testbed.errors import RunIncomplete
from testbed.record.folder import sent_name, symbols_name


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what must come; the limit only ends a broken test."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "what must come did not come"
        time.sleep(0.01)


@pytest.fixture
def address() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{s.getsockname()[1]}"


@pytest.fixture
def server(address: str) -> Iterator[Hub]:
    with Hub(address) as end:
        yield end


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


def dealer(context: zmq.Context, server: Hub, name: str, role: str = "edge") -> zmq.Socket:
    """A member's socket without a member's manners."""
    made = context.socket(zmq.DEALER)
    made.setsockopt(zmq.ROUTING_ID, name.encode())
    made.setsockopt(zmq.LINGER, 0)
    made.connect(server.address)
    made.send(msgspec.msgpack.encode(Hello(node=name, role=role)))
    return made


def prepared(node: str, number: int) -> Prepared:
    return Prepared(node=node, number=number)


def test_three_hundred_who_are_ready_while_the_server_works_are_all_heard(server: Hub, context: zmq.Context):
    """Nobody polls until all have said it; each says it twice, as members do, and is known once."""
    names = [f"edge-{k}" for k in range(300)]
    sockets = [dealer(context, server, name) for name in names]
    for name, member in zip(names, sockets, strict=True):
        for _ in range(2):
            member.send(msgspec.msgpack.encode(Ready(node=name)))
    wait_until(lambda: len(server._peers) == 300 and all(peer.ready for peer in server._peers.values()))
    assert set(server.wait_ready(names)) == set(names)
    assert server.poll(0.2) is None


def test_what_members_say_while_the_server_works_waits_and_comes_in_order(server: Hub):
    """Three members, 300 messages each, none taken at first: each stops at its window, and nothing is lost."""
    members = [Member(server.address, f"edge-{k}", "edge") for k in range(3)]

    def talk(member: Member) -> None:
        for number in range(300):
            member.say(prepared(member.name, number))

    threads = [threading.Thread(target=talk, args=(member,), daemon=True) for member in members]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(len(member._untaken) == WINDOW for member in members))
    time.sleep(0.2)
    assert len(server._events._events) == 3 * WINDOW
    assert all(thread.is_alive() for thread in threads)
    heard: dict[str, list[int]] = {member.name: [] for member in members}
    while sum(map(len, heard.values())) < 900:
        event = server.poll(20.0)
        assert event is not None
        node, message = event
        assert isinstance(message, Prepared)
        heard[node].append(message.number)
    assert all(numbers == list(range(300)) for numbers in heard.values())
    for thread, member in zip(threads, members, strict=True):
        thread.join(20)
        member.close()


def test_who_waits_to_say_something_hears_that_the_run_has_ended(server: Hub):
    with Member(server.address, "edge-1", "edge") as member:
        failed: list[Exception] = []

        def talk() -> None:
            try:
                for number in range(1000):
                    member.say(prepared("edge-1", number))
            except Exception as error:
                failed.append(error)

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        wait_until(lambda: len(member._untaken) == WINDOW)
        server.broadcast(Stop(reason="edge-2 fell over"))
        thread.join(20)
        assert isinstance(failed[0], RunIncomplete)
        assert "edge-2 fell over" in str(failed[0])


def test_who_does_not_keep_to_the_window_is_refused_and_named_and_the_others_go_on(server: Hub, context: zmq.Context):
    """A socket that says 500 things at once: lost, told why; what another said meanwhile is there, all of it."""
    with Member(server.address, "edge-1", "edge") as good:
        flood = dealer(context, server, "edge-2")
        for number in range(500):
            flood.send(msgspec.msgpack.encode(prepared("edge-2", number)))
        wait_until(lambda: any(isinstance(w.event, Lost) for w in server._events._events))
        for number in range(WINDOW):
            good.say(prepared("edge-1", number))
        taken_numbers: list[int] = []
        lost: list[Lost] = []
        while len(taken_numbers) < WINDOW or not lost:
            event = server.poll(20.0)
            assert event is not None
            node, message = event
            if isinstance(message, Lost):
                assert node == "edge-2"
                lost.append(message)
            elif isinstance(message, Prepared) and node == "edge-1":
                taken_numbers.append(message.number)
        assert taken_numbers == list(range(WINDOW))
        assert f"more than {MAX_WAITING} messages" in lost[0].reason
        words = [msgspec.msgpack.decode(flood.recv()) for _ in range(2)]
        assert "edge-2 is refused" in next(w["reason"] for w in words if w["type"] == "stop")
        assert good.stop_reason is None


def test_a_full_mailbox_of_one_leaves_room_for_all_others_and_for_what_everybody_is():
    mailbox: Mailbox[object] = Mailbox()
    assert all(mailbox.put("a", number, 1) for number in range(MAX_WAITING))
    assert mailbox.put("a", "more", 1) is False
    mailbox.put_state("a", Lost("x"))
    assert mailbox.put("b", "said", 1)
    assert mailbox.get(0.0, {"b"}) == ("b", "said", True)
    assert mailbox.get(0.0, {"b"}) is None
    assert [mailbox.get(0.0) for _ in range(MAX_WAITING)] == [("a", number, True) for number in range(MAX_WAITING)]
    assert mailbox.get(0.0) == ("a", Lost("x"), False)
    assert mailbox.get(0.0) is None


def test_a_mailbox_counts_bytes_too_and_forgets_what_was_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("testbed.control.bus.mailbox.MAX_WAITING_BYTES", 100)
    mailbox: Mailbox[str] = Mailbox()
    for _ in range(3):
        assert mailbox.put("a", "x", 60)
        assert mailbox.put("a", "x", 60) is None, "a repetition takes no room"
        assert mailbox.put("a", "y", 60) is False
        assert mailbox.get(0.0) == ("a", "x", True)
    mailbox.put_state("a", "x")
    mailbox.put_state("a", "z")
    assert mailbox.get(0.0) == ("a", "z", False), "what it was before, unread, is replaced"


def test_a_result_larger_than_one_message_may_be_arrives_whole(server: Hub):
    """600 times one photograph of half a megabyte, 300 MiB, where 256 MiB is what a message may have: all come."""
    rng = np.random.default_rng(1)
    photograph = Picture("x.png", rng.integers(0, 256, (418, 418, 3), np.uint8))
    heard: Counter[bytes] = Counter()
    with Member(server.address, "edge-1", "edge") as member:
        files = sent_files("edge-1", [photograph] * 600, [np.ones(4, np.complex64)] * 600)
        talk = threading.Thread(target=lambda: member.result({"user": 0}, files), daemon=True)
        talk.start()
        names = []
        while True:
            event = server.poll(20.0)
            assert event is not None
            _, message = event
            if isinstance(message, Result):
                break
            assert isinstance(message, ResultFile)
            names.append(message.name)
            heard[message.data] += 1
        assert message == Result(node="edge-1", values={"user": 0}, files=1200)
        assert names == [name("edge-1", k) for k in range(600) for name in (sent_name, symbols_name)]
        assert list(heard.values()) == [600, 600]
        assert sum(600 * len(data) for data in heard) > 256 * 2**20
        talk.join(20)


def test_large_messages_travel_in_pieces_both_ways(server: Hub):
    """20 MiB out and back, byte by byte; each frame on the wire is far smaller (the socket would refuse it)."""
    data = np.random.default_rng(2).bytes(20 * 2**20)
    with Member(server.address, "edge-1", "edge") as member:
        wait_until(lambda: "edge-1" in server.progress)
        server.send("edge-1", PublicSet(pixels=4, pictures=data))
        assert member.hear(20.0) == PublicSet(pixels=4, pictures=data)
        tensors = {"x": Tensor(dtype="<f4", shape=(len(data) // 4,), data=data)}
        upload = Upload(node="edge-1", round=1, tensors=tensors, mechanism="gaussian", noise_std=0.0)
        member.say(upload)
        member.say(prepared("edge-1", 1))
        assert server.poll(20.0) == ("edge-1", upload)
        assert server.poll(20.0) == ("edge-1", prepared("edge-1", 1))


def test_one_message_to_a_hundred_members_is_encoded_once(
    server: Hub, context: zmq.Context, monkeypatch: pytest.MonkeyPatch
):
    """By who says it, not by the thread that keeps connections alive; all hundred get all of it."""
    encoded: list[tuple[str, str]] = []
    real = hub.encode

    def noting(message: AnyMessage) -> bytes:
        encoded.append((type(message).__name__, threading.current_thread().name))
        return real(message)

    monkeypatch.setattr(hub, "encode", noting)
    sockets = [dealer(context, server, f"edge-{k}") for k in range(100)]
    wait_until(lambda: sum(bool(p.role) for p in server._peers.values()) == 100)
    model = np.random.default_rng(3).bytes(3 * 2**20)
    pair = Pair(round=1, encoder=model, decoder=b"", sha256="")
    whole = msgspec.msgpack.encode(pair)
    server.broadcast(pair)
    for made in sockets:
        got = b""
        while len(got) < len(whole):
            assert made.poll(20_000)
            frame = msgspec.msgpack.decode(made.recv())
            got += frame.get("data", b"")
        assert got == whole
    once = [(kind, thread) for kind, thread in encoded if kind not in ("Heartbeat", "Taken")]
    assert once == [("Pair", threading.main_thread().name)]


def test_a_member_that_takes_nothing_is_given_up_and_the_others_hear_all(
    server: Hub, context: zmq.Context, monkeypatch: pytest.MonkeyPatch
):
    """40 messages of 4 MiB to two members of which one never reads; the limit is shortened, the way to it is real."""
    monkeypatch.setattr(hub, "BACKLOG_BYTES", 16 * 2**20)
    mute = context.socket(zmq.DEALER)
    mute.setsockopt(zmq.ROUTING_ID, b"edge-2")
    mute.setsockopt(zmq.RCVHWM, 1)
    mute.setsockopt(zmq.RCVBUF, 4096)
    mute.connect(server.address)
    mute.send(msgspec.msgpack.encode(Hello(node="edge-2", role="edge")))
    with Member(server.address, "edge-1", "edge") as good:
        wait_until(lambda: sum(bool(p.role) for p in server._peers.values()) == 2)
        for number in range(40):
            server.broadcast(PublicSet(pixels=number, pictures=bytes(4 * 2**20)))
            assert good.hear(20.0) == PublicSet(pixels=number, pictures=bytes(4 * 2**20))
        node, event = server.poll(20.0) or ("", None)
        assert node == "edge-2"
        assert isinstance(event, Lost)
        assert "took nothing" in event.reason


def offer(node: str) -> Offer:
    return Offer(node=node, card=b"", encoder=b"", decoder=b"")


@pytest.mark.parametrize(
    ("role", "message", "allowed"),
    [
        ("edge", offer("x"), False),
        ("air", offer("x"), False),
        ("observer", offer("x"), False),
        ("operator", offer("x"), True),
        ("operator", Result(node="x"), False),
        ("observer", ResultFile(node="x", name="", data=b""), False),
        ("air", Upload(node="x", round=1, tensors={}, mechanism="gaussian", noise_std=0.0), False),
        ("edge", Result(node="x"), True),
        ("air", Result(node="x"), True),
        ("edge", Pair(round=0, encoder=b"", decoder=b"", sha256=""), False),  # what the server alone says
    ],
)
def test_a_member_may_say_what_its_role_says(server: Hub, role: str, message: AnyMessage, allowed: bool):
    """What it may not is not passed on: the member is told, and the server hears its name and why."""
    with Member(server.address, "x", role) as member:
        member.say(message)
        event = server.poll(20.0)
        if allowed:
            assert event == ("x", message)
            assert member.stop_reason is None
            return
        assert event is not None
        node, lost = event
        assert node == "x"
        assert isinstance(lost, Lost)
        assert f"it is {role}, which may not say {type(message).__name__}" in lost.reason
        wait_until(lambda: member.stop_reason)
        assert "x is refused" in str(member.stop_reason)


@pytest.mark.parametrize(
    ("name", "role", "says"),
    [
        ("edge-1", "operator", "it is the edge of that name"),
        ("air", "edge", "it is the air of that name"),
        ("edge-9", "edge", "this run has no edge of that name; it has edge-1, air"),
        ("switch-1", "root", "no role is named 'root'"),
        ("edge-1", "edge", ""),
        ("switch-1", "operator", ""),
        ("page", "observer", ""),
    ],
)
def test_nobody_takes_anothers_name_or_a_role_that_the_run_has_not(address: str, name: str, role: str, says: str):
    with Hub(address, roles={"edge-1": "edge", "air": "air"}) as server, Member(address, name, role) as member:
        wait_until(lambda: member.stop_reason or (name in server._peers and server._peers[name].role))
        assert says in str(member.stop_reason or "")
        assert bool(member.stop_reason) == bool(says)


def test_who_has_not_said_who_it_is_is_not_heard(server: Hub, context: zmq.Context):
    stranger = context.socket(zmq.DEALER)
    stranger.setsockopt(zmq.ROUTING_ID, b"x")
    stranger.connect(server.address)
    stranger.send(msgspec.msgpack.encode(Heartbeat(node="x")))
    stranger.send(msgspec.msgpack.encode(Result(node="x")))
    assert server.poll(20.0) == ("x", Lost("it sent Result before it said who it is"))
