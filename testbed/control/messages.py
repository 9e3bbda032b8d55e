"""What nodes say to each other over the control bus: typed, versioned, encoded as MessagePack by msgspec."""

from __future__ import annotations

from typing import Union

import msgspec

VERSION = 2
MAX_MESSAGE_BYTES = 256 * 2**20  # of a whole message, in however many pieces it travels
PIECE_BYTES = 2**20  # a larger message travels in pieces of this size, so that every piece shows that its sender lives


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    """Base of all messages. ``version`` lets an old peer be named instead of misread."""

    version: int = VERSION


class Hello(Message, frozen=True, tag="hello"):
    """Who a node is: the first that it says. What it may say from then on, its role decides (``MAY_SAY``)."""

    node: str
    role: str


class Piece(Message, frozen=True, tag="piece"):
    """A part of the encoding of a larger message. Pieces of one message follow each other, in order."""

    sha256: str  # of the whole
    total: int  # bytes of the whole
    index: int
    data: bytes  # ``PIECE_BYTES``, the last one what is left


class Taken(Message, frozen=True, tag="taken"):
    """How many of a member's messages the server has taken since its Hello; a member waits while too many are not."""

    count: int


class Ready(Message, frozen=True, tag="ready"):
    """A node has opened its radio and can begin. Sent until answered by Start or Stop."""

    node: str
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


class ResultFile(Message, frozen=True, tag="result-file"):
    """A file that a node hands to the run folder: a relative name and its bytes. All of a node's come before Result."""

    node: str
    name: str
    data: bytes


class Result(Message, frozen=True, tag="result"):
    """What a node measured: plain values, and the number of files that it has handed in before."""

    node: str
    values: dict[str, object] = {}
    files: int = 0


class Changed(Message, frozen=True, tag="changed"):
    """The air's link is another from a sample on: somebody ordered it while it runs."""

    node: str
    at_sample: int
    link: str  # EDGE.SERVER
    key: str  # gain_db or path_loss_db
    value: float


class PublicSet(Message, frozen=True, tag="public-set"):
    """The pictures that all share in a federated run, float32 in 0..1, row by row. There is no place for labels."""

    pixels: int
    pictures: bytes


class Pair(Message, frozen=True, tag="pair"):
    """Encoder and decoder to install together, as ONNX. ``sha256`` is over the encoder's bytes, then the decoder's."""

    round: int
    encoder: bytes
    decoder: bytes
    sha256: str


class Installed(Message, frozen=True, tag="installed"):
    """A node uses that pair from now on."""

    node: str
    round: int
    sha256: str


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An array as it travels: little-endian values row by row. Whoever receives it checks all of it."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


class Ask(Message, frozen=True, tag="ask"):
    """The server asks every edge for a release. ``sha256`` names the pair of round 0. An edge may refuse."""

    round: int
    strategy: str
    mechanism: str  # that the server counts on; an edge that has another one refuses
    noise_multiplier: float  # likewise
    sha256: str
    tensors: dict[str, Tensor] = {}  # what the strategy's server half has for every edge


class Upload(Message, frozen=True, tag="upload"):
    """A release: named tensors, with the noise that is in them already."""

    node: str
    round: int
    tensors: dict[str, Tensor]
    mechanism: str
    noise_std: float  # of each value, 0 if there is no noise


class Refusal(Message, frozen=True, tag="refusal"):
    """An edge does not release what it was asked for."""

    node: str
    round: int
    reason: str


class Offer(Message, frozen=True, tag="offer"):
    """An operator has a codec to switch to. ``edges`` empty means all. Sent until answered by Outcome."""

    node: str
    card: bytes  # the card's JSON, whose sha256 is over the encoder's bytes, then the decoder's
    encoder: bytes  # ONNX
    decoder: bytes
    edges: list[str] = []
    at_frame: int = 0  # not before this frame of an edge


class Install(Message, frozen=True, tag="install"):
    """First phase of a switch: the server, which has the decoder, asks an edge to make the encoder ready."""

    number: int  # of this switch at this edge, in the order in which they take effect
    card: bytes
    encoder: bytes
    encoder_sha256: str  # the card's covers the decoder, too, which an edge does not get
    at_frame: int


class Prepared(Message, frozen=True, tag="prepared"):
    """An edge's answer to Install, and again to Confirm. The frame is the first of a picture, not encoded yet.

    Without ``agreed`` the edge goes on with the codec in use until a Confirm of that very frame comes before it is
    reached; one that comes later is answered with a later frame. With ``agreed`` nothing can change it any more.
    """

    node: str
    number: int
    first_frame: int = 0
    picture: int = 0
    agreed: bool = False
    reason: str = ""  # not empty: refused, the codec in use stays


class Confirm(Message, frozen=True, tag="confirm"):
    """Second phase: the server can decode what the new encoder makes, from that frame on."""

    number: int
    first_frame: int


class Outcome(Message, frozen=True, tag="outcome"):
    """To who made an offer: what has become of it at an edge, or of the offer itself where ``edge`` is empty."""

    edge: str = ""
    first_frame: int = 0
    picture: int = 0
    reason: str = ""  # why the codec in use stays
    open: int = 0  # edges whose outcome is still to come


class Align(Message, frozen=True, tag="align"):
    """The server orders an edge's stream, where radios have clocks of their own. Replaces the order before."""

    number: int
    frames: bool  # False: access bursts, of this order's variant
    delay_samples: float  # in all, since the edge's stream began
    trim_hz: float  # that the server measured of the edge's carrier beyond its own correction, in all


class Aligned(Message, frozen=True, tag="aligned"):
    """An edge's answer to Align: its stream stands where that says, from this frame on."""

    node: str
    number: int
    frame: int


AnyMessage = Union[  # noqa: UP007 - msgspec wants a runtime union on 3.10
    Hello,
    Piece,
    Taken,
    Ready,
    Start,
    Stop,
    Heartbeat,
    Result,
    ResultFile,
    Changed,
    PublicSet,
    Pair,
    Installed,
    Ask,
    Upload,
    Refusal,
    Offer,
    Install,
    Prepared,
    Confirm,
    Outcome,
    Align,
    Aligned,
]

ALL_SAY = (Hello, Heartbeat, Ready, Stop)
MAY_SAY: dict[str, tuple[type[Message], ...]] = {
    "edge": (*ALL_SAY, Result, ResultFile, Installed, Upload, Refusal, Prepared, Aligned),
    "air": (*ALL_SAY, Result, ResultFile, Changed),
    "observer": ALL_SAY,  # hears what all hear, changes nothing
    "operator": (*ALL_SAY, Offer),  # a person at the server's machine: brings codecs to a run that goes on
}
