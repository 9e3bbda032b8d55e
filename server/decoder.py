"""From separated frames to pictures: parts are put together by their headers, what is lost enters as an erasure."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import numpy as np

from server.pipeline import ReceivedFrame, UserFrame
from testbed.codec.base import Codec
from testbed.errors import CodecError
from testbed.phy.header import Header
from testbed.phy.interleave import deinterleave

MAX_PICTURE_SYMBOLS = 50_000_000  # a header may claim any size; past this nothing is allocated


class ReceivedPicture(msgspec.Struct, frozen=True):
    """A picture as the server recovered it, and how much of it arrived."""

    user: int
    picture: int
    pixels: np.ndarray  # [H, W, 3] uint8
    header: Header
    lost_share: float  # of its symbols
    decode_s: float


class PartialPicture:
    """Symbols of one picture, in the order in which they were sent; what has not come has infinite noise."""

    def __init__(self, header: Header, symbols: int) -> None:
        self.header = header
        self.symbols = np.zeros(symbols, np.complex64)
        self.no_eff = np.full(symbols, np.inf, np.float32)
        self.parts: set[int] = set()

    def add(self, frame: UserFrame, header: Header) -> None:
        """Lay one frame's symbols in their place."""
        size = len(frame.symbols)
        place = slice(header.part * size, min((header.part + 1) * size, len(self.symbols)))
        count = place.stop - place.start
        self.symbols[place] = frame.symbols[:count] * np.float32(header.scale)
        self.no_eff[place] = frame.no_eff[:count] * np.float32(header.scale) ** 2
        self.parts.add(header.part)


class PictureAssembler:
    """Collects frames of all users and decodes a picture as soon as its last part is there."""

    def __init__(self, codec: Codec, clock: Callable[[], float] = time.perf_counter) -> None:
        self.codec = codec
        self.headers_refused = 0
        self._partial: dict[tuple[int, int], PartialPicture] = {}
        self._done: set[tuple[int, int]] = set()
        self._clock = clock

    def add(self, frame: ReceivedFrame) -> list[ReceivedPicture]:
        """Take a frame's symbols; returns the pictures that it completes.

        Raises
        ------
        CodecError
            If a frame was made with a codec that is not this one.
        """
        complete = []
        for part in frame.users:
            header = part.header
            if header is None:
                continue
            self.check_codec(header)
            key = (header.user, header.picture)
            picture = self._partial.get(key)
            if picture is None and key not in self._done:
                picture = self.open_picture(header, len(part.symbols))
                if picture is not None:
                    self._partial[key] = picture
            if picture is None or not same_picture(picture.header, header):
                self.headers_refused += 1
                continue
            picture.add(part, header)
            if len(picture.parts) == header.parts:
                complete.append(self.decode(key))
        return complete

    def finish(self) -> list[ReceivedPicture]:
        """Decode what is left, lost parts as erasures."""
        return [self.decode(key) for key in sorted(self._partial)]

    def check_codec(self, header: Header) -> None:
        """Refuse a frame whose codec this server does not have."""
        ours = self.codec.identity
        if (header.codec, header.codec_hash) != (ours.number, ours.digest):
            raise CodecError(
                f"user {header.user} sends with codec {header.codec}, hash {header.codec_hash:08x}; this server has "
                f"{ours.name} ({ours.number}, hash {ours.digest:08x}). Give both the same: --set codec.name=NAME"
            )

    def open_picture(self, header: Header, frame_symbols: int) -> PartialPicture | None:
        """Room for a picture, if its header agrees with itself."""
        if not (header.height and header.width and header.part < header.parts and np.isfinite(header.scale)):
            return None
        symbols = self.codec.symbol_count(header.height, header.width)
        if symbols > MAX_PICTURE_SYMBOLS or header.parts != -(-symbols // frame_symbols):
            return None
        return PartialPicture(header, symbols)

    def decode(self, key: tuple[int, int]) -> ReceivedPicture:
        """Decode one picture and forget its symbols."""
        picture = self._partial.pop(key)
        self._done.add(key)
        header = picture.header
        begin = self._clock()
        pixels = self.codec.decode(
            deinterleave(picture.symbols), deinterleave(picture.no_eff), header.height, header.width
        )
        lost = float(np.mean(np.isinf(picture.no_eff)))
        return ReceivedPicture(key[0], key[1], pixels, header, lost, self._clock() - begin)


def same_picture(a: Header, b: Header) -> bool:
    """Whether two headers speak of one picture in one way."""
    return (a.height, a.width, a.parts) == (b.height, b.width, b.parts) and b.part < b.parts
