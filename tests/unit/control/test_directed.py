"""Messages of the control bus that are meant for one member, or come before anybody listens."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from testbed.control.bus import Hub, Member
from testbed.control.messages import Confirm, Offer, Prepared, Ready, Start


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what must come; the limit only ends a broken test."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "what must come did not come"
        time.sleep(0.01)


@pytest.fixture
def server() -> Iterator[Hub]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{s.getsockname()[1]}"
    with Hub(address) as end:
        yield end


def test_what_is_said_to_one_the_other_does_not_hear(server: Hub):
    """Two members, a message for the second: it comes once, to it alone; its answer comes back under its name."""
    with Member(server.address, "edge-1", "edge") as one, Member(server.address, "edge-2", "edge") as two:
        wait_until(lambda: {"edge-1", "edge-2"} <= set(server.progress))
        server.send("edge-2", Confirm(number=1, first_frame=10))
        assert two.hear(20.0) == Confirm(number=1, first_frame=10)
        assert two.hear(0.1) is None
        assert one.hear(0.1) is None
        two.say(Prepared(node="edge-2", number=1, first_frame=10, agreed=True))
        assert server.poll(20.0) == ("edge-2", Prepared(node="edge-2", number=1, first_frame=10, agreed=True))


def test_what_is_said_to_one_is_no_answer_to_who_comes_later(server: Hub):
    """Unlike Start and Stop: a late member hears the last of these, and nothing that was for another."""
    with Member(server.address, "edge-1", "edge") as one:
        wait_until(lambda: "edge-1" in server.progress)
        server.broadcast(Start(samples=5))
        server.send("edge-1", Confirm(number=1, first_frame=10))
        assert one.hear(20.0) is not None
        with Member(server.address, "edge-2", "edge") as late:
            assert late.ready() == Start(samples=5)
            assert late.hear(0.1) is None


def test_what_is_said_to_nobody_is_lost_without_harm(server: Hub):
    server.send("nobody", Confirm(number=1, first_frame=0))
    with Member(server.address, "edge-1", "edge") as one:
        wait_until(lambda: "edge-1" in server.progress)
        server.send("edge-1", Confirm(number=2, first_frame=0))
        assert one.hear(20.0) == Confirm(number=2, first_frame=0)


def test_an_operator_who_comes_before_the_start_is_heard_after_it(server: Hub):
    """An offer that comes while the server waits for its nodes, a hundred times: kept once, for who polls next."""
    offer = Offer(node="switch-1", card=b"", encoder=b"", decoder=b"")
    with Member(server.address, "switch-1", "operator") as operator, Member(server.address, "edge-1", "edge") as edge:
        for _ in range(100):
            operator.say(offer)
        edge.say(Ready(node="edge-1"))
        assert set(server.wait_ready(["edge-1"])) == {"edge-1"}
        assert server.poll(20.0) == ("switch-1", offer)
        assert server.poll(0.1) is None
