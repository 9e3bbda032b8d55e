"""Writes what a radio receives as a SigMF recording, on a thread of its own, while it is received."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from testbed.background import Behind
from testbed.errors import DataError
from testbed.files import ASIDE, NEW_FILE, ensure_folder, written
from testbed.radio.base import RadioEvent, RxBlock, Tuning
from testbed.radio.sigmf_files import COLLECTION, DATA, META, Segment, stream_name
from testbed.record.captures import Capture, Description, metadata_of, write_collection, write_metadata
from testbed.record.schema import Recorded
from testbed.record.segmenting import Segmenter

BEHIND_SAMPLES = 4_000_000  # of each antenna that may wait for the disk: 2 s at 1.92 MS/s, 32 MB an antenna
KEEP_FREE_BYTES = 64 << 20  # left on the disk for the run itself, and for the metadata
LOOK_BYTES = 8 << 20  # written between two looks at how much is free
SAMPLE_BYTES = 8
UNRECORDED = "unrecorded"  # kind of event: samples that the disk was too slow for

log = logging.getLogger(__name__)


class Item(msgspec.Struct, frozen=True):
    """A block on its way to the disk."""

    position: int
    samples: np.ndarray
    events: tuple[RadioEvent, ...]
    tuning: Tuning | None  # where it changed


class Output:
    """One antenna's file of samples while it is written: aside, with the checksum of its whole blocks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha512 = hashlib.sha512()
        self._aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}{ASIDE}")
        self._stream = os.fdopen(os.open(self._aside, NEW_FILE, 0o666), "wb", buffering=0)

    def write(self, data: memoryview) -> None:
        """Append; OSError where the file system does not take all of it."""
        while data:
            data = data[self._stream.write(data) :]

    def keep(self, samples: int) -> None:
        """Give the file its name, and no more than so many samples."""
        with self._stream:
            self._stream.truncate(SAMPLE_BYTES * samples)
        os.replace(self._aside, self.path)

    def discard(self) -> None:
        """Leave nothing of it."""
        self._stream.close()
        for path in (self._aside, self.path):
            path.unlink(missing_ok=True)


