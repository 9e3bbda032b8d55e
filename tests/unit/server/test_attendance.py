"""Who takes part in a federated run: real ends of the bus, edges that answer, fall behind, or go away."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from server.federation.attendance import Attendance
from testbed.control.bus import Hub, Member
from testbed.control.messages import Refusal, Start
from testbed.errors import PeerLost, RunIncomplete

NAMES = ["edge-1", "edge-2", "edge-3"]
SOON_S, LONG_S = 0.5, 60.0  # a deadline that is to pass, and one that is not
LIMIT_S = 30.0  # only ends a broken test
REFUSAL = (Refusal,)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(f"tcp://127.0.0.1:{free_port()}") as hub:
        yield hub


@pytest.fixture
def join(hub: Hub) -> Iterator[Callable[..., Member]]:
    """A member that is ready."""
    members: list[Member] = []

    def begin(name: str) -> Member:
        member = Member(hub.address, name, "edge")
        members.append(member)
        threading.Thread(target=wait, args=(member,), daemon=True).start()
        return member

    def wait(member: Member) -> None:
        with contextlib.suppress(PeerLost, RunIncomplete):
            member.ready()

    yield begin
    for member in members:
        member.close()


def attendance(hub: Hub, quorum: int, deadline_s: float, stop: Callable[[], bool] = lambda: False) -> Attendance:
    return Attendance(hub, NAMES, quorum, deadline_s, stop)


def answer(member: Member, number: int) -> None:
    member.say(Refusal(node=member.name, round=number, reason="spent"))


def test_all_that_are_there_are_waited_for(hub: Hub, join: Callable[..., Member]):
    """A round closes when all answered, long before its deadline; answers to other rounds do not count."""
    members = [join(name) for name in NAMES]
    present = attendance(hub, 1, LONG_S)
    present.wait_ready()
    for member in members:
        answer(member, 1)
        answer(member, 2)
    began = time.monotonic()
    found = present.gather(REFUSAL, 2)
    assert {node: a.round for node, a in found.items()} == dict.fromkeys(NAMES, 2)
    assert present.lost == {} and present.missing(found, 2) == {}
    assert time.monotonic() - began < LONG_S / 2


def test_an_edge_that_goes_away_is_named_and_the_others_go_on(hub: Hub, join: Callable[..., Member]):
    members = [join(name) for name in NAMES]
    present = attendance(hub, 2, LONG_S)
    present.wait_ready()
    hub.broadcast(Start(samples=0))
    members[1].close()
    for member in (members[0], members[2]):
        answer(member, 1)
    found = present.gather(REFUSAL, 1)
    assert sorted(found) == ["edge-1", "edge-3"]
    assert list(present.lost) == ["edge-2"]
    assert present.missing(found, 1) == present.lost
    for member in (members[0], members[2]):
        answer(member, 2)
    assert sorted(present.gather(REFUSAL, 2)) == ["edge-1", "edge-3"]


def test_who_is_late_misses_the_round_and_may_answer_the_next(hub: Hub, join: Callable[..., Member]):
    """The late answer to the round before is passed over."""
    members = [join(name) for name in NAMES]
    present = attendance(hub, 2, LONG_S)
    present.wait_ready()
    present = attendance(hub, 2, SOON_S)
    for member in members[:2]:
        answer(member, 1)
    found = present.gather(REFUSAL, 1)
    assert sorted(found) == NAMES[:2]
    assert present.missing(found, 1) == {"edge-3": "no answer in round 1 within 0.5 s"}
    assert present.lost == {}
    answer(members[2], 1)
    for member in members:
        answer(member, 2)
    found = attendance(hub, 2, LONG_S).gather(REFUSAL, 2)
    assert {node: a.round for node, a in found.items()} == dict.fromkeys(NAMES, 2)


def test_below_the_quorum_the_run_ends_naming_who_is_missing(hub: Hub, join: Callable[..., Member]):
    """At the deadline with too few answers; and at once where too few are left, however long the deadline is."""
    members = [join(name) for name in NAMES]
    attendance(hub, 3, LONG_S).wait_ready()
    answer(members[0], 1)
    with pytest.raises(PeerLost, match=r"fewer than 2 of 3 .*missing edge-2 \(no answer.*edge-3 \(no answer"):
        attendance(hub, 2, SOON_S).gather(REFUSAL, 1)
    members[1].close()
    members[2].close()
    began = time.monotonic()
    with pytest.raises(PeerLost, match=r"fewer than 2 of 3 .*missing edge-2 \(.*edge-3 \("):
        attendance(hub, 2, LONG_S).gather(REFUSAL, 2)
    assert time.monotonic() - began < LIMIT_S


def test_who_never_comes_is_given_up_at_the_deadline(hub: Hub, join: Callable[..., Member]):
    for name in NAMES[:2]:
        join(name)
    attendance(hub, 2, LIMIT_S)  # the deadline below begins when two are on their way
    present = attendance(hub, 2, 5.0)
    present.wait_ready()
    assert present.lost == {"edge-3": "not ready within 5 s"}
    with pytest.raises(PeerLost, match="fewer than 3 of 3 edges are left in round 1: missing edge-3"):
        late = attendance(hub, 3, LONG_S)
        late.give_up("edge-3", "not ready")
        late.require_quorum(1)


def test_a_stop_ends_the_waiting(hub: Hub):
    with pytest.raises(RunIncomplete, match="stopped"):
        attendance(hub, 1, LONG_S, lambda: True).gather(REFUSAL, 1)


def test_strangers_neither_count_nor_leave(hub: Hub, join: Callable[..., Member]):
    """An observer answers and goes away: it is none of the edges."""
    members = [join(name) for name in NAMES]
    present = attendance(hub, 3, LONG_S)
    present.wait_ready()
    stranger = join("observer")
    answer(stranger, 1)
    stranger.close()
    for member in members:
        answer(member, 1)
    assert sorted(present.gather(REFUSAL, 1)) == NAMES
    assert present.lost == {}
