"""A recording as SigMF has it: exact, in segments, checked by the library's validator, whole or not there at all."""

from __future__ import annotations

import errno
import json
import logging
import resource
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sigmf

from testbed.errors import DataError
from testbed.radio.base import RadioEvent, RadioSettings, RxBlock, Tuning
from testbed.radio.registry import open_radio
from testbed.radio.sigmf_files import COLLECTION, Layout, Segment
from testbed.record import recorder as recording
from testbed.record.captures import Description, annotate, annotation
from testbed.record.recorder import Recorder

RATE_HZ = 1.92e6
BLOCK = 5000
NOW_S = 1_780_000_000.0
PATIENCE_S = 20.0  # for what takes milliseconds


def description(antennas: int = 2) -> Description:
    return Description(
        rate_hz=RATE_HZ, antennas=antennas, radio="memory:x", hardware="Radio X", calibration=["dc-1"], more={"seed": 7}
    )


def noise(rng: np.random.Generator, count: int, antennas: int = 2) -> np.ndarray:
    return rng.standard_normal((antennas, count, 2), dtype=np.float32).view(np.complex64)[..., 0]


def feed(recorder: Recorder, samples: np.ndarray, events: list[RadioEvent] | None = None) -> None:
    for first in range(0, samples.shape[1], BLOCK):
        last = first + BLOCK
        riding = tuple(event for event in events or [] if first <= event.sample < last)
        recorder.put(RxBlock(samples[:, first:last], first, riding))


def replayed(folder: Path, samples: int, antennas: int = 2) -> tuple[np.ndarray, list[RadioEvent]]:
    """All that a radio gives back, in blocks of another size."""
    with open_radio(f"sigmf:{folder}", RadioSettings(RATE_HZ, rx_channels=antennas)) as radio:
        blocks = [radio.receive(min(777, samples - first)) for first in range(0, samples, 777)]
    return np.concatenate([b.samples for b in blocks], axis=1), [e for b in blocks for e in b.events]


def metadata(folder: Path, antenna: int = 0) -> dict:
    return json.loads((folder / f"rx-{antenna}.sigmf-meta").read_text())


def valid(folder: Path, antennas: int = 2) -> None:
    """By the library's own reader, which compares checksums, and its validator.

    Its schema of collections is left out: it wants arrays where specification and library write objects.
    """
    for antenna in range(antennas):
        sigmf.fromfile(str(folder / f"rx-{antenna}.sigmf-meta")).validate()
    read = sigmf.fromfile(str(folder / COLLECTION))
    assert read.get_stream_names() == [f"rx-{antenna}" for antenna in range(antennas)]
    read.verify_stream_hashes()
    assert not list(folder.glob("*.tmp"))


def test_what_was_received_comes_back_bit_for_bit_with_its_events(tmp_path: Path, rng: np.random.Generator):
    """Two antennas, a loss over three blocks, a retuning and a foreign answer; the end of the stream lost, too. Numbers
    that no radio sends (a NaN with a payload) come back as they were."""
    samples = noise(rng, 43_210)
    samples[:, 12_000:22_500] = 0
    samples[:, 43_000:] = 0
    samples.view(np.uint32)[0, 5] = 0x7FC01234
    events = [
        RadioEvent("overflow", 12_000, 10_500, "counted"),
        RadioEvent("malformed", 23_000, 2, "not ours"),
        RadioEvent("retuned", 31_000, 0),
        RadioEvent("overflow", 43_000, 210),
    ]
    gains = iter([Tuning(2.4e9, None, 30.0), Tuning(868e6, None, 20.0)])
    recorder = Recorder(tmp_path / "new", description(), True, lambda: next(gains), lambda: NOW_S)
    feed(recorder, samples, events)
    facts = recorder.close()
    assert (facts.samples, facts.stream_samples, facts.segments) == (43_210 - 10_710, 43_210, 3)
    assert (facts.unrecorded, facts.reason, facts.file) == (0, "", COLLECTION)
    valid(recorder.folder)
    got, told = replayed(recorder.folder, 43_210)
    assert got.tobytes() == samples.tobytes()
    assert told == events


