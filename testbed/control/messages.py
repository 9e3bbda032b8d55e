"""What nodes say to each other over the control bus: typed, versioned, encoded as MessagePack by msgspec."""

from __future__ import annotations

from typing import Union

import msgspec

VERSION = 1
MAX_MESSAGE_BYTES = 256 * 2**20  # never trust a length from the wire: ZMQ_MAXMSGSIZE is set to this


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    """Base of all messages. ``version`` lets an old peer be named instead of misread."""

    version: int = VERSION


class Ready(Message, frozen=True, tag="ready"):
    """A node has opened its radio and can begin. Sent until answered by Start or Stop."""

    node: str
    role: str  # "edge", "air" or "observer"
    samples_planned: int = 0  # an edge: from the first sample to the end of its last frame
    frames_planned: int = 0


class Start(Message, frozen=True, tag="start"):
    """All nodes are ready: sample 0 may leave."""

    samples: int  # the air carries at least so many samples, then ends
    run: str = ""


class Stop(Message, frozen=True, tag="stop"):
    """End now. An empty reason means that all is done."""

    reason: str = ""


class Heartbeat(Message, frozen=True, tag="heartbeat"):
    """Still here. ``progress`` and ``of`` count what the node counts (frames, samples)."""

    node: str
    progress: int = 0
    of: int = 0


class Artifact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that a node hands to the run folder: a relative name and its bytes."""

    name: str
    data: bytes


class Result(Message, frozen=True, tag="result"):
    """What a node measured: plain values, and files for the run folder."""

    node: str
    values: dict[str, object] = {}
    artifacts: list[Artifact] = []


AnyMessage = Union[Ready, Start, Stop, Heartbeat, Result]  # noqa: UP007 - msgspec wants a runtime union on 3.10
