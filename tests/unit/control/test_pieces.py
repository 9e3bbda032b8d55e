"""Messages in pieces: whole again or refused, whatever comes; held is what has arrived, never what was announced."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from testbed.control.bus import pieces
from testbed.control.bus.pieces import Reassembly, in_frames
from testbed.control.messages import MAX_MESSAGE_BYTES, PIECE_BYTES, Piece
from testbed.errors import ProtocolError


def cut(data: bytes) -> list[Piece]:
    return [msgspec.msgpack.decode(frame, type=Piece) for frame in in_frames(data)]


@pytest.fixture
def data(rng: np.random.Generator) -> bytes:
    return rng.bytes(3 * PIECE_BYTES + 17)


@pytest.mark.parametrize("size", [PIECE_BYTES + 1, 2 * PIECE_BYTES, 2 * PIECE_BYTES + 1, 5 * PIECE_BYTES - 1])
def test_what_is_cut_comes_together(rng: np.random.Generator, size: int):
    """Twice in a row, at lengths around whole pieces; no frame is much larger than a piece."""
    reassembly = Reassembly()
    for _ in range(2):
        data = rng.bytes(size)
        whole = [reassembly.take(piece, "edge-1") for piece in cut(data)]
        assert whole[-1] == data
        assert not any(whole[:-1])
        assert max(len(frame) for frame in in_frames(data)) < PIECE_BYTES + 200


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES])
def test_what_fits_one_frame_is_not_cut(size: int):
    assert list(in_frames(bytes(size))) == [bytes(size)]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda p: [p[0], p[2], p[1], p[3]], "piece 2 of a message came where piece 1"),
        (lambda p: [p[0], p[0]], "piece 0 of a message came where piece 1"),
        (lambda p: p[1:], "piece 1 of a message came where piece 0"),
        (lambda p: [p[0], msgspec.structs.replace(p[1], sha256="0" * 64)], "came where piece 1"),
        (lambda p: [p[0], msgspec.structs.replace(p[1], total=2 * PIECE_BYTES)], "came where piece 1"),
        (lambda p: [p[0], msgspec.structs.replace(p[1], data=p[1].data[:-1])], f"has {PIECE_BYTES - 1} bytes, not"),
        (lambda p: [*p[:3], msgspec.structs.replace(p[3], data=bytes(18))], "has 18 bytes, not 17"),
        (lambda p: [*p[:3], msgspec.structs.replace(p[3], data=bytes(17))], "has not the hash"),
        (lambda p: [msgspec.structs.replace(p[0], total=MAX_MESSAGE_BYTES + 1)], "allowed: "),
        (lambda p: [msgspec.structs.replace(p[0], total=-1)], "allowed: "),
        (lambda p: [msgspec.structs.replace(p[0], total=5)], "allowed: "),
    ],
)
def test_what_does_not_fit_is_refused_and_forgotten(data: bytes, spoil, says: str):
    """The peer is named; a good message after it is read."""
    reassembly = Reassembly()
    with pytest.raises(ProtocolError, match=says) as refused:
        for piece in spoil(cut(data)):
            reassembly.take(piece, "edge-1")
    assert "edge-1" in str(refused.value)
    assert reassembly.held_bytes == 0
    assert [reassembly.take(piece, "edge-1") for piece in cut(data)][-1] == data


def test_held_is_what_has_arrived_not_what_was_announced(data: bytes):
    reassembly = Reassembly()
    first = msgspec.structs.replace(cut(data)[0], total=MAX_MESSAGE_BYTES)
    reassembly.take(first, "edge-1")
    assert reassembly.held_bytes == PIECE_BYTES
    assert pieces.MAX_MESSAGE_BYTES == MAX_MESSAGE_BYTES