def test_a_segment_says_since_when_and_with_which_frequency_and_gain(tmp_path: Path, rng: np.random.Generator):
    """One behind each discontinuity; the index of the stream counts what is not in the file."""
    samples = noise(rng, 30_000)
    samples[:, 6000:7000] = 0
    events = [RadioEvent("overflow", 6000, 1000), RadioEvent("retuned", 21_000, 0)]
    gains = iter([Tuning(2.4e9, None, 30.0), Tuning(868e6, None, 20.0)])
    recorder = Recorder(tmp_path, description(), True, lambda: next(gains), lambda: NOW_S)
    feed(recorder, samples, events)
    recorder.close()
    for antenna in range(2):
        captures = metadata(tmp_path, antenna)["captures"]
        assert [(c["core:sample_start"], c["core:global_index"]) for c in captures] == [
            (0, 0), (6000, 7000), (20_000, 21_000)
        ]  # fmt: skip
        assert [c["core:frequency"] for c in captures] == [2.4e9, 2.4e9, 868e6]
        assert [c["semtb:rx_gain_db"] for c in captures] == [30.0, 30.0, 20.0]
        assert captures[0]["core:datetime"] == "2026-05-28T20:26:39.997396Z"  # a block before it was there
        assert captures[2]["core:datetime"] == "2026-05-28T20:26:40.008333Z"
    information = metadata(tmp_path, 1)["global"]
    assert information["core:hw"] == "Radio X"
    assert information["core:collection"] == "rx"
    assert information["semtb:calibration"] == ["dc-1"]
    assert (information["semtb:antenna"], information["semtb:seed"]) == (1, 7)
    marks = metadata(tmp_path)["annotations"]
    assert [(m["core:label"], m["core:sample_start"], m["core:sample_count"]) for m in marks] == [
        ("overflow", 6000, 0), ("retuned", 20_000, 0)
    ]  # fmt: skip


def test_annotations_are_put_beside_events_and_replace_those_before(tmp_path: Path, rng: np.random.Generator):
    """A frame that lies behind a loss is marked where its samples are in the file; the recording stays valid."""
    samples = noise(rng, 20_000)
    samples[:, 6000:7000] = 0
    recorder = Recorder(tmp_path, description(), True)
    feed(recorder, samples, [RadioEvent("overflow", 6000, 1000)])
    recorder.close()
    layout = Layout([Segment(0, 0), Segment(6000, 7000)], 19_000)
    for label in ("early", "a label that is longer than SigMF allows"):
        marks = [annotation(layout, 9000, 500, label, comment="c"), annotation(layout, 5500, 2000, "across")]
        marks.append(annotation(layout, 19_999, 3000, "behind the end"))
        annotate(tmp_path, marks)
    valid(tmp_path)
    marked = metadata(tmp_path)["annotations"]
    assert [(m["core:label"], m["core:sample_start"], m["core:sample_count"]) for m in marked] == [
        ("across", 5500, 1000),
        ("overflow", 6000, 0),
        ("a label that is long", 8000, 500),
        ("behind the end", 18_999, 1),
    ]
    assert replayed(tmp_path, 20_000)[1] == [RadioEvent("overflow", 6000, 1000)]


