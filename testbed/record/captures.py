"""The SigMF metadata of a recording made here: built, checked by SigMF's validator, written whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import msgspec
import sigmf

from testbed.files import write_aside
from testbed.radio.base import RadioEvent, RadioIdentity, Tuning
from testbed.radio.sigmf_files import (
    COLLECTION,
    DATATYPE,
    EVENT,
    META,
    SAMPLES,
    STREAM_SAMPLES,
    Layout,
    Segment,
    read_json,
    stream_files,
    stream_name,
)

NAMESPACE = {"name": "semtb", "version": "1.0.0", "optional": True}  # of keys that SigMF's core has not
LABEL_CHARACTERS = 20  # SigMF asks that a label be no longer
Annotation = dict[str, Any]


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a recording as a whole."""

    rate_hz: float
    antennas: int
    radio: str = ""  # its URI
    hardware: str = ""  # model, serial and firmware
    text: str = ""
    calibration: list[str] = []  # ids of the records that were applied
    more: dict[str, Any] = {}  # keys of our own, without their namespace


class Capture(msgspec.Struct, frozen=True):
    """A segment, and with which frequency and gain it was received; the time is that of this machine's clock."""

    segment: Segment
    time_s: float
    tuning: Tuning | None = None


def hardware_of(identity: RadioIdentity) -> str:
    """Model, serial and firmware in words; of a radio that has none of them, what kind it is."""
    known = [identity.model, identity.serial and f"serial {identity.serial}", identity.firmware]
    return ", ".join(part for part in known if part) or f"{identity.scheme}, no hardware"


def timestamp(time_s: float) -> str:
    """A time since 1970 as SigMF wants it: RFC 3339, in UTC."""
    return datetime.fromtimestamp(time_s, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def capture_of(capture: Capture) -> dict[str, Any]:
    """One entry of SigMF's captures."""
    out: dict[str, Any] = {
        "core:sample_start": capture.segment.start,
        "core:global_index": capture.segment.position,
        "core:datetime": timestamp(capture.time_s),
    }
    tuning = capture.tuning or Tuning()
    if tuning.lo_hz is not None:
        out["core:frequency"] = tuning.lo_hz
    if tuning.rx_gain_db is not None:
        out["semtb:rx_gain_db"] = tuning.rx_gain_db
    return out


def annotation(layout: Layout, position: int, count: int, label: str, **more: Any) -> Annotation:
    """One entry of SigMF's annotations.

    Parameters
    ----------
    layout : Layout
    position, count : int
        Of the stream, with what was lost.
    label : str
        Cut to what SigMF allows.
    **more
        Keys of SigMF's core without their namespace, such as ``comment``.
    """
    start, there = layout.place(position, count)
    return {
        "core:sample_start": start,
        "core:sample_count": there,
        "core:label": label[:LABEL_CHARACTERS],
        "core:generator": "semtb",
        **{f"core:{key}": value for key, value in more.items()},
    }


def event_annotation(layout: Layout, number: int, event: RadioEvent) -> Annotation:
    """What a radio told of its samples; ``number`` keeps the order in which it did."""
    counted = max(event.count, 0)
    told = {"number": number} | {name: getattr(event, name) for name in ("kind", "sample", "count", "detail")}
    words = f"{event.kind}: {event.count} at {event.sample}" + (f", {event.detail}" if event.detail else "")
    return annotation(layout, event.sample, counted, event.kind, comment=words) | {EVENT: told}


def metadata_of(
    description: Description,
    antenna: int,
    samples: tuple[int, int],
    sha512: str,
    captures: Sequence[Capture],
    events: Sequence[RadioEvent],
) -> dict[str, Any]:
    """The metadata of one antenna's recording.

    Parameters
    ----------
    description : Description
    antenna : int
    samples : (int, int)
        How many the file holds, and how many there were with those that were lost.
    sha512 : str
        Of the file, in hexadecimal.
    captures : sequence of Capture
    events : sequence of RadioEvent

    Returns
    -------
    dict
    """
    layout = Layout([capture.segment for capture in captures], samples[0])
    marks = [event_annotation(layout, number, event) for number, event in enumerate(events)]
    information = {
        "core:datatype": DATATYPE,
        "core:sample_rate": description.rate_hz,
        "core:num_channels": 1,
        "core:hw": description.hardware,
        "core:description": description.text,
        "core:recorder": f"semtb {packages.version('semcom-testbed')}",
        "core:collection": Path(COLLECTION).stem,
        "core:sha512": sha512,
        "core:extensions": [NAMESPACE],
        SAMPLES: samples[0],
        STREAM_SAMPLES: samples[1],
        "semtb:antenna": antenna,
        "semtb:antennas": description.antennas,
        "semtb:radio": description.radio,
        "semtb:calibration": description.calibration,
        **{f"semtb:{key}": value for key, value in description.more.items()},
    }
    return {
        "global": {key: value for key, value in information.items() if value not in ("", [])},
        "captures": [capture_of(capture) for capture in captures],
        "annotations": in_order(marks),
    }


def in_order(annotations: Sequence[Annotation]) -> list[Annotation]:
    """As SigMF wants them: by the sample at which each begins."""
    return sorted(annotations, key=lambda one: one["core:sample_start"])


def write_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Write one ``.sigmf-meta``, whole or not at all; what SigMF's validator refuses is a fault of ours.

    Raises
    ------
    DataError
        If the file system does not take it.
    """
    file = sigmf.SigMFFile(metadata=dict(metadata))
    file.validate()
    write_aside(path, file.dumps().encode() + b"\n")


def write_collection(folder: Path, antennas: int) -> None:
    """Write the collection that names all antennas' recordings, each with the hash of its metadata."""
    names = [f"{stream_name(antenna)}{META}" for antenna in range(antennas)]
    collection = sigmf.SigMFCollection(names, base_path=folder)
    write_aside(folder / COLLECTION, collection.dumps().encode() + b"\n")


def annotate(folder: Path, marks: Sequence[Annotation]) -> None:
    """Put annotations beside a recording's events, in place of those that were there.

    Parameters
    ----------
    folder : Path
        Of a recording that this package made.
    marks : sequence of dict
        Of `annotation`.

    Raises
    ------
    DataError
        If the recording cannot be read or written.
    """
    files = stream_files(folder)
    for file in files:
        tree = read_json(file)
        kept = [one for one in tree["annotations"] if EVENT in one]
        write_metadata(file, tree | {"annotations": in_order([*kept, *marks])})
    write_collection(folder, len(files))
