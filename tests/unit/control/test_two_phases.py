"""The two phases of a switch, server against edge over a bus that loses what the test says. No sockets, one clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from edge import switching
from edge.switching import Switching, first_picture
from server.switching import AGAIN_S, GIVE_UP_S, Handovers, NewCodec
from testbed.codec.base import CodecIdentity
from testbed.control.messages import AnyMessage, Confirm, Install, Outcome, Prepared
from testbed.errors import CodecError

FRAMES = [0, 5, 10, 15, 20, 25]  # first frames of six pictures


class Plain:
    """A codec that is only told apart."""

    def __init__(self, digest: int, rate: int = 2, kind: str = "picture") -> None:
        self.identity = CodecIdentity("plain", 1, digest)
        self.rate = rate
        self.kind, self.sides = kind, range(8, 9)

    def symbol_count(self, height: int, width: int) -> int:
        return height * width // self.rate

    def encode(self, picture):
        raise AssertionError

    def decode(self, symbols, no_eff, height, width):
        raise AssertionError


OLD, NEW, THIRD = Plain(1), Plain(2), Plain(3)
CODECS = {b"new": NEW, b"third": THIRD, b"old": OLD, b"twice": Plain(4, rate=1), b"half": Plain(5, rate=4)} | {
    b"other kind": Plain(6, kind="label")
}


class Bus:
    """Server and edge with what they say to each other; ``lose`` names the kinds whose next message is lost."""

    def __init__(self, planned: tuple[int, ...] = (), load: Callable[[Install], Plain] | None = None) -> None:
        self.now = 0.0
        self.lose: list[type] = []
        self.sent: list[AnyMessage] = []
        self.outcomes: list[Outcome] = []
        self.to_edge: list[AnyMessage] = []
        self.to_server: list[AnyMessage] = []
        self.server = Handovers(self._send, lambda: self.now)
        sizes = [(8, 8)] * len(FRAMES)
        load = load or (lambda install: CODECS[install.encoder])
        self.edge = Switching("edge-1", OLD, sizes, FRAMES, load, self._answer, 7, planned, lambda: self.now)

    def _send(self, node: str, message: AnyMessage) -> None:
        if node == "operator":
            self.outcomes.append(message)  # type: ignore[arg-type]
        else:
            assert node == "edge-1"
            self._carry(message, self.to_edge)

    def _answer(self, message: AnyMessage) -> None:
        self._carry(message, self.to_server)

    def _carry(self, message: AnyMessage, to: list[AnyMessage]) -> None:
        self.sent.append(message)
        if type(message) in self.lose:
            self.lose.remove(type(message))
        else:
            to.append(message)

    def ask(self, name: bytes, at_frame: int, operator: str = "") -> None:
        self.server.ask("edge-1", NewCodec(b"card", name, CODECS[name]), at_frame, operator)

    def settle(self) -> None:
        """Carry messages until nobody says anything; encoders load at once."""
        idle = 0
        while idle < 5:
            idle = 0 if self.to_edge or self.to_server else idle + 1
            while self.to_edge:
                self.edge.take(self.to_edge.pop(0))
            for work in self.edge._loading:
                work.finished(5.0)
            while self.to_server:
                message = self.to_server.pop(0)
                assert isinstance(message, Prepared)
                self.server.take("edge-1", message)

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.server.tick()
        self.settle()

    def encode(self, pictures: int) -> list[Plain]:
        first = self.edge.next_picture
        return [self.edge.codec_for(picture) for picture in range(first, first + pictures)]


def test_the_switch_is_at_the_first_picture_behind_the_frame():
    """Asked for frame 7: pictures begin at 0, 5, 10; the third is the first with the new codec. Four messages."""
    bus = Bus()
    bus.ask(b"new", 7)
    bus.settle()
    assert [type(m) for m in bus.sent] == [Install, Prepared, Confirm, Prepared]
    assert bus.encode(6) == [OLD, OLD, NEW, NEW, NEW, NEW]
    (fact,) = bus.server.facts()
    assert (fact["agreed"], fact["first_frame"], fact["picture"], fact["reason"]) == (True, 10, 2, "")
    assert bus.edge.facts()[0]["first_frame"] == 10


@pytest.mark.parametrize(
    "lost",
    [[Install], [Prepared], [Confirm], [Install, Prepared, Confirm]],
    ids=lambda kinds: "-".join(kind.__name__ for kind in kinds),
)
def test_whatever_is_lost_before_agreement_the_edge_goes_on_as_before(lost: list[type]):
    """And when the server says it again, the edge goes over at a picture that is still open."""
    bus = Bus()
    bus.lose = lost.copy()
    bus.ask(b"new", 0)
    bus.settle()
    assert bus.encode(2) == [OLD, OLD]
    for _ in range(4):
        bus.later(AGAIN_S + 0.1)
    (fact,) = bus.server.facts()
    assert fact["agreed"]
    assert fact["picture"] >= 2
    later = bus.encode(4)
    switch = int(fact["picture"]) - 2
    assert later == [OLD] * switch + [NEW] * (4 - switch)


def test_a_lost_last_word_leaves_the_edge_switched_and_is_said_again():
    """The answer to Confirm is lost: the edge has switched, which frames tell; asked again it says so again."""
    bus = Bus()
    bus.ask(b"new", 5)
    bus.edge.take(bus.to_edge.pop(0))
    for work in bus.edge._loading:
        work.finished(5.0)
    bus.server.take("edge-1", bus.to_server.pop(0))  # type: ignore[arg-type]
    bus.lose = [Prepared]
    bus.edge.take(bus.to_edge.pop(0))
    assert bus.encode(2) == [OLD, NEW]
    assert not bus.server.facts()[0]["agreed"]
    bus.later(AGAIN_S + 0.1)
    assert bus.server.facts()[0]["agreed"]
    assert bus.server.facts()[0]["first_frame"] == 5


def test_a_silent_edge_is_given_up_and_never_switches():
    """All that the server says is lost for GIVE_UP_S: reported; what comes afterwards changes nothing."""
    bus = Bus()
    bus.lose = [Install] * 100
    bus.ask(b"new", 0, "operator")
    for _ in range(int(GIVE_UP_S) + 3):
        bus.later(AGAIN_S + 0.01)
    assert "no answer" in str(bus.server.facts()[0]["reason"])
    assert [o.open for o in bus.outcomes] == [0]
    bus.server.take("edge-1", Prepared(node="edge-1", number=1, first_frame=5, picture=1))
    bus.settle()
    assert bus.encode(6) == [OLD] * 6


def test_a_confirmation_that_comes_too_late_is_moved_to_a_later_picture():
    """The proposed picture is encoded meanwhile: a later one is proposed, further away each time, and agreed."""
    bus = Bus()
    bus.ask(b"new", 0)
    bus.edge.take(bus.to_edge.pop(0))
    for work in bus.edge._loading:
        work.finished(5.0)
    first = bus.to_server.pop(0)
    assert isinstance(first, Prepared)
    assert (first.first_frame, first.agreed) == (0, False)
    assert bus.encode(1) == [OLD]  # picture 0 leaves before the server has confirmed it
    bus.server.take("edge-1", first)
    bus.edge.take(bus.to_edge.pop(0))
    second = bus.to_server.pop(0)
    assert isinstance(second, Prepared)
    assert (second.first_frame, second.picture, second.agreed) == (10, 2, False)
    bus.server.take("edge-1", second)
    bus.settle()
    assert bus.encode(5) == [OLD, NEW, NEW, NEW, NEW]
    assert bus.server.facts()[0]["first_frame"] == 10


def test_a_confirmation_of_another_frame_agrees_to_nothing():
    bus = Bus()
    bus.ask(b"new", 7)
    bus.edge.take(bus.to_edge.pop(0))
    for work in bus.edge._loading:
        work.finished(5.0)
    bus.edge.take(Confirm(number=1, first_frame=5))
    bus.edge.take(Confirm(number=9, first_frame=10))
    assert not bus.edge.facts()[0]["agreed"]
    assert bus.encode(6) == [OLD] * 6


def refuse(install: Install) -> Plain:
    raise CodecError("the encoder that came has hash 1, announced was 2")


@pytest.mark.parametrize(
    ("name", "at_frame", "encoded", "load", "says"),
    [
        (b"new", 26, 0, None, "no picture that is not encoded yet begins at frame 26"),
        (b"new", 0, 6, None, "6 of 6 are encoded"),
        (b"new", 0, 0, refuse, "the encoder that came has hash 1"),
        (b"old", 0, 0, None, "is in use already"),
        (b"twice", 10, 0, None, "from picture 2 on takes 50 frames in all, and 30 were planned before the run"),
        (b"other kind", 0, 0, None, "plain 00000006 is of kind label, plain 00000001 of kind picture"),
    ],
    ids=["behind-the-last", "all-encoded", "hash", "same", "rate", "kind"],
)
def test_a_refusal_has_a_reason_and_the_codec_stays(name, at_frame, encoded, load, says):
    bus = Bus(load=load)
    before = bus.encode(encoded)
    bus.ask(name, at_frame, "operator")
    bus.settle()
    assert [type(m) for m in bus.sent] == [Install, Prepared]
    assert says in str(bus.server.facts()[0]["reason"])
    assert [(o.edge, o.open) for o in bus.outcomes] == [("edge-1", 0)]
    assert says in bus.outcomes[0].reason
    assert before + bus.encode(6 - encoded) == [OLD] * 6


def test_one_edge_goes_through_its_switches_one_after_the_other():
    """Two asked for at once: the second is not sent before the first is agreed, and takes effect behind it."""
    bus = Bus()
    bus.ask(b"new", 5)
    bus.ask(b"third", 5)
    assert [m.number for m in bus.sent if isinstance(m, Install)] == [1]
    bus.settle()
    assert [f["picture"] for f in bus.server.facts()] == [1, 2]
    assert bus.encode(6) == [OLD, NEW, THIRD, THIRD, THIRD, THIRD]


def test_back_to_the_first_codec_is_a_switch_like_any_other():
    bus = Bus()
    bus.ask(b"new", 5)
    bus.settle()
    bus.ask(b"old", 15)
    bus.settle()
    assert bus.encode(6) == [OLD, NEW, NEW, OLD, OLD, OLD]


def test_the_encoder_waits_for_a_planned_switch_as_long_as_it_takes():
    """Planned for frame 7: two pictures are encoded, the third waits for agreement and has the new codec.

    So a planned switch cannot come too late, and the run depends on its seed alone.
    """
    bus = Bus(planned=(7,))
    assert bus.encode(2) == [OLD, OLD]
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(bus.edge.codec_for(2)), daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not bus.edge.holding and time.monotonic() < end:
        time.sleep(0.005)
    assert bus.edge.holding
    assert got == []
    bus.edge.begin()
    bus.ask(b"new", 7)
    bus.settle()
    thread.join(20)
    assert got == [NEW]
    assert not bus.edge.holding


@pytest.mark.parametrize("how", ["refused", "overdue", "ended"])
def test_the_encoder_does_not_wait_for_what_will_not_come(how: str):
    """The planned switch is refused, or the server is silent for HOLD_S after the start, or the run ends."""
    bus = Bus(planned=(0,), load=refuse)
    if how == "refused":
        bus.ask(b"new", 0)
        bus.settle()
    elif how == "ended":
        bus.edge.end()
    else:
        bus.edge.begin()
        bus.edge._clock = iter([0.0, switching.HOLD_S + 1.0]).__next__
    assert bus.encode(6) == [OLD] * 6


def test_the_hold_outlasts_the_server():
    """An edge that waits for a planned switch gives up after the server has: else their order would be a race."""
    assert switching.HOLD_S > GIVE_UP_S + AGAIN_S


@pytest.mark.parametrize(
    ("at_frame", "earliest", "picture"),
    [(0, 0, 0), (1, 0, 1), (5, 0, 1), (6, 0, 2), (0, 3, 3), (25, 0, 5), (26, 0, None)],
)
def test_a_switch_is_at_the_first_frame_of_a_picture(at_frame, earliest, picture):
    assert first_picture(FRAMES, at_frame, earliest) == picture


def test_a_codec_of_half_the_rate_moves_the_frames_behind_it():
    """From picture 2 on 3 frames each for 5: pictures begin at 0, 5, 10, 13, 16, 19. The next switch goes by these, and
    what fits in the 30 frames that were planned may take more again: 10 + 3 x 3 + 10 = 29."""
    bus = Bus()
    bus.ask(b"half", 6)
    bus.settle()
    bus.ask(b"twice", 17)
    bus.settle()
    facts = bus.edge.facts()
    assert [(f["picture"], f["first_frame"], f["reason"]) for f in facts] == [(2, 10, ""), (5, 19, "")]
    assert bus.encode(6) == [OLD, OLD, *[CODECS[b"half"]] * 3, CODECS[b"twice"]]
    assert bus.edge.first_frames == [0, 5, 10, 13, 16, 19]
