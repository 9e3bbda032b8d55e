"""`semtb switch` and `--switch`: another codec for edges that are sending, planned or asked for by hand."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from testbed.codec.card import card_bytes, find_card, read_card
from testbed.control.bus import Member, await_server
from testbed.control.messages import Offer, Outcome
from testbed.errors import RunIncomplete, ScenarioError

AGAIN_S = 2.0  # after which an offer that nobody answered is made again
ANSWER_S = 120.0  # for the server to take it: it waits until all nodes are ready and the run starts
LOOK_S = 0.1


def write_twin(codec: str, folder: Path) -> Path:
    """Write a codec's twin into ``folder``; the path of its card.

    Raises
    ------
    CodecError
        If the codec is unknown, incomplete or damaged.
    """
    from testbed.codec.train.twin import make_twin

    return make_twin(*read_card(find_card(codec)), folder)


def switch_settings(plans: list[str]) -> list[str]:
    """``EDGE:CODEC@FRAME`` or ``CODEC@FRAME``, as a setting of the scenario; none gives none.

    Raises
    ------
    ScenarioError
        If one is written in another way.
    """
    tables = []
    for plan in plans:
        codec, at, frame = plan.rpartition("@")
        edge, colon, name = codec.partition(":")
        if not colon:
            edge, name = "", codec
        if not at or not name or not frame.isdigit():
            raise ScenarioError(f"--switch {plan}: write it as EDGE:CODEC@FRAME, for example edge-1:new/card.json@40")
        tables.append(f"{{edge = {json.dumps(edge)}, codec = {json.dumps(name)}, at_frame = {int(frame)}}}")
    return [f"switches=[{', '.join(tables)}]"] if tables else []


def offer_switch(
    control: str,
    codec: str,
    edges: list[str],
    at_frame: int,
    should_stop: Callable[[], bool],
    tell: Callable[[str], object],
) -> bool:
    """Offer a codec to a running server and tell what becomes of it; whether every edge goes over to it.

    Raises
    ------
    CodecError
        If the codec is unknown, incomplete or damaged.
    PeerUnreachable, PeerLost
        If no server answers, or it goes away.
    RunIncomplete
        If the run ends first.
    """
    card, encoder, decoder = read_card(find_card(codec))
    name = f"switch-{os.getpid()}"
    await_server(control, name, should_stop)
    with Member(control, name, "operator", should_stop) as member:
        offer = Offer(
            node=name, card=card_bytes(card), encoder=encoder, decoder=decoder, edges=edges, at_frame=at_frame
        )
        begun, sent_at, taken, all_over = time.monotonic(), 0.0, False, True
        while True:
            now = time.monotonic()
            if not taken and now - sent_at > AGAIN_S:
                sent_at = now
                member.say(offer)
            message = member.hear(LOOK_S)
            if isinstance(message, Outcome):
                taken = True
                if message.edge:
                    all_over &= not message.reason
                    tell(
                        f"{message.edge} keeps its codec: {message.reason}"
                        if message.reason
                        else f"{message.edge}: {card.identity.label} from frame {message.first_frame} "
                        f"(picture {message.picture}) on"
                    )
                elif message.reason:
                    raise ScenarioError(f"the server refuses {card.identity.label}: {message.reason}")
                if message.open == 0:
                    return all_over
            if member.stop_reason is not None or should_stop():
                raise RunIncomplete(member.stop_reason or "the run ended before the switch was settled")
            if not taken and now - begun > ANSWER_S:
                raise RunIncomplete(f"the server at {control} took no offer within {ANSWER_S:.0f} s: is it receiving?")