class Recorder:
    """Records blocks as they come. `put` never raises for the disk: what is not written is counted, and told.

    Samples that the radio lost, which it hands on as zeros, are left out of the files; a capture segment begins behind
    each gap, and wherever an event says that something changed.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    description : Description
    waits : bool
        Whether `put` may wait for a slow disk. A radio that waits for its receiver loses nothing by it. Of another,
        blocks that come while ``BEHIND_SAMPLES`` wait are left out, and an event says so.
    tuning : callable
        Frequency and gain in force; asked at the first block, and where the radio was retuned.
    clock : callable
        Seconds since 1970.

    Attributes
    ----------
    samples : int
        That each file holds.

    Raises
    ------
    DataError
        If the folder cannot be made or written, or too little is free there.
    """

    def __init__(
        self,
        folder: Path,
        description: Description,
        waits: bool,
        tuning: Callable[[], Tuning | None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = ensure_folder(folder)
        self.samples = 0
        self._description = description
        self._waits = waits
        self._tuning = tuning
        self._clock = clock
        # Of the thread that puts:
        self._came = 0  # samples of the stream
        self._left_out = 0
        self._began_s = 0.0
        self._missed: tuple[RadioEvent, ...] = ()  # events that no item carries yet
        self._behind: Behind[Item] | None = None
        # Of the thread that writes:
        self._segmenter = Segmenter()
        self._captures: list[Capture] = []
        self._events: list[RadioEvent] = []
        self._in_force: Tuning | None = None
        self._end = 0  # position behind the last block that was written
        self._unwritten = 0
        self._since_look = LOOK_BYTES
        self._reason = ""  # why recording ended before the stream did
        names = [f"{stream_name(antenna)}{DATA}" for antenna in range(description.antennas)]
        with written(self.folder):
            self._require_room()
            self._outputs = [Output(self.folder / name) for name in names]

    @property
    def ended(self) -> bool:
        """Whether the disk takes no more; why, `close` says."""
        return bool(self._reason)

    def put(self, block: RxBlock) -> None:
        """Record one block, behind the one before.

        Parameters
        ----------
        block : RxBlock
            Its array must not change afterwards.
        """
        count = block.samples.shape[1]
        position, self._came = self._came, self._came + count
        if self._behind is None:
            self._began_s = self._clock() - count / self._description.rate_hz
            self._behind = Behind(self._write, max(1, BEHIND_SAMPLES // max(count, 1)), "record")
        changed = not position or any(event.kind == "retuned" for event in block.events)
        events = (*self._missed, *block.events)
        item = Item(position, block.samples, events, self._tuning() if changed else None)
        if self._waits:
            self._behind.put(item)
        elif not self._behind.offer(item):
            self._leave_out(position, count, events)
            return
        self._missed = ()

    def close(self) -> Recorded:
        """Write what still waits, then the metadata. Nothing may be put after it.

        Returns
        -------
        Recorded
            What there is; without a name where nothing could be kept.
        """
        if self._behind is not None:
            self._behind.close()
        if not self._reason:
            self._events += self._missed
        facts = Recorded(antennas=len(self._outputs), unrecorded=self._left_out + self._unwritten, reason=self._reason)
        if not self.samples:
            self._discard()
            return msgspec.structs.replace(facts, reason=self._reason or "nothing was received")
        stream_samples = self._end if self._reason else self._came
        try:
            with written(self.folder):
                self._finish(stream_samples)
        except DataError as error:
            self._discard()
            log.warning("no recording: %s", error)
            return msgspec.structs.replace(facts, reason=str(error))
        return msgspec.structs.replace(
            facts,
            file=COLLECTION,
            samples=self.samples,
            stream_samples=stream_samples,
            segments=len(self._captures),
        )

    def _finish(self, stream_samples: int) -> None:
        for output in self._outputs:
            output.keep(self.samples)
        for antenna, output in enumerate(self._outputs):
            tree = metadata_of(
                self._description,
                antenna,
                (self.samples, stream_samples),
                output.sha512.hexdigest(),
                self._captures,
                self._events,
            )
            write_metadata(self.folder / f"{stream_name(antenna)}{META}", tree)
        write_collection(self.folder, len(self._outputs))

    def _discard(self) -> None:
        for antenna, output in enumerate(self._outputs):
            output.discard()
            (self.folder / f"{stream_name(antenna)}{META}").unlink(missing_ok=True)

    def _leave_out(self, position: int, count: int, events: tuple[RadioEvent, ...]) -> None:
        """A block finds no room: neighbouring ones become one event."""
        if not self._left_out:
            log.warning("the disk is too slow for %s: samples are left out of the recording", self.folder)
        self._left_out += count
        last = events[-1] if events else None
        if last is not None and last.kind == UNRECORDED and last.sample + last.count == position:
            self._missed = (*events[:-1], msgspec.structs.replace(last, count=last.count + count))
        else:
            self._missed = (*events, RadioEvent(UNRECORDED, position, count, "the disk was too slow"))

    def _write(self, item: Item) -> None:
        """On the thread: one block."""
        if self._reason:
            self._unwritten += item.samples.shape[1]
            return
        changed_at = min((event.sample for event in item.events if event.kind == "retuned"), default=item.position)
        for piece in self._segmenter.pieces(item.position, item.samples, item.events):
            try:
                self._append(piece.samples)
            except OSError as error:
                self._reason = f"{self.folder}: {error.strerror or error}"
                self._unwritten += item.position + item.samples.shape[1] - piece.position
                log.warning("recording ended after %d samples: %s; receiving goes on", self.samples, self._reason)
                return
            if piece.begins:
                tuning = item.tuning if item.tuning and piece.position >= changed_at else self._in_force
                time_s = self._began_s + piece.position / self._description.rate_hz
                self._captures.append(Capture(Segment(self.samples, piece.position), time_s, tuning))
            self.samples += piece.samples.shape[1]
            self._end = piece.position + piece.samples.shape[1]
        self._events += item.events
        self._end = item.position + item.samples.shape[1]
        self._in_force = item.tuning or self._in_force

    def _append(self, samples: np.ndarray) -> None:
        """All antennas' samples, or OSError; what is written of them then is cut off at the end."""
        self._since_look += SAMPLE_BYTES * samples.size
        if self._since_look >= LOOK_BYTES:
            self._since_look = 0
            self._require_room()
        rows = [np.ascontiguousarray(row, dtype="<c8").view(np.uint8).data for row in samples]
        for output, row in zip(self._outputs, rows, strict=True):
            output.write(row)
        for output, row in zip(self._outputs, rows, strict=True):
            output.sha512.update(row)

    def _require_room(self) -> None:
        if shutil.disk_usage(self.folder).free < KEEP_FREE_BYTES:
            raise OSError(errno.ENOSPC, f"less than {KEEP_FREE_BYTES >> 20} MB are free on this disk")
