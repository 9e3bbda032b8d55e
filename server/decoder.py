"""From separated frames to pictures: parts are put together by their headers, what is lost enters as an erasure."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

import msgspec
import numpy as np

from server.pipeline import ReceivedFrame, UserFrame
from testbed.codec.base import Codec
from testbed.errors import CodecError
from testbed.phy.header import ANALOGUE, Header
from testbed.phy.interleave import deinterleave
from testbed.record.folder import RunFolder, logits_name, received_name

log = logging.getLogger(__name__)

OPEN_PICTURES = 4  # of one user: they are sent one after the other, and a header may claim any number
DEADLINE_SAMPLES = 1_920_000  # of the stream, a second: more than frames are held back, and than a pause for a switch


class ReceivedPicture(msgspec.Struct, frozen=True):
    """A picture as the server recovered it, or what it read in it, and how much of it arrived."""

    user: int
    picture: int
    decoded: np.ndarray  # [H, W, 3] uint8, or of a codec of labels [classes] float32 logits
    header: Header
    lost_share: float  # of its symbols
    decode_s: float
    codec: str = ""  # name and hash of the one that decoded it


class PartialPicture:
    """Symbols of one picture, in the order in which they were sent; what has not come has infinite noise."""

    def __init__(self, header: Header, frame_symbols: int) -> None:
        self.header = header
        self.symbols = np.zeros(header.k, np.complex64)
        self.no_eff = np.full(header.k, np.inf, np.float32)
        self.parts = -(-header.k // frame_symbols)
        self.came: set[int] = set()
        self.last_sample = 0  # of the stream, where its last frame that came began

    def add(self, frame: UserFrame, header: Header) -> None:
        """Lay one frame's symbols in their place."""
        size = len(frame.symbols)
        place = slice(header.part * size, min((header.part + 1) * size, len(self.symbols)))
        count = place.stop - place.start
        self.symbols[place] = frame.symbols[:count] * np.float32(header.scale)
        self.no_eff[place] = frame.no_eff[:count] * np.float32(header.scale) ** 2
        self.came.add(header.part)


