"""Reads the headers of one user from frame to frame: what neighbours tell is used, what cannot be read yet is held.

Frames of one user follow each other at a known distance, and their numbers run on; all frames of a picture carry the
same description. So a frame of a picture that is known needs no decoding, only a test; and where a picture is not known
yet, the soft bits of its frames add up until it is. No radio, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from testbed.errors import ProtocolError
from testbed.phy import polar
from testbed.phy.header import DESCRIPTION, DESCRIPTION_BITS, FRAME_CYCLE, Header, pack_fields, unpack_fields
from testbed.phy.header_code import (
    MAX_DECODES,
    MAX_TRIALS,
    agreement_threshold,
    belongs,
    code_soft_bits,
    codeword,
    decode_description,
    full_number,
    information,
    mark_scores,
)
from testbed.phy.waveform import Waveform

HELD_FRAMES = 32  # a frame that cannot be read waits for so many others, a quarter of a second; then it has no header
FAR_FRAMES = 64  # after so many without one that was read, nothing is predicted any more: clocks have drifted
MISSES = 16  # frames of a known picture in a row that do not agree: this user sends something else, or nothing
WINDOWS = (1, 2, 4, 8, 16, 32)  # last frames whose soft bits are added where it is not known where a picture begins
HOPEFUL = 0.9  # of the bits sought, that soft bits must be able to tell: no code decodes at less than 1
ALIKE = ("version", "kind", "codec", "codec_hash")  # in pictures that follow each other
SIZE = ("height", "width", "k")


class Held(msgspec.Struct):
    """A frame that is not handed on yet."""

    start: int
    soft: np.ndarray
    frame: int | None  # its number if the stream went on as it was
    header: Header | None = None
    settled: bool = False
    trials: int = 0


class Known(msgspec.Struct, frozen=True):
    """What all frames of a picture say, once it was read."""

    description: np.ndarray
    fields: dict[str, int]
    word: np.ndarray
    parts: int

    @property
    def first(self) -> int:
        """Number of its first frame."""
        return self.fields["first"]

    @property
    def end(self) -> int:
        """Number of the frame behind its last."""
        return self.first + self.parts


class HeaderTracker:
    """The headers of one user's frames, in the order of the frames.

    What comes out depends on the frames alone. The probability that a frame is given a header that is not its own is at
    most 1e-6, see `testbed.phy.header_code.wrong_header_bound`: every header passes the test of `agreement` on its own
    frame, at most ``MAX_TRIALS`` are tried on one, and each description passed its CRC.

    Parameters
    ----------
    waveform : Waveform
    user : int
    """

    def __init__(self, waveform: Waveform, user: int) -> None:
        self.waveform = waveform
        self.user = user
        self.decodes = 0  # calls of the polar decoder
        self._threshold = agreement_threshold()
        self._known: Known | None = None
        self._anchor: tuple[int, int] | None = None  # start and number of the last frame that was placed
        self._held: list[Held] = []
        self._scores: np.ndarray | None = None  # of frame numbers, for the last frame of `_run`
        self._run = 0  # frames at the end of `_held` that stand on one grid of time, none of them placed
        self._misses = 0
        self._budget = 0

    def push(self, start: int, soft: np.ndarray) -> list[tuple[int, Header | None]]:
        """Take in the next frame.

        Parameters
        ----------
        start : int
            Its position in the stream, in samples.
        soft : [places] float32
            From `testbed.phy.header_code.header_soft_bits`.

        Returns
        -------
        list of (start, Header or None)
            Frames that are settled now, this one or earlier ones, in order; each frame is once, at most ``HELD_FRAMES``
            frames late. None: it is not known what the frame is.
        """
        self._budget = MAX_DECODES
        held = Held(start, soft, self._predict(start))
        self._held.append(held)
        if self._known is not None and held.frame is not None and held.frame < self._known.end:
            self._follow(held, self._known)
            self._settle(self._held)  # what could not be read before it can be no more
        else:
            self._mark(held)
            while any(not h.settled for h in self._held) and self._resolve():
                pass
        self._settle(self._held[:-HELD_FRAMES])
        return self._settled()

    def finish(self) -> list[tuple[int, Header | None]]:
        """The stream has ended: what is held goes without header."""
        self._settle(self._held)
        return self._settled()

    def expects(self, start: int) -> bool:
        """Whether a frame of this user may begin here, as far as one was read before."""
        return self._on_grid(start) is not None

    def _on_grid(self, start: int) -> int | None:
        """Frames from the last that was placed to ``start``; None if that is no whole number of them, or too many."""
        if self._anchor is None:
            return None
        count = self._steps(self._anchor[0], start)
        return count if count is not None and 1 <= count <= FAR_FRAMES else None

    def _predict(self, start: int) -> int | None:
        """The number of a frame that begins at ``start``, if the stream goes on: by time, else simply the next."""
        if self._anchor is None:
            return None
        if start - self._anchor[0] > FAR_FRAMES * self.waveform.frame_period_samples or self._misses > MISSES:
            self._forget()
            return None
        count = self._on_grid(start)
        return self._anchor[1] + (1 if count is None else count)

    def _forget(self) -> None:
        self._anchor, self._known, self._misses = None, None, 0
        self._scores, self._run = None, 0
        for held in self._held:
            held.frame = None

    def _settle(self, frames: Sequence[Held]) -> None:
        for held in frames:
            held.settled = True

    def _settled(self) -> list[tuple[int, Header | None]]:
        """Take from the front of what is held all that is settled."""
        done = 0
        while done < len(self._held) and self._held[done].settled:
            done += 1
        out = [(h.start, h.header) for h in self._held[:done]]
        del self._held[:done]
        return out

    def _follow(self, held: Held, known: Known) -> None:
        """A frame of a picture that is known: tested; where it does not agree it may be of another stream."""
        assert held.frame is not None
        if self._accept(held, known, held.frame):
            return
        self._misses += 1
        scores = mark_scores(held.soft, self.user)
        self._try([held], [int(np.argmax(scores))], (None,))

    def _accept(self, held: Held, known: Known, frame: int, decoded: bool = False) -> bool:
        """Give a frame the header of frame number ``frame`` of a picture, if it agrees with it.

        Where the description was ``decoded`` from this very frame alone, another picture's is out of question.
        """
        if held.settled or held.trials >= MAX_TRIALS or not known.first <= frame < known.end:
            return False
        held.trials += 1
        agrees, consistent = belongs(held.soft, self.user, frame, known.word, self._threshold)
        if not agrees or not (consistent or decoded):
            return False
        held.header, held.settled, held.frame = Header.of_frame(self.user, frame, known.description), True, frame
        self._anchor, self._misses = (held.start, frame), 0
        return True

    def _mark(self, held: Held) -> None:
        """Add a frame that nothing predicts to those whose number the marks tell together."""
        if held.frame is not None:
            self._scores, self._run = None, 0
            return
        scores = mark_scores(held.soft, self.user)
        count = self._steps(self._held[-2].start, held.start) if self._run and len(self._held) > 1 else None
        if self._scores is not None and count is not None:
            self._scores, self._run = np.roll(self._scores, count) + scores, self._run + 1
        else:
            self._scores, self._run = scores, 1

    def _resolve(self) -> bool:
        """Try to read a picture out of what is held; whether that settled a frame or placed the stream."""
        open_frames = [h for h in self._held if not h.settled]
        last = open_frames[-1]
        if last.frame is not None and self._known is not None:
            return self._resolve_next(open_frames, self._known)
        if self._scores is None:
            return False
        run = open_frames[-self._run :]
        number = int(np.argmax(self._scores))
        steps = [self._steps(h.start, run[-1].start) or 0 for h in run]
        frames = [(number - n) % FRAME_CYCLE for n in steps]
        return any(self._try(run[-n:], frames[-n:], (None,)) for n in WINDOWS if n <= len(run))

    def _resolve_next(self, held: Sequence[Held], known: Known) -> bool:
        """Read a picture that follows one that is known, beginning where that one ended or some alike later."""
        behind = [h for h in held if h.frame is not None and h.frame >= known.end]
        frames = [h.frame for h in behind if h.frame is not None]
        ladder = (*(self._prior(known, 1, size) for size in (True, False)), None)
        if self._try(behind, frames, ladder):
            return True
        ahead = (frames[-1] - known.first) // known.parts
        if ahead > 1:  # pictures of one size each, of which some could not be read
            begin = known.first + ahead * known.parts
            alike = [h for h, f in zip(behind, frames, strict=True) if f >= begin]
            if self._try(alike, frames[-len(alike) :], (self._prior(known, ahead, True),)):
                return True
        if any(self._try(behind[-n:], frames[-n:], (None,)) for n in WINDOWS if n < len(behind)):
            return True
        mark = int(np.argmax(mark_scores(behind[-1].soft, self.user)))  # a stream that began anew
        return mark != frames[-1] % FRAME_CYCLE and self._try(behind[-1:], [mark], (None,))

    def _prior(self, known: Known, ahead: int, size: bool) -> np.ndarray:
        """[DESCRIPTION_BITS] int8: what the ``ahead``-th picture after this one says if it is made alike; -1: open."""
        fields = known.fields | {
            "picture": known.fields["picture"] + ahead,
            "first": known.first + ahead * known.parts,
        }
        known_fields = {*ALIKE, "picture", "first", *(SIZE if size else ())}
        mask = pack_fields({name: (1 << bits) - 1 if name in known_fields else 0 for name, bits in DESCRIPTION.items()})
        return np.where(mask == 1, pack_fields(fields).astype(np.int8), np.int8(-1))

    def _try(self, held: Sequence[Held], frames: Sequence[int], priors: Sequence[np.ndarray | None]) -> bool:
        """Decode the description that these frames carry if their numbers are ``frames``; adopt it if there is one."""
        code = sum(code_soft_bits(h.soft, self.user, f) for h, f in zip(held, frames, strict=True))
        carried = information(np.asarray(code))
        for prior in priors:
            sought = DESCRIPTION_BITS + polar.CRC_BITS - (0 if prior is None else int(np.count_nonzero(prior >= 0)))
            if carried < HOPEFUL * sought or self._budget == 0:
                continue
            self._budget -= 1
            self.decodes += 1
            description = decode_description(np.asarray(code), prior)
            if description is not None and self._adopt(description, held, frames):
                return True
        return False

    def _adopt(self, description: np.ndarray, held: Sequence[Held], frames: Sequence[int]) -> bool:
        """Take a picture for known; settle the frames that are of it, or lie before it."""
        fields = unpack_fields(description)
        parts = self.waveform.frames_for(fields["k"])
        try:
            Header.of_frame(self.user, fields["first"], description)
        except ProtocolError:
            return False
        known = Known(description, fields, codeword(description, len(held[0].soft)), parts)
        numbers = [full_number(f, known.first) for f in frames]
        if not 1 <= parts <= FRAME_CYCLE or numbers[0] >= known.end:
            return False
        self._known, self._scores, self._run = known, None, 0
        self._anchor = (held[-1].start, numbers[-1])
        for h, number in zip(held, numbers, strict=True):
            h.frame = number
        for h in self._held:  # the others stand where time puts them; no number where it puts them nowhere
            if not h.settled and all(h is not other for other in held):
                steps = self._steps(h.start, held[-1].start)
                h.frame = None if steps is None else numbers[-1] - steps
        for h in self._held:
            if h.frame is None or h.frame < known.end:
                if h.frame is not None:
                    self._accept(h, known, h.frame, decoded=len(held) == 1 and h is held[0])
                h.settled = True
        return True

    def _steps(self, start: int, later: int) -> int | None:
        """Frames between two positions, None if that is no whole number of them."""
        period = self.waveform.frame_period_samples
        count = round((later - start) / period)
        near = abs(later - start - count * period) <= 2 * self.waveform.cp_samples
        return count if near and count >= 0 else None
