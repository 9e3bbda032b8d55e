"""An edge's side of the live switch: which codec a picture is encoded with, agreed in two phases. No socket, no array.

``Install`` makes an encoder ready beside the one in use, ``Prepared`` names the first frame of a picture that is not
encoded yet, ``Confirm`` of that frame settles it. Until then nothing changes: whatever message is lost, the edge goes
on with the codec in use. Which codec made a frame stands in its header, so the server never has to guess.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from itertools import accumulate

import msgspec

from testbed.background import Background
from testbed.codec.base import Codec
from testbed.control.messages import AnyMessage, Confirm, Install, Prepared
from testbed.errors import CodecError

HOLD_S = 20.0  # for a switch that the scenario plans; longer than the server asks an edge before it gives up
LOOK_S = 0.05

log = logging.getLogger(__name__)


class Change(msgspec.Struct):
    """One switch at this edge."""

    number: int
    asked_frame: int
    codec: Codec | None = None  # None while it loads, and after a refusal
    picture: int = 0  # the first that is encoded with it
    agreed: bool = False
    reason: str = ""
    lapses: int = 0  # confirmations that came too late

    @property
    def settled(self) -> bool:
        """Whether nothing can change it any more."""
        return self.agreed or bool(self.reason)


def first_picture(first_frames: Sequence[int], at_frame: int, earliest: int) -> int | None:
    """The first picture, from ``earliest`` on, whose first frame is not before ``at_frame``; None if there is none."""
    return next((p for p in range(earliest, len(first_frames)) if first_frames[p] >= at_frame), None)


def why_not(new: Codec, current: Codec, sizes: Sequence[tuple[int, int]]) -> str:
    """Why an edge cannot go over to a codec while it sends pictures of these sizes; empty if it can."""
    if new.identity == current.identity:
        return f"{new.identity.label} is in use already"
    if new.kind != current.kind:
        return f"{new.identity.label} is of kind {new.kind}, {current.identity.label} of kind {current.kind}"
    for height, width in sizes:
        if height not in new.sides or width not in new.sides:
            return f"{new.identity.label} takes no pictures of {width} x {height} pixels"
    return ""


def frames_each(codec: Codec, sizes: Sequence[tuple[int, int]], frame_symbols: int) -> list[int]:
    """Frames that pictures of these sizes take."""
    return [-(-codec.symbol_count(*size) // frame_symbols) for size in sizes]


def moved(first_frames: Sequence[int], picture: int, frames: Sequence[int]) -> list[int]:
    """First frames, and one past the last, when the pictures from ``picture`` on take so many frames each."""
    return [*first_frames[:picture], *accumulate(frames[picture:], initial=first_frames[picture])]


def why_no_room(new: Codec, first_frames: Sequence[int], picture: int, frames: Sequence[int], planned: int) -> str:
    """Why a codec does not fit from a picture on into the frames planned before the run; empty if it does."""
    wanted = moved(first_frames, picture, frames)[-1]
    if wanted <= planned:
        return ""
    return (
        f"{new.identity.label} from picture {picture} on takes {wanted} frames in all, and {planned} were planned "
        "before the run: begin with the codec that takes more"
    )


class Switching:
    """Answers Install and Confirm, and tells the encoder which codec a picture gets.

    Parameters
    ----------
    name : str
        This edge's.
    codec : Codec
        In use from the start.
    sizes : sequence of (height, width)
        Of the pictures, in the order in which they are sent.
    first_frames : sequence of int
        The number of each picture's first frame.
    load : callable
        Makes a codec of an Install, or raises CodecError; called on a thread of its own.
    say : callable
        Sends a message to the server.
    frame_symbols : int
        Data symbols of a frame. A codec may take fewer frames than were planned, not more.
    planned : sequence of int
        Frames before which the scenario plans a switch: the encoder waits there until it is settled, at most
        ``HOLD_S``, so that a run with a planned switch depends on its seed alone.
    clock : callable
    """

    def __init__(
        self,
        name: str,
        codec: Codec,
        sizes: Sequence[tuple[int, int]],
        first_frames: Sequence[int],
        load: Callable[[Install], Codec],
        say: Callable[[AnyMessage], None],
        frame_symbols: int,
        planned: Sequence[int] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.codec = codec
        self.sizes = list(sizes)
        self.first_frames = list(first_frames)
        self._frame_symbols = frame_symbols
        self._frames = self.first_frames[-1] + frames_each(codec, self.sizes[-1:], frame_symbols)[0]
        self.changes: dict[int, Change] = {}
        self.next_picture = 0  # the first whose codec is still open
        self.holding = False
        self._load = load
        self._say = say
        self._planned = list(planned)
        self._clock = clock
        self._begun_at: float | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._loading: list[Background] = []

    def take(self, message: AnyMessage | None) -> None:
        """React to a message of the server; what is not of a switch is passed over. One may come twice."""
        if isinstance(message, Install):
            self._prepare(message)
        elif isinstance(message, Confirm):
            with self._changed:
                change = self.changes.get(message.number)
                if change is not None and (change.settled or change.codec is not None):
                    self._confirm(change, message.first_frame)
        for loading in self._loading:
            loading.finished()  # raises what is no CodecError
        self._loading = [loading for loading in self._loading if not loading.finished()]

    def codec_for(self, picture: int) -> Codec:
        """The codec of the next picture to be encoded; from now on it cannot be changed for this one."""
        with self._changed:
            self._hold(picture)
            self.next_picture = picture + 1
            for change in self.changes.values():
                if change.agreed and change.picture == picture and change.codec is not None:
                    log.info(
                        "frame %d on: %s, before: %s",
                        self.first_frames[picture],
                        change.codec.identity.label,
                        self.codec.identity.label,
                    )
                    self.codec = change.codec
            return self.codec

    def begin(self) -> None:
        """The run has started: from now on a planned switch is late."""
        with self._changed:
            self._begun_at = self._clock()

    def end(self) -> None:
        """Nobody waits here any longer."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def facts(self) -> list[dict[str, object]]:
        """What became of each switch."""
        with self._changed:
            return [
                {
                    "number": change.number,
                    "asked_frame": change.asked_frame,
                    "codec": change.codec.identity.label if change.codec is not None else "",
                    "agreed": change.agreed,
                    "first_frame": self.first_frames[change.picture] if change.agreed else None,
                    "picture": change.picture if change.agreed else None,
                    "reason": change.reason,
                }
                for change in self.changes.values()
            ]

    def _prepare(self, install: Install) -> None:
        with self._changed:
            change = self.changes.get(install.number)
            if change is not None:
                if change.settled or change.codec is not None:
                    self._answer(change)
                return
            self.changes[install.number] = change = Change(install.number, install.at_frame)

        def load() -> None:
            try:
                codec = self._load(install)
            except CodecError as error:
                self._loaded(change, None, str(error))
            else:
                self._loaded(change, codec, "")

        self._loading.append(Background(load, f"switch-{install.number}"))

    def _loaded(self, change: Change, codec: Codec | None, reason: str) -> None:
        with self._changed:
            if codec is not None:
                reason = why_not(codec, self._codec_before(change), self.sizes)
            if reason:
                self._refuse(change, reason)
            else:
                change.codec = codec
                self._choose(change)
            self._answer(change)

    def _codec_before(self, change: Change) -> Codec:
        """What is in use when this change takes effect."""
        agreed = [c for c in self.changes.values() if c.agreed and c.picture >= self.next_picture]
        last = max(agreed, key=lambda c: c.picture, default=None)
        return last.codec if last is not None and last.codec is not None else self.codec

    def _choose(self, change: Change) -> None:
        """Propose a picture; each lapse doubles the distance, so that even a slow bus reaches an agreement."""
        earliest = self.next_picture + 2**change.lapses - 1
        for other in self.changes.values():
            if other.agreed:
                earliest = max(earliest, other.picture + 1)
        picture = first_picture(self.first_frames, change.asked_frame, earliest)
        if picture is None:
            self._refuse(
                change,
                f"too late: no picture that is not encoded yet begins at frame {change.asked_frame} or later; "
                f"{self.next_picture} of {len(self.first_frames)} are encoded; "
                f"edges.{self.name}.ahead_frames says how far ahead",
            )
            return
        assert change.codec is not None
        frames = frames_each(change.codec, self.sizes, self._frame_symbols)
        if reason := why_no_room(change.codec, self.first_frames, picture, frames, self._frames):
            self._refuse(change, reason)
        else:
            change.picture = picture

    def _confirm(self, change: Change, first_frame: int) -> None:
        if not change.settled and first_frame == self.first_frames[change.picture]:
            if change.picture >= self.next_picture:
                change.agreed = True
                assert change.codec is not None
                frames = frames_each(change.codec, self.sizes, self._frame_symbols)
                self.first_frames = moved(self.first_frames, change.picture, frames)[:-1]
                self._changed.notify_all()
            else:
                change.lapses += 1
                self._choose(change)
        self._answer(change)

    def _refuse(self, change: Change, reason: str) -> None:
        change.codec, change.reason = None, reason
        log.warning("switch %d is refused: %s", change.number, reason)
        self._changed.notify_all()

    def _answer(self, change: Change) -> None:
        if change.reason:
            self._say(Prepared(node=self.name, number=change.number, reason=change.reason))
        else:
            self._say(
                Prepared(
                    node=self.name,
                    number=change.number,
                    first_frame=self.first_frames[change.picture],
                    picture=change.picture,
                    agreed=change.agreed,
                )
            )

    def _hold(self, picture: int) -> None:
        since: float | None = None
        while waiting := self._unsettled(picture):
            self.holding = True
            self._changed.notify_all()
            if since is None and self._begun_at is not None:
                since = self._clock()
            if self._ended or (since is not None and self._clock() - since > HOLD_S):
                if not self._ended:
                    log.warning("no agreement on the switch planned for frame %d within %.0f s", waiting[0], HOLD_S)
                self._planned = [frame for frame in self._planned if frame not in waiting]
                break
            self._changed.wait(LOOK_S)
        self.holding = False

    def _unsettled(self, picture: int) -> list[int]:
        """Planned frames that this picture would pass without an agreement."""
        due = [frame for frame in self._planned if frame <= self.first_frames[picture]]
        settled = {change.asked_frame for change in self.changes.values() if change.settled}
        return [frame for frame in due if frame not in settled]
