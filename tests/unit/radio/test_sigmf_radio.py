"""Recordings of other programs are received; what is damaged, cut short or of another kind is refused at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sigmf

from testbed.errors import DataError, PeerLost, RadioError
from testbed.radio.base import RadioEvent, RadioSettings
from testbed.radio.registry import check_uri, open_radio
from testbed.radio.sigmf_recording import Recording

RATE_HZ = 1e6
COUNT = 1000


def made(folder: Path, samples: np.ndarray, datatype: str, captures: list[dict] | None = None, **more: object) -> Path:
    """A recording as SigMF's own library writes it, without a word of ours."""
    data = folder / "foreign.sigmf-data"
    samples.tofile(data)
    information = {"core:datatype": datatype, "core:sample_rate": RATE_HZ, "core:hw": "theirs"}
    file = sigmf.SigMFFile(data_file=data, global_info=information | {f"core:{k}": v for k, v in more.items()})
    for capture in captures or [{"core:sample_start": 0}]:
        start = capture["core:sample_start"]
        file.add_capture(start, metadata={key: value for key, value in capture.items() if key != "core:sample_start"})
    file.tofile(str(folder / "foreign.sigmf-meta"))
    return folder / "foreign.sigmf-meta"


def numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal((*shape, 2)) @ [1, 1j]).astype(np.complex64)


@pytest.mark.parametrize("suffix", [".sigmf-meta", ".sigmf-data", ""])
def test_a_recording_of_another_program_is_received(tmp_path: Path, rng: np.random.Generator, suffix: str):
    """By either of its files, or by the folder that holds it; it says what it was made with, and where it ends."""
    samples = numbers(rng, COUNT)
    path = made(tmp_path, samples, "cf32_le")
    named = path.with_suffix(suffix) if suffix else tmp_path
    with open_radio(f"sigmf:{named}", RadioSettings(RATE_HZ, rx_channels=1)) as radio:
        assert radio.identity.model == "theirs"
        assert np.array_equal(radio.receive(COUNT - 1).samples[0], samples[:-1])
        with pytest.raises(PeerLost, match="ends after 1000 samples"):
            radio.receive(2)
        assert radio.receive(1).samples[0, 0] == samples[-1]


def test_fixed_point_samples_are_shares_of_full_scale(tmp_path: Path, rng: np.random.Generator):
    """16 bits, as most programs write what a Pluto gives."""
    codes = rng.integers(-32768, 32768, (COUNT, 2), dtype=np.int16)
    recording = Recording(made(tmp_path, codes, "ci16_le"))
    assert recording.samples == COUNT
    assert np.array_equal(recording.read(0, COUNT)[0], (codes / np.float32(32768)).astype(np.float32) @ [1, 1j])


def test_channels_that_are_interleaved_are_antennas(tmp_path: Path, rng: np.random.Generator):
    samples = numbers(rng, COUNT, 3)
    recording = Recording(made(tmp_path, samples, "cf32_le", num_channels=3))
    assert (recording.antennas, recording.samples) == (3, COUNT)
    assert np.array_equal(recording.read(10, 100), samples[10:110].T)


def test_what_a_recording_leaves_out_is_zeros_and_counts_as_lost(tmp_path: Path, rng: np.random.Generator):
    """Its own count of samples begins anywhere; a segment without one goes on from that before it."""
    samples = numbers(rng, COUNT)
    captures = [
        {"core:sample_start": 0, "core:global_index": 10_000},
        {"core:sample_start": 400, "core:global_index": 10_900},
        {"core:sample_start": 600},
    ]
    path = made(tmp_path, samples, "cf32_le", captures)
    with open_radio(f"sigmf:{path}", RadioSettings(RATE_HZ, rx_channels=1)) as radio:
        blocks = [radio.receive(count) for count in (399, 2, 1099)]
    got = np.concatenate([block.samples[0] for block in blocks])
    assert np.array_equal(got, np.concatenate([samples[:400], np.zeros(500, np.complex64), samples[400:]]))
    lost = RadioEvent("lost", 400, 500, "the recording leaves them out")
    assert [block.events for block in blocks] == [(), (lost,), ()]


