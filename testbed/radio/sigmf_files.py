"""SigMF's metadata of a recording: how this package names and marks them, and what any of them says, checked.

A recording of several antennas is a collection of recordings, one an antenna: SigMF recommends that for I/Q samples
over ``core:num_channels``, and readers such as inspectrum or GNU Radio's File Source take one stream a file. Channels
that another program interleaved are read, too.

References
----------
SigMF 1.2.6, https://sigmf.org: Dataset Format, Captures Array, Collection Format.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import sigmf
from sigmf.error import SigMFError
from sigmf.sigmffile import dtype_info
from sigmf.validate import validate

from testbed.errors import DataError
from testbed.radio.base import RadioEvent

COLLECTION = "rx.sigmf-collection"
META, DATA = ".sigmf-meta", ".sigmf-data"
DATATYPE = "cf32_le"
EVENT = "semtb:event"  # of an annotation: what a radio told of its samples
SAMPLES = "semtb:samples"  # of the global object: how many the file holds
STREAM_SAMPLES = "semtb:stream_samples"  # of the global object: how many there were, with those that were lost
IN_FOLDER = ("", "recording")  # where a folder's recording lies


class Segment(msgspec.Struct, frozen=True):
    """Samples without a gap: ``start`` in the file, ``position`` in the stream, which counts what is lost, too."""

    start: int
    position: int


def stream_name(antenna: int) -> str:
    """The base name of one antenna's recording."""
    return f"rx-{antenna}"


class Layout(msgspec.Struct, frozen=True):
    """Which samples of a stream lie where in the file."""

    segments: list[Segment]
    recorded: int  # samples in the file

    def place(self, position: int, count: int) -> tuple[int, int]:
        """Where in the file a stretch of the stream begins, and how much of it is there."""
        start = min(self._index(position), self.recorded - 1)
        return start, max(0, min(self._index(position + count), self.recorded) - start)

    def _index(self, position: int) -> int:
        """Where a sample lies; of one that is not there, where the next does."""
        index = 0
        for number, segment in enumerate(self.segments):
            if position < segment.position:
                break
            index = segment.start + position - segment.position
            if number + 1 < len(self.segments):
                index = min(index, self.segments[number + 1].start)
        return index


def stream_files(path: Path) -> list[Path]:
    """The metadata file of each stream of a recording."""
    if path.is_dir():
        for suffix in (".sigmf-collection", META):
            found = sorted(f for inside in IN_FOLDER for f in (path / inside).glob(f"*{suffix}"))
            if len(found) > 1:
                raise DataError(f"{path}: holds {len(found)} recordings: name one, such as {found[0]}")
            if found:
                return stream_files(found[0])
        raise DataError(f"{path}: no recording in it. `semtb run SCENARIO --record` and `semtb record URI` make one")
    if path.suffix == ".sigmf-collection":
        return collection_files(path)
    if path.suffix not in (META, DATA):
        raise DataError(
            f"{path}: no recording; allowed: NAME.sigmf-collection, NAME{META}, NAME{DATA}, or a folder that holds one"
        )
    return [path.with_suffix(META)]


def collection_files(path: Path) -> list[Path]:
    """The metadata files that a collection names, each compared with its hash."""
    tree = read_json(path)
    streams = tree.get("collection", {}).get("core:streams") if isinstance(tree.get("collection"), dict) else None
    if not isinstance(streams, list) or not streams:
        raise DataError(f"{path}: names no recordings (collection, core:streams)")
    names = [stream.get("name") if isinstance(stream, dict) else None for stream in streams]
    wrong = [name for name in names if not isinstance(name, str) or not name or name != Path(name).name]
    if wrong:
        raise DataError(f"{path}: core:streams names {wrong[0]!r}; allowed: plain names of recordings beside it")
    files = [path.with_name(f"{name}{META}") for name in names]
    for file in files:
        read_metadata(file)
    try:
        sigmf.SigMFCollection(metadata=tree, base_path=path.parent)
    except (SigMFError, OSError) as error:
        raise DataError(f"{path}: {error}") from error
    return files


