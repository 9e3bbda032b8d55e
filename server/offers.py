"""Codecs that come while a run goes on, planned or offered by an operator: loaded, then handed to the edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from server.session import Session
from server.switching import Handovers, NewCodec
from testbed.background import Background
from testbed.config import Switch
from testbed.control.messages import AnyMessage, Offer, Outcome, Prepared
from testbed.errors import CodecError


class Loading(msgspec.Struct):
    """An offer that was taken."""

    offer: Offer
    edges: list[str]
    work: Background
    loaded: list[NewCodec]
    done: bool = False


class Offers:
    """Takes each operator's offer once; it may come again, and is then answered again.

    A codec is loaded on a thread of its own, and the server can decode with it before an edge hears of it.
    """

    def __init__(
        self, session: Session, handovers: Handovers, send: Callable[[str, AnyMessage], None], edges: Sequence[str]
    ) -> None:
        self._session = session
        self._handovers = handovers
        self._send = send
        self._edges = list(edges)
        self._taken: dict[str, Loading] = {}

    def plan(self, switches: Sequence[Switch]) -> None:
        """Ask for what the scenario plans; its codecs are loaded since before the start."""
        for switch in switches:
            self._handovers.ask(switch.edge, self._session.planned[switch.codec], switch.at_frame)

    def take(self, node: str, message: object) -> None:
        """React to what a node says of a switch; other messages are passed over."""
        if isinstance(message, Prepared):
            self._handovers.take(node, message)
        elif isinstance(message, Offer):
            self._take_offer(node, message)

    def _take_offer(self, node: str, offer: Offer) -> None:
        known = self._taken.get(node)
        if known is not None:
            self._send(node, Outcome(open=len(known.edges) if not known.done else self._handovers.open(node)))
            return
        edges = list(dict.fromkeys(offer.edges)) or self._edges
        unknown = [edge for edge in edges if edge not in self._edges]
        if unknown:
            reason = f"no edge is named {', '.join(unknown)}; this run has {', '.join(self._edges)}"
            self._send(node, Outcome(reason=reason))
            return
        loaded: list[NewCodec] = []
        work = Background(
            lambda: loaded.append(self._session.keep_codec(offer.card, offer.encoder, offer.decoder)), f"offer-{node}"
        )
        self._taken[node] = Loading(offer, edges, work, loaded)
        self._send(node, Outcome(open=len(edges)))

    def tick(self) -> None:
        """Hand on what is loaded, say again what is not answered, and note what came of it."""
        for node, loading in self._taken.items():
            if loading.done:
                continue
            try:
                if not loading.work.finished():
                    continue
            except CodecError as error:
                loading.done = True
                self._send(node, Outcome(reason=str(error)))
                continue
            loading.done = True
            self._session.install(loading.loaded[0])
            for edge in loading.edges:
                self._handovers.ask(edge, loading.loaded[0], loading.offer.at_frame, node)
        self._handovers.tick()
        self._session.switches = self._handovers.facts()