def edit(path: Path, change: Callable[[dict], None]) -> None:
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


def marked(path: Path, **more: object) -> None:
    """Give a recording keys of ours, declared as SigMF wants it."""
    extension = {"name": "semtb", "version": "1.0.0", "optional": True}
    keys = {f"semtb:{key}": value for key, value in more.items()}
    edit(path, lambda tree: tree["global"].update({"core:extensions": [extension], **keys}))


BROKEN = {
    "no file": (lambda p: p.unlink(), "no recording that can be read: No such file"),
    "no samples": (lambda p: p.with_suffix(".sigmf-data").unlink(), "samples of foreign.sigmf-meta cannot be read"),
    "empty": (lambda p: p.with_suffix(".sigmf-data").write_bytes(b""), "no samples in it"),
    "not JSON": (lambda p: p.write_text('{"global": '), "not SigMF"),
    "deep JSON": (lambda p: p.write_text("[" * 100_000), "not SigMF"),
    "no object": (lambda p: p.write_text("[]"), "not SigMF: no object"),
    "no version": (lambda p: edit(p, lambda t: t["global"].pop("core:version")), "not SigMF: global: 'core:version'"),
    "no rate": (lambda p: edit(p, lambda t: t["global"].pop("core:sample_rate")), "core:sample_rate is missing"),
    "real": (lambda p: edit(p, lambda t: t["global"].update({"core:datatype": "rf32_le"})), "rf32_le: real samples"),
    "unknown type": (lambda p: edit(p, lambda t: t["global"].update({"core:datatype": "cf16_le"})), "not SigMF"),
    "elsewhere": (
        lambda p: edit(p, lambda t: t["global"].update({"core:dataset": "../../etc/passwd"})),
        "not SigMF|among other bytes",
    ),
    "a header": (
        lambda p: edit(p, lambda t: t["captures"][0].update({"core:header_bytes": 8})),
        "lie among other bytes",
    ),
    "another sample": (
        lambda p: p.with_suffix(".sigmf-data").write_bytes(bytes(8 * COUNT)),
        "does not match associated metadata",
    ),
    "half a sample": (lambda p: p.with_suffix(".sigmf-data").write_bytes(bytes(8 * COUNT - 3)), "cut short: 999 whole"),
    "fewer than captures": (
        lambda p: edit(p, lambda t: t["captures"].append({"core:sample_start": COUNT})),
        "cut short: captures.1 begins at 1000 of 1000",
    ),
    "backwards": (
        lambda p: edit(p, lambda t: t["captures"].append({"core:sample_start": 500, "core:global_index": 499})),
        "captures.1.core:global_index: earlier",
    ),
    "a gap of years": (
        lambda p: edit(p, lambda t: t["captures"].append({"core:sample_start": 500, "core:global_index": 2**62})),
        "at most 600 s of gaps",
    ),
    "a count that lies": (
        lambda p: marked(p, stream_samples=2**62),
        "at most 600 s of gaps",
    ),
    "no count": (lambda p: marked(p, samples="all"), "'all': allowed"),
    "an event of nonsense": (
        lambda p: (
            marked(p, stream_samples=COUNT),
            edit(p, lambda t: t["annotations"].append({"core:sample_start": 0, "semtb:event": {"kind": 3}})),
        ),
        "annotations: semtb:event",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_recording_that_is_not_whole_is_refused_in_one_line(tmp_path: Path, rng: np.random.Generator, how: str):
    """Before a sample is received; the file is named."""
    path = made(tmp_path, numbers(rng, COUNT), "cf32_le")
    breaking, words = BROKEN[how]
    breaking(path)
    with pytest.raises(DataError, match=words) as caught:
        open_radio(f"sigmf:{path}", RadioSettings(RATE_HZ, rx_channels=1))
    assert "foreign.sigmf-" in str(caught.value)
    assert "\n" not in str(caught.value)


def collection(tmp_path: Path, rng: np.random.Generator, counts: tuple[int, int], rates: tuple[float, float]) -> Path:
    names = []
    for antenna, (count, rate_hz) in enumerate(zip(counts, rates, strict=True)):
        numbers(rng, count).tofile(tmp_path / f"a{antenna}.sigmf-data")
        file = sigmf.SigMFFile(
            data_file=tmp_path / f"a{antenna}.sigmf-data",
            global_info={"core:datatype": "cf32_le", "core:sample_rate": rate_hz},
        )
        file.add_capture(0)
        file.tofile(str(tmp_path / f"a{antenna}.sigmf-meta"))
        names.append(f"a{antenna}.sigmf-meta")
    sigmf.SigMFCollection(names, base_path=tmp_path).tofile(str(tmp_path / "all"))
    return tmp_path / "all.sigmf-collection"


def test_a_collection_is_one_radio_with_its_streams_as_antennas(tmp_path: Path, rng: np.random.Generator):
    path = collection(tmp_path, rng, (COUNT, COUNT), (RATE_HZ, RATE_HZ))
    first, second = (np.fromfile(tmp_path / f"a{i}.sigmf-data", np.complex64) for i in range(2))
    assert np.array_equal(Recording(path).read(0, COUNT), [first, second])
    assert Recording(tmp_path).antennas == 2


@pytest.mark.parametrize(
    ("counts", "rates", "words"),
    [((COUNT, COUNT - 1), (RATE_HZ, RATE_HZ), "its recorded is not"), ((9, 9), (1e6, 2e6), "its rate_hz is not")],
)
def test_streams_of_a_collection_must_fit_together(tmp_path: Path, rng: np.random.Generator, counts, rates, words):
    with pytest.raises(DataError, match=words):
        Recording(collection(tmp_path, rng, counts, rates))


@pytest.mark.parametrize("name", ["../a1", "/etc/passwd", "", 7, None])
def test_a_collection_names_nothing_outside_of_its_folder(tmp_path: Path, rng: np.random.Generator, name: object):
    path = collection(tmp_path, rng, (9, 9), (RATE_HZ, RATE_HZ))
    edit(path, lambda tree: tree["collection"]["core:streams"][1].update(name=name))
    with pytest.raises(DataError, match=r"allowed: plain names of recordings beside it"):
        Recording(path)


def test_metadata_that_are_not_those_of_the_collection_are_refused(tmp_path: Path, rng: np.random.Generator):
    path = collection(tmp_path, rng, (9, 9), (RATE_HZ, RATE_HZ))
    edit(tmp_path / "a1.sigmf-meta", lambda tree: tree["global"].update({"core:author": "somebody"}))
    with pytest.raises(DataError, match="does not match"):
        Recording(path)


def test_a_radio_of_another_rate_or_number_of_antennas_is_refused(tmp_path: Path, rng: np.random.Generator):
    path = made(tmp_path, numbers(rng, COUNT), "cf32_le")
    with pytest.raises(RadioError, match=r"recorded at 1e\+06 samples a second; the waveform has 1.92e\+06"):
        open_radio(f"sigmf:{path}", RadioSettings(1.92e6, rx_channels=1))
    with pytest.raises(RadioError, match="recorded with 1 antennas; 2 are asked for"):
        open_radio(f"sigmf:{path}", RadioSettings(RATE_HZ, rx_channels=2))


def test_a_recording_does_not_transmit(tmp_path: Path):
    """Said before anything is looked for on the disk."""
    with pytest.raises(RadioError, match="cannot transmit"):
        check_uri(f"sigmf:{tmp_path}/none", RadioSettings(RATE_HZ, tx_channels=1))
    with pytest.raises(RadioError, match="write sigmf:PATH"):
        check_uri("sigmf:", RadioSettings(RATE_HZ, rx_channels=1))


@pytest.mark.parametrize("what", ["nothing", "two", "text"])
def test_a_folder_or_file_that_is_no_recording_says_what_is_wanted(tmp_path: Path, rng: np.random.Generator, what: str):
    path = tmp_path
    if what == "two":
        for name in ("a", "b"):
            (tmp_path / f"{name}.sigmf-collection").write_text("{}")
    if what == "text":
        path = tmp_path / "notes.txt"
    words = {"nothing": "no recording in it", "two": "holds 2 recordings: name one", "text": "no recording; allowed: "}
    with pytest.raises(DataError, match=words[what]):
        Recording(path)
