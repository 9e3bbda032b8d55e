"""Messages too large for one frame of the bus: cut into pieces, and put together again under bounds. No socket."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from testbed.control.messages import MAX_MESSAGE_BYTES, PIECE_BYTES, Piece
from testbed.errors import ProtocolError


def in_frames(data: bytes) -> Sequence[bytes]:
    """The frames in which an encoded message travels: itself, or its pieces, each encoded."""
    if len(data) <= PIECE_BYTES:
        return (data,)
    sha256 = hashlib.sha256(data).hexdigest()
    parts = [data[first : first + PIECE_BYTES] for first in range(0, len(data), PIECE_BYTES)]
    return [
        msgspec.msgpack.encode(Piece(sha256=sha256, total=len(data), index=index, data=part))
        for index, part in enumerate(parts)
    ]


class Reassembly:
    """The message of one peer that is coming in pieces. It holds what has arrived, never what was announced.

    Attributes
    ----------
    held_bytes : int
        That have arrived of a message which is not whole yet.
    """

    def __init__(self) -> None:
        self.held_bytes = 0
        self._first: Piece | None = None
        self._parts: list[bytes] = []

    def take(self, piece: Piece, peer: str) -> bytes | None:
        """The whole message if this piece was its last, else None.

        Raises
        ------
        ProtocolError
            If the piece is not the next one, or the whole is too large or not what was announced; names ``peer``.
            What had arrived is forgotten.
        """
        try:
            self._check(piece)
        except ProtocolError as error:
            self.forget()
            raise ProtocolError(f"{peer}: {error}") from error
        self._first = self._first or piece
        self._parts.append(piece.data)
        self.held_bytes += len(piece.data)
        if self.held_bytes < piece.total:
            return None
        whole = b"".join(self._parts)
        self.forget()
        if hashlib.sha256(whole).hexdigest() != piece.sha256:
            raise ProtocolError(f"{peer}: a message in pieces has not the hash that was announced")
        return whole

    def forget(self) -> None:
        """Nothing has arrived."""
        self._first, self._parts, self.held_bytes = None, [], 0

    def _check(self, piece: Piece) -> None:
        first = self._first or piece
        if not PIECE_BYTES < piece.total <= MAX_MESSAGE_BYTES:
            raise ProtocolError(
                f"a message in pieces of {piece.total} bytes; allowed: {PIECE_BYTES + 1}..{MAX_MESSAGE_BYTES}"
            )
        if piece.index != len(self._parts) or (piece.sha256, piece.total) != (first.sha256, first.total):
            raise ProtocolError(f"piece {piece.index} of a message came where piece {len(self._parts)} was to come")
        size = min(PIECE_BYTES, piece.total - self.held_bytes)
        if len(piece.data) != size:
            raise ProtocolError(f"piece {piece.index} of a message has {len(piece.data)} bytes, not {size}")