@pytest.fixture
def held_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A disk that takes nothing until it is let go; room for two blocks waits before it."""
    go = threading.Event()
    write = recording.Output.write

    def slow(self: recording.Output, data: memoryview) -> None:
        assert go.wait(PATIENCE_S)
        write(self, data)

    monkeypatch.setattr(recording.Output, "write", slow)
    monkeypatch.setattr(recording, "BEHIND_SAMPLES", 2 * BLOCK)
    return go.set


def test_reception_does_not_wait_for_the_disk_and_the_gap_is_an_event(
    tmp_path: Path, rng: np.random.Generator, held_disk: Callable[[], None], caplog: pytest.LogCaptureFixture
):
    """Ten blocks while the disk stands still: `put` returns, so few wait in memory; the others are one event, zeros
    when it is received again, and one warning."""
    samples = noise(rng, 12 * BLOCK)
    recorder = Recorder(tmp_path, description(), waits=False)
    with caplog.at_level(logging.WARNING):
        feed(recorder, samples[:, : 10 * BLOCK])
    held_disk()
    while recorder.samples < 2 * BLOCK:
        pass
    recorder.put(RxBlock(samples[:, 10 * BLOCK : 11 * BLOCK], 0))
    facts = recorder.close()
    kept = facts.samples - BLOCK
    assert kept in (2 * BLOCK, 3 * BLOCK)  # whether the writer had taken its first in time
    assert facts.unrecorded == 10 * BLOCK - kept
    assert len(caplog.records) == 1
    valid(tmp_path)
    got, events = replayed(tmp_path, 11 * BLOCK)
    assert np.array_equal(got[:, :kept], samples[:, :kept])
    assert not got[:, kept : 10 * BLOCK].any()
    assert np.array_equal(got[:, 10 * BLOCK :], samples[:, 10 * BLOCK : 11 * BLOCK])
    assert events == [RadioEvent("unrecorded", kept, 10 * BLOCK - kept, "the disk was too slow")]


def test_a_radio_that_waits_for_its_receiver_is_recorded_whole(
    tmp_path: Path, rng: np.random.Generator, held_disk: Callable[[], None]
):
    """The same disk, let go after a while: nothing is missing."""
    samples = noise(rng, 10 * BLOCK)
    recorder = Recorder(tmp_path, description(), waits=True)
    threading.Timer(0.1, held_disk).start()
    feed(recorder, samples)
    assert recorder.close().unrecorded == 0
    assert np.array_equal(replayed(tmp_path, 10 * BLOCK)[0], samples)


def test_a_full_disk_ends_the_recording_and_keeps_whole_samples(
    tmp_path: Path, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
):
    """The system itself refuses, in the middle of a block: what every antenna has until then is a valid recording."""
    samples = noise(rng, 8 * BLOCK)
    recorder = Recorder(tmp_path, description(), waits=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * 3 * BLOCK + 1001, limits[1]))
    try:
        with caplog.at_level(logging.WARNING):
            feed(recorder, samples)
            recorder._behind.close()  # type: ignore[union-attr] - all is written under the limit
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    facts = recorder.close()
    assert (facts.samples, facts.unrecorded) == (3 * BLOCK, 5 * BLOCK)
    assert facts.reason == f"{tmp_path}: File too large"
    assert [record.getMessage() for record in caplog.records] == [
        f"recording ended after {3 * BLOCK} samples: {tmp_path}: File too large; receiving goes on"
    ]
    valid(tmp_path)
    assert np.array_equal(replayed(tmp_path, 3 * BLOCK)[0], samples[:, : 3 * BLOCK])


def test_the_last_of_a_disk_is_left_for_the_run(tmp_path: Path, rng: np.random.Generator, monkeypatch):
    """Recording does not begin where too little is free, and ends where it becomes so; both say how much is wanted."""
    free = [1 << 30]

    class Usage:
        def __init__(self, path: Path) -> None:
            self.free = free[0]

    monkeypatch.setattr(recording.shutil, "disk_usage", Usage)
    monkeypatch.setattr(recording, "LOOK_BYTES", 1)
    recorder = Recorder(tmp_path / "a", description(), waits=True)
    feed(recorder, noise(rng, BLOCK))
    while recorder.samples < BLOCK:
        pass
    free[0] = 1 << 20
    feed(recorder, noise(rng, BLOCK))
    facts = recorder.close()
    assert (facts.samples, facts.unrecorded) == (BLOCK, BLOCK)
    assert "less than 64 MB are free" in facts.reason
    valid(tmp_path / "a")
    with pytest.raises(DataError, match=r"b: cannot be written: less than 64 MB are free"):
        Recorder(tmp_path / "b", description(), waits=True)


def test_of_nothing_and_of_what_cannot_be_finished_nothing_is_left(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
):
    """No sample came; or the metadata could not be written, without which samples are of no use."""
    facts = Recorder(tmp_path, description(), waits=True).close()
    assert (facts.file, facts.reason) == ("", "nothing was received")
    assert list(tmp_path.iterdir()) == []

    def full(path: Path, tree: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recording, "write_metadata", full)
    recorder = Recorder(tmp_path, description(), waits=True)
    feed(recorder, noise(rng, BLOCK))
    facts = recorder.close()
    assert facts.file == ""
    assert "No space left on device" in facts.reason
    assert list(tmp_path.iterdir()) == []
