"""The frame header: who sent what, and its layout in bits. Its way onto the grid and back is `header_code`."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from testbed.errors import ProtocolError

VERSION = 2
ANALOGUE = 0  # the payload: complex symbols of a codec, taken as they are. Coded bytes would be another kind
FRAME_CYCLE = 4096  # frame numbers are sent modulo this, so that no picture takes more frames
SCALE_STEPS = 1024  # an octave: the scale is a multiple of 0.006 dB
SCALE_ZERO = 2**15

# What all frames of one picture say alike, most predictable first, in bits. The order is also one of protection.
DESCRIPTION = {
    "version": 4,
    "kind": 4,
    "codec": 8,
    "codec_hash": 32,
    "picture": 24,
    "first": 24,
    "height": 16,
    "width": 16,
    "k": 28,
    "scale": 16,
}
DESCRIPTION_BITS = sum(DESCRIPTION.values())
DESCRIPTION_BYTES = -(-DESCRIPTION_BITS // 8)
HEADER_BYTES = 1 + 3 + DESCRIPTION_BYTES  # user, frame, description
MAX_VALUES = {
    "user": 255,
    "frame": 2**24 - 1,
    "picture": 2**24 - 1,
    "part": FRAME_CYCLE - 1,
    "kind": 15,
    "codec": 255,
    "codec_hash": 2**32 - 1,
    "height": 65535,
    "width": 65535,
    "k": 2**28 - 1,
}
LEAST = {"height": 1, "width": 1, "k": 1}


def quantise_scale(scale: float) -> float:
    """The nearest scale that a header can carry: 2^(n / 1024), from 2^-32 to 2^32 (almost).

    Raises
    ------
    ProtocolError
        If it is not positive, not finite, or outside.
    """
    steps = round(math.log2(scale) * SCALE_STEPS) if math.isfinite(scale) and scale > 0 else SCALE_ZERO
    if not -SCALE_ZERO <= steps < SCALE_ZERO:
        raise ProtocolError(f"header.scale = {scale}: allowed: positive and finite, 2^-32 to 2^32")
    return 2.0 ** (steps / SCALE_STEPS)


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver must know of a frame.

    Values out of range raise ProtocolError; ``scale`` is kept as the nearest that can be sent, see `quantise_scale`.
    """

    user: int  # 0..255, the pilot slot of who sent it
    frame: int  # running number of this edge's frames
    picture: int
    part: int  # which of the picture's frames it is, from 0
    codec: int  # number of the codec in the wire's table
    codec_hash: int  # first 32 bits of its digest
    height: int  # pixels, at least 1
    width: int
    k: int  # complex symbols of the whole picture, at least 1
    scale: float  # received symbols times this are what the decoder expects
    kind: int = ANALOGUE  # of payload

    def __post_init__(self) -> None:
        for name, top in MAX_VALUES.items():
            low, value = LEAST.get(name, 0), getattr(self, name)
            if not low <= value <= top:
                raise ProtocolError(f"header.{name} = {value}: allowed: {low}..{top}")
        if self.part > self.frame:
            raise ProtocolError(f"header.part = {self.part}: allowed: 0..{self.frame} (header.frame)")
        msgspec.structs.force_setattr(self, "scale", quantise_scale(self.scale))

    @property
    def first(self) -> int:
        """Number of the frame that carries the picture's part 0."""
        return self.frame - self.part

    def description(self) -> np.ndarray:
        """[DESCRIPTION_BITS] uint8: what all frames of this picture say alike."""
        fields = {name: getattr(self, name) for name in DESCRIPTION if name not in ("version", "scale")}
        steps = round(math.log2(self.scale) * SCALE_STEPS) + SCALE_ZERO
        return pack_fields(fields | {"version": VERSION, "scale": steps})

    @classmethod
    def of_frame(cls, user: int, frame: int, description: np.ndarray) -> Header:
        """The header of frame number ``frame``, given what its picture's frames say alike.

        Parameters
        ----------
        user, frame : int
        description : [DESCRIPTION_BITS] of 0 and 1

        Returns
        -------
        Header

        Raises
        ------
        ProtocolError
            If the version or a value is not one of ours, or the frame lies before the picture.
        """
        fields = unpack_fields(description)
        version, first, scale = fields.pop("version"), fields.pop("first"), fields.pop("scale")
        if version != VERSION:
            raise ProtocolError(f"header.version = {version}: this receiver speaks {VERSION}")
        scale = 2.0 ** ((scale - SCALE_ZERO) / SCALE_STEPS)
        return cls(user=user, frame=frame, part=frame - first, scale=scale, **fields)

    def to_bytes(self) -> bytes:
        """[HEADER_BYTES] for a file: user, frame number, description filled up with zeros."""
        return bytes([self.user]) + self.frame.to_bytes(3, "big") + np.packbits(self.description()).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """Undo `to_bytes`.

        Raises
        ------
        ProtocolError
            If the length, the version or a value is not one of ours; nothing else, whatever the bytes.
        """
        if len(data) != HEADER_BYTES:
            raise ProtocolError(f"header of {len(data)} bytes: version {VERSION} has {HEADER_BYTES}")
        bits = np.unpackbits(np.frombuffer(data[4:], np.uint8))
        if bits[DESCRIPTION_BITS:].any():
            raise ProtocolError("header: its last bits must be zero")
        return cls.of_frame(data[0], int.from_bytes(data[1:4], "big"), bits[:DESCRIPTION_BITS])


def pack_fields(fields: dict[str, int]) -> np.ndarray:
    """[DESCRIPTION_BITS] uint8, each field with its highest bit first."""
    text = "".join(f"{fields[name]:0{bits}b}" for name, bits in DESCRIPTION.items())
    return np.frombuffer(text.encode(), np.uint8) - ord("0")


def unpack_fields(description: np.ndarray) -> dict[str, int]:
    """Undo `pack_fields`."""
    text = (np.asarray(description, np.uint8) + ord("0")).tobytes()
    fields, place = {}, 0
    for name, bits in DESCRIPTION.items():
        fields[name] = int(text[place : place + bits], 2)
        place += bits
    return fields
