"""What an operator offers while a run goes on: taken once, loaded aside, and handed to the edges it names."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from server.offers import Offers
from server.session import Session
from server.switching import Handovers
from testbed.codec.card import card_bytes, read_card
from testbed.codec.registry import open_codec
from testbed.config import ServerConfig, ServerPart
from testbed.control.messages import AnyMessage, Install, Offer, Outcome, Prepared
from testbed.phy.waveform import Waveform
from testbed.record.folder import RunFolder


class Place:
    """A session, and what the server says to whom."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        users = {"edge-1": 0, "edge-2": 1}
        config = ServerConfig(
            seed=1,
            control="tcp://127.0.0.1:1",
            waveform=Waveform(),
            server=ServerPart(),
            radio="",
            codec="deepjscc-cifar10",
            expects=list(users),
            users=users,
        )
        self.sent: list[tuple[str, AnyMessage]] = []
        self.decodes: list[int] = []  # how many codecs the server had when it asked an edge to take another
        self.session = Session(config, RunFolder(folder), open_codec(config.codec), lambda event: None)
        self.offers = Offers(self.session, Handovers(self.send), self.send, list(users))

    def send(self, node: str, message: AnyMessage) -> None:
        if isinstance(message, Install):
            self.decodes.append(len(self.session.assembler.codecs))
        self.sent.append((node, message))

    def tick_until_said(self, count: int) -> None:
        end = time.monotonic() + 20
        while len(self.sent) < count:
            assert time.monotonic() < end, self.sent
            self.offers.tick()
            time.sleep(0.005)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "run")


@pytest.fixture
def offer(other_codec: Path) -> Offer:
    card, encoder, decoder = read_card(other_codec)
    return Offer(node="switch-1", card=card_bytes(card), encoder=encoder, decoder=decoder, at_frame=3)


def test_an_offer_is_loaded_here_before_an_edge_hears_of_it(place: Place, offer: Offer):
    """Answered at once; when the edges are asked, the server decodes with it already, and it lies in the run folder."""
    place.offers.take("switch-1", offer)
    assert place.sent == [("switch-1", Outcome(open=2))]
    place.tick_until_said(3)
    assert [node for node, _ in place.sent[1:]] == ["edge-1", "edge-2"]
    for _, message in place.sent[1:]:
        assert isinstance(message, Install)
        assert (message.encoder, message.at_frame) == (offer.encoder, 3)
    assert place.decodes == [2, 2]
    assert len(list((place.session.folder.path / "codecs").iterdir())) == 3
    place.offers.take("edge-1", Prepared(node="edge-1", number=1, agreed=True, first_frame=5, picture=1))
    place.offers.take("edge-2", Prepared(node="edge-2", number=2, reason="too late"))
    place.offers.tick()
    assert [m for n, m in place.sent if n == "switch-1"][1:] == [
        Outcome(edge="edge-1", first_frame=5, picture=1, open=1),
        Outcome(edge="edge-2", reason="too late", open=0),
    ]
    assert [(s["agreed"], s["asked_by"]) for s in place.session.switches] == [(True, "switch-1"), (False, "switch-1")]


def test_an_offer_that_comes_again_is_answered_and_not_taken_again(place: Place, offer: Offer):
    place.offers.take("switch-1", offer)
    place.offers.take("switch-1", offer)
    place.tick_until_said(4)
    place.offers.take("switch-1", offer)
    assert [m for n, m in place.sent if n == "switch-1"] == 3 * [Outcome(open=2)]
    assert len([m for _, m in place.sent if isinstance(m, Install)]) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"edges": ["edge-9"]}, "no edge is named edge-9; this run has edge-1, edge-2"),
        ({"decoder": b"another"}, "do not belong together"),
        ({"card": b"{}"}, "not a codec's card"),
    ],
)
def test_an_offer_that_is_no_good_is_refused_with_a_reason(place: Place, offer: Offer, change: dict, says: str):
    """No edge hears of it, and the server decodes as before."""
    place.offers.take("switch-1", msgspec.structs.replace(offer, **change))
    end = time.monotonic() + 20
    while not any(isinstance(m, Outcome) and m.reason for _, m in place.sent):
        assert time.monotonic() < end
        place.offers.tick()
    assert says in place.sent[-1][1].reason  # type: ignore[union-attr]
    assert {node for node, _ in place.sent} == {"switch-1"}
    assert len(place.session.assembler.codecs) == 1