class PictureAssembler:
    """Collects frames of all users and decodes a picture as soon as its last part is there.

    Frames name the codec that made them. Each picture is decoded with the codec of its frames, whichever others were
    installed since; a frame of a codec that is not here is never decoded. A picture that misses parts is decoded with
    them as erasures once it is over: so long behind its last frame, or when its user has begun ``OPEN_PICTURES`` later
    ones. Both go by the stream, not by a clock.

    Parameters
    ----------
    codec : Codec
        The first; `install` adds others.
    max_pixels : int
        Larger pictures are refused: this bounds what one header can have reserved.
    deadline_samples : int
        Of the stream, behind the last frame of a picture that came.
    clock : callable
        Seconds, for ``decode_s`` only.

    Attributes
    ----------
    headers_refused : int
        Frames whose header contradicts itself, its codec, the picture's first, or ``max_pixels``.
    kinds_refused, codecs_refused : Counter
        Frames of a kind of payload, or of a codec, that is not known here; by user and which.
    """

    def __init__(
        self,
        codec: Codec,
        max_pixels: int = 1_000_000,
        deadline_samples: int = DEADLINE_SAMPLES,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.codecs: dict[tuple[int, int], Codec] = {}
        self.headers_refused = 0
        self.kinds_refused: Counter[str] = Counter()
        self.codecs_refused: Counter[str] = Counter()
        self._max_pixels = max_pixels
        self._deadline_samples = deadline_samples
        self._understood: set[int] = set()  # users of whom a frame's codec was known
        self._partial: dict[tuple[int, int], PartialPicture] = {}
        self._done: set[tuple[int, int]] = set()
        self._clock = clock
        self.install(codec)

    def install(self, codec: Codec) -> None:
        """From now on frames of this codec can be decoded, too."""
        self.codecs[codec.identity.number, codec.identity.digest] = codec

    def add(self, frame: ReceivedFrame) -> list[ReceivedPicture]:
        """Take a frame's symbols; returns the pictures that it completes.

        Raises
        ------
        CodecError
            If a user's very first frame was made with a codec that is not here: that is a mistake of configuration.
            Later such frames are counted in ``codecs_refused``.
        """
        complete = self.finish_late(frame.first_sample)
        for part in frame.users:
            header = part.header
            if header is None or not self.kind_known(header):
                continue
            codec = self.codec_of(header)
            if codec is None:
                continue
            key = (header.user, header.picture)
            picture = self._partial.get(key)
            if picture is None and key not in self._done:
                picture = self.open_picture(header, codec, len(part.symbols))
                if picture is not None:
                    self._partial[key] = picture
                    complete += self.make_room(header.user)
            if picture is None or not same_picture(picture.header, header) or header.part >= picture.parts:
                self.headers_refused += 1
                continue
            picture.add(part, header)
            picture.last_sample = frame.first_sample
            if len(picture.came) == picture.parts:
                complete.append(self.decode(key))
        return complete

    def finish_late(self, sample: int) -> list[ReceivedPicture]:
        """Decode the pictures that are over when the stream has come to ``sample``."""
        late = [k for k, p in self._partial.items() if sample - p.last_sample > self._deadline_samples]
        return [self.decode(key) for key in late]

    def make_room(self, user: int) -> list[ReceivedPicture]:
        """Decode the oldest pictures of a user of whom too many are open."""
        theirs = [key for key in self._partial if key[0] == user]
        return [self.decode(key) for key in theirs[:-OPEN_PICTURES]]

    def kind_known(self, header: Header) -> bool:
        """Whether the payload is of a kind that can be decoded here; counted if not."""
        if header.kind == ANALOGUE:
            return True
        what = f"user {header.user} sends payload of kind {header.kind}"
        self.kinds_refused[what] += 1
        if self.kinds_refused[what] == 1:
            log.warning("%s; known here: %d, analogue symbols. Such frames are counted, not decoded", what, ANALOGUE)
        return False

    def finish(self) -> list[ReceivedPicture]:
        """Decode what is left, lost parts as erasures."""
        return [self.decode(key) for key in sorted(self._partial)]

    def codec_of(self, header: Header) -> Codec | None:
        """The codec that a frame was made with, or None, counted, if it is not here."""
        codec = self.codecs.get((header.codec, header.codec_hash))
        if codec is not None:
            self._understood.add(header.user)
            return codec
        what = f"user {header.user} sends with codec {header.codec}, hash {header.codec_hash:08x}"
        if header.user not in self._understood:
            ours = ", ".join(
                f"{c.identity.name} ({n}, hash {digest:08x})" for (n, digest), c in list(self.codecs.items())
            )
            raise CodecError(f"{what}; this server has {ours}. Give both the same: --set codec.name=NAME")
        self.codecs_refused[what] += 1
        if self.codecs_refused[what] == 1:
            log.warning("%s, which is not here: such frames are counted, not decoded", what)
        return None

    def open_picture(self, header: Header, codec: Codec, frame_symbols: int) -> PartialPicture | None:
        """Room for a picture, if it is as large as its codec makes it, and no larger than pictures may be."""
        if header.height * header.width > self._max_pixels:
            return None
        if header.k != codec.symbol_count(header.height, header.width):
            return None
        return PartialPicture(header, frame_symbols)

    def decode(self, key: tuple[int, int]) -> ReceivedPicture:
        """Decode one picture and forget its symbols."""
        picture = self._partial.pop(key)
        self._done.add(key)
        header = picture.header
        codec = self.codecs[header.codec, header.codec_hash]
        begin = self._clock()
        decoded = codec.decode(deinterleave(picture.symbols), deinterleave(picture.no_eff), header.height, header.width)
        lost = float(np.mean(np.isinf(picture.no_eff)))
        return ReceivedPicture(key[0], key[1], decoded, header, lost, self._clock() - begin, codec.identity.label)


def same_picture(a: Header, b: Header) -> bool:
    """Whether two headers speak of one picture in one way, made with one codec."""
    return all(getattr(a, name) == getattr(b, name) for name in ("height", "width", "k", "codec", "codec_hash", "kind"))


def write_decoded(folder: RunFolder, node: str, picture: ReceivedPicture) -> str:
    """Write what became of a picture into the run folder; returns the file's name."""
    if picture.decoded.ndim == 1:
        name = logits_name(node, picture.picture)
        folder.write_json(name, {"logits": picture.decoded})
        return name
    name = received_name(node, picture.picture)
    folder.write_png(name, picture.decoded)
    return name