def read_json(path: Path) -> dict[str, Any]:
    """An object in a file of JSON."""
    try:
        tree = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: no recording that can be read: {error.strerror}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(f"{path}: not SigMF: {error}") from error
    if not isinstance(tree, dict):
        raise DataError(f"{path}: not SigMF: no object")
    return tree


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of one recording, checked by SigMF's validator."""
    tree = read_json(path)
    try:
        validate(tree)
    except jsonschema.exceptions.ValidationError as error:
        where = ".".join(str(part) for part in error.absolute_path)
        raise DataError(f"{path}: not SigMF: {where or 'file'}: {error.message}") from error
    return tree


def require_plain(path: Path, metadata: Mapping[str, Any]) -> None:
    """Raise DataError for a recording that says less than is needed, or whose samples are of a kind not read here."""
    information = metadata["global"]
    datatype = information["core:datatype"]
    if not datatype.startswith("c"):
        raise DataError(f"{path}: core:datatype = {datatype}: real samples; allowed: complex ones such as {DATATYPE}")
    if "core:sample_rate" not in information:
        raise DataError(f"{path}: core:sample_rate is missing: without it nothing can be received")
    name = path.with_suffix(DATA).name
    among = information.get("core:trailing_bytes") or any(c.get("core:header_bytes") for c in metadata["captures"])
    if among or information.get("core:dataset", name) != name:
        raise DataError(f"{path}: its samples lie among other bytes; allowed: a plain {name} beside it")


def samples_in(path: Path, information: Mapping[str, Any], channels: int) -> int:
    """How many samples of each channel the file beside ``path`` holds; DataError where it is cut short."""
    data = path.with_suffix(DATA)
    try:
        size = data.stat().st_size
    except OSError as error:
        raise DataError(f"{data}: the samples of {path.name} cannot be read: {error.strerror}") from error
    samples, rest = divmod(size, dtype_info(information["core:datatype"])["sample_size"] * channels)
    for key in (SAMPLES, STREAM_SAMPLES):
        value = information.get(key, 0)
        if not isinstance(value, int) or value < 0:
            raise DataError(f"{path}: {key} = {value!r}: allowed: a number of samples")
    named = information.get(SAMPLES, samples)
    if rest or named != samples:
        what = f"{path.name} names {named}" if named != samples else f"{rest} bytes of another"
        raise DataError(f"{data}: cut short: {samples} whole samples, and {what}")
    if not samples:
        raise DataError(f"{data}: no samples in it")
    return samples


def segments_of(path: Path, metadata: Mapping[str, Any], recorded: int) -> list[Segment]:
    """The capture segments; ``core:global_index`` counts from that of the first on."""
    offset = metadata["global"].get("core:offset", 0)
    segments: list[Segment] = []
    base = 0
    for number, capture in enumerate(metadata["captures"] or [{"core:sample_start": offset}]):
        start = capture["core:sample_start"] - offset
        if not number:
            start, base = 0, capture.get("core:global_index", 0)
        if not 0 <= start < recorded:
            raise DataError(f"{path.with_suffix(DATA)}: cut short: captures.{number} begins at {start} of {recorded}")
        running = segments[-1].position + start - segments[-1].start if segments else 0
        position = capture["core:global_index"] - base if "core:global_index" in capture else running
        if position < running:
            raise DataError(f"{path}: captures.{number}.core:global_index: earlier than the samples before it")
        if not segments or start > segments[-1].start:
            segments.append(Segment(start, position))
    return segments


def events_of(path: Path, metadata: Mapping[str, Any]) -> list[RadioEvent]:
    """What the radio told, in its order; empty for a recording of another program."""

    class Told(msgspec.Struct):
        number: int
        kind: str
        sample: int
        count: int
        detail: str = ""

    try:
        told = [msgspec.convert(a[EVENT], Told) for a in metadata["annotations"] if EVENT in a]
    except msgspec.ValidationError as error:
        raise DataError(f"{path}: annotations: {EVENT}: {error}") from error
    return [RadioEvent(e.kind, e.sample, e.count, e.detail) for e in sorted(told, key=lambda e: e.number)]
