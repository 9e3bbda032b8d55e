"""The server's side of the live switch: one edge after another is brought over to another codec. No socket, no codec.

Whatever is lost is said again, and given up after ``GIVE_UP_S``. The server can decode with both codecs before it asks,
so that no order of messages and frames can make a frame that it decodes with the wrong one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import msgspec

from testbed.codec.base import Codec
from testbed.codec.store import sha256
from testbed.control.messages import AnyMessage, Confirm, Install, Outcome, Prepared

AGAIN_S = 1.0  # after which an unanswered message is sent once more
GIVE_UP_S = 15.0  # an edge that is there answers in milliseconds, loading an encoder takes it tenths of a second

log = logging.getLogger(__name__)


class NewCodec(msgspec.Struct, frozen=True):
    """A codec that is loaded here, and what an edge needs of it."""

    card: bytes
    encoder: bytes
    codec: Codec


class Handover(msgspec.Struct):
    """One edge's way to another codec."""

    edge: str
    install: Install
    codec: str  # name and hash, for people
    operator: str = ""  # who asked for it, empty: the scenario
    confirm: Confirm | None = None
    first_frame: int = 0
    picture: int = 0
    agreed: bool = False
    reason: str = ""
    sent_at: float | None = None
    begun_at: float = 0.0

    @property
    def settled(self) -> bool:
        """Whether its outcome is known."""
        return self.agreed or bool(self.reason)


class Handovers:
    """All handovers of a run; for each edge one at a time, in the order in which they were asked for."""

    def __init__(self, send: Callable[[str, AnyMessage], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.all: list[Handover] = []
        self._send = send
        self._clock = clock

    def ask(self, edge: str, new: NewCodec, at_frame: int, operator: str = "") -> None:
        """Bring an edge over to a codec that the server can decode already."""
        install = Install(
            number=len(self.all) + 1,
            card=new.card,
            encoder=new.encoder,
            encoder_sha256=sha256(new.encoder),
            at_frame=at_frame,
        )
        self.all.append(Handover(edge, install, new.codec.identity.label, operator))
        self.tick()

    def take(self, node: str, message: Prepared) -> None:
        """An edge's answer."""
        handover = next((h for h in self.all if h.edge == node and h.install.number == message.number), None)
        if handover is None or handover.sent_at is None or handover.settled:
            return
        handover.first_frame, handover.picture = message.first_frame, message.picture
        if message.reason:
            self._settle(handover, message.reason)
        elif message.agreed:
            self._settle(handover, "")
        else:
            handover.confirm = Confirm(number=message.number, first_frame=message.first_frame)
            self._say(handover)
        self.tick()

    def tick(self) -> None:
        """Begin what can begin, say again what is not answered, give up what stays so."""
        now = self._clock()
        busy: set[str] = set()
        for handover in self.all:
            if handover.settled or handover.edge in busy:
                continue
            busy.add(handover.edge)
            if handover.sent_at is None:
                handover.begun_at = now
                log.info(
                    "%s: to change to %s at frame %d or later", handover.edge, handover.codec, handover.install.at_frame
                )
                self._say(handover)
            elif now - handover.begun_at > GIVE_UP_S:
                self._settle(handover, self._silence(handover))
                busy.discard(handover.edge)
            elif now - handover.sent_at > AGAIN_S:
                self._say(handover)

    def open(self, operator: str) -> int:
        """How many handovers that ``operator`` asked for are not settled."""
        return sum(h.operator == operator and not h.settled for h in self.all)

    def facts(self) -> list[dict[str, object]]:
        """What has become of each, for the run folder."""
        return [
            {
                "number": h.install.number,
                "edge": h.edge,
                "codec": h.codec,
                "asked_by": h.operator or "scenario",
                "asked_frame": h.install.at_frame,
                "agreed": h.agreed,
                "first_frame": h.first_frame if h.agreed else None,
                "picture": h.picture if h.agreed else None,
                "reason": h.reason or ("" if h.agreed else "the run ended before it was settled"),
            }
            for h in self.all
        ]

    def _say(self, handover: Handover) -> None:
        handover.sent_at = self._clock()
        self._send(handover.edge, handover.confirm or handover.install)

    def _silence(self, handover: Handover) -> str:
        if handover.confirm is None:
            return f"no answer within {GIVE_UP_S:.0f} s; the codec in use stays"
        return f"no answer to the confirmation within {GIVE_UP_S:.0f} s; each picture is decoded as its frames say"

    def _settle(self, handover: Handover, reason: str) -> None:
        handover.agreed, handover.reason = not reason, reason
        if reason:
            log.warning("%s keeps its codec: %s", handover.edge, reason)
        else:
            log.info("%s: %s from frame %d on", handover.edge, handover.codec, handover.first_frame)
        if handover.operator:
            outcome = Outcome(
                edge=handover.edge,
                first_frame=handover.first_frame,
                picture=handover.picture,
                reason=reason,
                open=self.open(handover.operator),
            )
            self._send(handover.operator, outcome)
