"""A recorded session received again, in one process: losses, refused headers and all that counts come out alike."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from edge.transmitter import LEAD_SAMPLES, Transmitter
from server.node import BLOCK_SAMPLES
from server.session import Session, open_session
from testbed.codec.registry import open_codec
from testbed.config import Scenario, ServerConfig, dump
from testbed.errors import DataError, ScenarioError
from testbed.experiments import replay as replaying
from testbed.experiments.evaluate import evaluate
from testbed.experiments.resolve import resolve
from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.simulate import make_medium
from testbed.experiments.tasks import sources
from testbed.phy.frame import build_frame
from testbed.phy.header import Header
from testbed.radio.base import RadioEvent, RxBlock
from testbed.radio.sigmf_recording import Recording
from testbed.record.captures import Description
from testbed.record.folder import RECORDING, SCENARIO, RunFolder, node_name
from testbed.record.recorder import Recorder
from testbed.record.schema import metrics_bytes, read_result
from testbed.report.make import make_report
from tests.replays import replayed

LOST = (17_000, 4000)  # the preamble of the second frame, and more


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """Two small pictures of each of two users, over one path each."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(3)
    for number in range(4):
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        small.resize((128, 96), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return open_scenario("two-users", ["record=true", "air.channel=AWGN"], 4, str(folder))


def on_air(scenario: Scenario) -> tuple[np.ndarray, dict[str, dict[str, object]]]:
    """What both antennas receive, and what the nodes hand in; behind user 0's last frame one whose header claims a
    picture that its codec cannot have."""
    streams, nodes = {}, {}
    codec = open_codec(scenario.codec.name)
    for edge in scenario.edges:
        transmitter = Transmitter(scenario.waveform, edge.user, codec)
        pictures = sources(scenario, edge, codec.sides)
        pieces = [piece[0] for piece in transmitter.stream(pictures)]
        if not edge.user:
            identity, frame = codec.identity, transmitter.frames_sent
            header = Header(
                user=0, frame=frame, picture=9, part=0, codec=identity.number, codec_hash=identity.digest,
                height=96, width=128, k=codec.symbol_count(96, 128) - 16, scale=1.0,
            )  # fmt: skip
            ones = np.ones(scenario.waveform.data_elements, np.complex64)
            pieces.append(build_frame(header, ones, scenario.waveform)[0])
        streams[edge.user] = np.concatenate(pieces)
        nodes[edge.name] = {
            "user": edge.user,
            "channel_uses": sum(len(symbols) for symbols in transmitter.symbols),
            "clipped_samples": transmitter.clipped_samples,
            "pictures": [picture.name for picture in pictures],
            "codecs": [one.label for one in transmitter.codecs],
        }
    nodes[scenario.air.name] = {}
    total = max(map(len, streams.values())) + 2 * scenario.waveform.frame_samples
    padded = {user: np.pad(stream, (0, total - len(stream))) for user, stream in streams.items()}
    medium, block = make_medium(scenario), scenario.air.block_samples
    mixed = [
        medium.mix({user: s[first : first + block] for user, s in padded.items()}, first)
        for first in range(0, total, block)
    ]
    return np.concatenate(mixed, axis=1), nodes


def record_run(folder: RunFolder, scenario: Scenario) -> None:
    """A run as the server leaves it, its radio having lost samples once, and evaluated."""
    nodes = resolve(scenario)
    config = nodes[0].config
    assert isinstance(config, ServerConfig)
    folder.write_bytes(SCENARIO, dump(scenario))
    for node in nodes:
        folder.write_bytes(node_name(node.name), dump(node.config))
    samples, results = on_air(scenario)
    first, count = LOST
    samples[:, first : first + count] = 0
    session: Session = open_session(config, folder, lambda event: None)
    description = Description(rate_hz=config.waveform.sample_rate_hz, antennas=2)
    session.recorder = Recorder(folder.path / RECORDING, description, waits=True)
    for begin in range(0, samples.shape[1], BLOCK_SAMPLES):
        lost = RadioEvent("overflow", first, count, "tried")
        events = (lost,) if begin <= first < begin + BLOCK_SAMPLES else ()
        session.take(RxBlock(samples[:, begin : begin + BLOCK_SAMPLES], begin, events))
    session.results = results
    session.files_refused = 2
    session.finish()
    session.write_summary(complete=True)
    evaluate(folder.path, complete=True, reason="", wall_time_s=1.0)


@pytest.fixture(scope="module")
def run(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    record_run(folder, scenario)
    return folder


Replay = Callable[..., tuple[int, str, Path]]


@pytest.fixture
def replay(run: RunFolder, tmp_path: Path) -> Replay:
    """Replays; its status, all that it said, and the new folder."""

    def receive(*settings: str, path: Path = run.path, scenario: str | None = None) -> tuple[int, str, Path]:
        out = tmp_path / "again"
        return *replayed(path, out, *settings, scenario=scenario), out

    return receive


def test_metrics_come_out_byte_for_byte_with_what_was_lost_and_refused(run: RunFolder, replay: Replay):
    """The run itself lost a frame and refused a header and two files; its replay tells the same, and shows all."""
    known = read_result(run)
    counted = {(one.what, one.unit): one.count for one in known.metrics.counted}
    assert counted["overflow", "samples"] == LOST[1]
    assert counted["refused", "headers"] == 1
    assert counted["refused", "files"] == 2
    assert [user.frames_detected < user.frames_sent for user in known.metrics.users] == [True, True]
    status, words, out = replay()
    assert status == 0
    assert f"metrics: those of {run.path}, byte for byte" in words
    again = read_result(RunFolder(out))
    assert metrics_bytes(again) == metrics_bytes(known)
    assert (again.complete, again.replay_of) == (True, str(run.path))
    for file in sorted((run.path / "received").glob("*.png")):
        assert file.read_bytes() == (out / "received" / file.name).read_bytes()
    assert f"received again from {run.path}" in (out / "report.html").read_text()
    assert "rx.sigmf-collection (SigMF): two antennas" not in (out / "report.html").read_text()


def test_another_receiver_is_shown_beside_the_first(run: RunFolder, replay: Replay):
    """Then metrics differ, and that is no failure."""
    status, words, out = replay("server.estimator=ls")
    assert status == 0
    known, again = (read_result(folder).metrics.users for folder in (run, RunFolder(out)))
    assert all(before.sinr_db_true > after.sinr_db_true for before, after in zip(known, again, strict=True))
    for user in (*known, *again):
        assert f"{user.sinr_db_true:.1f}" in words
        assert f"{user.psnr_db:.2f}" in words


def test_a_sample_that_is_another_is_found_out(run: RunFolder, replay: Replay, tmp_path: Path):
    """A recording whose checksum fits but whose samples are not those of the run: the values that differ are named,
    and the status is 1."""
    other = RunFolder.create(tmp_path, "other")
    for file in (SCENARIO, "result.json", "received/server.json", *run.names("nodes")):
        other.write_bytes(file, run.read_bytes(file))
    recording = Recording(run.path)
    samples = recording.read(0, recording.samples)
    samples[:, 50_000:70_000] *= np.float32(0.5)
    recorder = Recorder(other.path / RECORDING, Description(rate_hz=recording.rate_hz, antennas=2), waits=True)
    recorder.put(RxBlock(samples, 0, tuple(recording.events)))
    recorder.close()
    status, words, _ = replay(path=other.path)
    assert status == 1
    assert "metrics.users.0" in words
    assert f"metrics differ from those of {other.path}" in words


def test_a_recording_of_unknown_origin_is_received_and_not_measured(run: RunFolder, replay: Replay, tmp_path: Path):
    """The same samples without the run: the pictures come out as they did there, no PSNR is claimed, and a report drawn
    later claims none either."""
    status, words, out = replay("server.false_alarms_per_10ms=1e-4", path=run.path / RECORDING, scenario="two-users")
    assert status == 0
    assert "heard in the recording" in words
    for file in sorted((run.path / "received").glob("*.png")):
        assert file.read_bytes() == (out / "received" / file.name).read_bytes()
    result = read_result(RunFolder(out))
    assert (result.metrics.users, result.complete) == ([], False)
    assert result.reason == replaying.NOT_KNOWN
    evaluate(out, complete=False, reason="", wall_time_s=None)
    assert read_result(RunFolder(out)).metrics.users == []


def test_what_made_the_recording_cannot_be_changed(replay: Replay):
    for setting in ("air.snr_db=3.0", "seed=9", "server.antennas=1", "codec.name=other"):
        with pytest.raises(ScenarioError, match=r"a replay may change server.estimator, server.detector"):
            replay(setting)


def test_what_cannot_be_received_is_refused_before_a_folder_is_made(run: RunFolder, replay: Replay, tmp_path: Path):
    """No run; a run that was not recorded; a recording shorter than a frame."""
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(DataError, match="no run folder; a recording by itself is received with --scenario"):
        replay(path=bare)
    for file in (SCENARIO, "received/server.json", *run.names("nodes")):
        RunFolder(bare).write_bytes(file, run.read_bytes(file))
    with pytest.raises(DataError, match="no recording in it"):
        replay(path=bare)
    recorder = Recorder(bare / RECORDING, Description(rate_hz=1.92e6, antennas=2), waits=True)
    recorder.put(RxBlock(np.ones((2, 100), np.complex64), 0))
    recorder.close()
    with pytest.raises(DataError, match="too short: 100 samples; one frame takes"):
        replay(path=bare)
    assert not (tmp_path / "again").exists()


def test_of_a_replay_that_fails_nothing_is_left(run: RunFolder, replay: Replay, tmp_path: Path, monkeypatch):
    """Also where the folder was there before: that stays, empty."""

    def fails(*arguments: object) -> None:
        raise DataError("the disk is gone")

    monkeypatch.setattr(replaying, "receive_again", fails)
    with pytest.raises(DataError, match="the disk is gone"):
        replay()
    assert not (tmp_path / "again").exists()
    (tmp_path / "again").mkdir()
    with pytest.raises(DataError, match="the disk is gone"):
        replay()
    assert list((tmp_path / "again").iterdir()) == []


def test_frames_are_marked_in_every_antennas_recording(run: RunFolder, scenario: Scenario):
    """Each frame that was found at the sample at which it was, and each that was sent where the air delivered it: the
    one that was lost is there too. The receiver finds a frame within 1.5 samples of the mean of its users' arrivals."""
    waveform, truth = scenario.waveform, make_medium(scenario).truth
    trees = [json.loads((run.path / RECORDING / f"rx-{antenna}.sigmf-meta").read_text()) for antenna in range(2)]
    marks = trees[0]["annotations"]
    assert marks == trees[1]["annotations"]
    found = [mark["core:sample_start"] for mark in marks if "semtb:frame" in mark]
    sent = [mark for mark in marks if "semtb:sent" in mark]
    assert len(sent) == sum(user.frames_sent for user in read_result(run).metrics.users) == 8
    arrivals: dict[int, list[float]] = {}
    for mark in sent:
        facts = mark["semtb:sent"]
        number = 2 * facts["picture"] + facts["part"]
        delay = truth.latency_samples + truth.user_delay_samples[facts["user"]]
        arrival = LEAD_SAMPLES + number * waveform.frame_period_samples + delay
        assert facts["arrival_samples"] == pytest.approx(arrival)
        place = round(arrival) if arrival < LOST[0] else max(round(arrival) - LOST[1], LOST[0])
        assert mark["core:sample_start"] == place
        whole = mark["core:sample_count"] == waveform.frame_samples
        assert whole == (number != 1)  # of the second frame the file lacks what was lost
        if whole:
            arrivals.setdefault(number, []).append(arrival - (LOST[1] if number else 0))
    assert found[:3] == pytest.approx([np.mean(arrivals[number]) for number in (0, 2, 3)], abs=1.5)
    assert len(found) == 4  # three of four, and the one whose header is refused
    labels = [mark["core:label"] for mark in marks]
    assert {"overflow", "frame 0", "edge-1 0.0", "edge-2 1.1"} <= set(labels)
    spread = (waveform.occupied_subcarriers + 1) * waveform.spacing_hz
    assert all(m["core:freq_upper_edge"] - m["core:freq_lower_edge"] == spread for m in sent)


def test_the_report_names_the_recording(run: RunFolder):
    page = make_report(run.path).read_text()
    assert "recording/rx.sigmf-collection (SigMF): two antennas" in page
    assert "two segments" in page


def test_a_run_is_measured_without_its_recording(run: RunFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """It was taken away to save room: metrics are the same, and no recording is named. One that is damaged is left as
    it is, with a warning."""
    bare = tmp_path / "bare"
    shutil.copytree(run.path, bare)
    meta = bare / RECORDING / "rx-0.sigmf-meta"
    meta.write_text("{}")
    again = evaluate(bare, complete=True, reason="", wall_time_s=1.0)
    assert metrics_bytes(again) == metrics_bytes(read_result(run))
    assert "frames are not marked in the recording" in caplog.text
    assert meta.read_text() == "{}"
    shutil.rmtree(bare / RECORDING)
    again = evaluate(bare, complete=True, reason="", wall_time_s=1.0)
    assert metrics_bytes(again) == metrics_bytes(read_result(run))
    assert again.recording is not None
    assert again.recording.file == ""
    assert "Recording" not in make_report(bare).read_text()


def test_a_run_that_was_cut_off_before_its_summary_is_received_again(run: RunFolder, replay: Replay, tmp_path: Path):
    """There is nothing to compare with, which is said; the replay is as incomplete as the run was."""
    cut = tmp_path / "cut"
    shutil.copytree(run.path, cut, ignore=shutil.ignore_patterns("server.json", "result.json"))
    status, words, out = replay(path=cut)
    assert status == 0
    assert f"{cut} has no metrics to compare with" in words
    assert read_result(RunFolder(out)).complete is False


def test_values_that_differ_are_named_by_their_place():
    known = {"users": [{"psnr_db": 1.0, "ssim": None}], "counted": [1]}
    again = {"users": [{"psnr_db": 2.0, "ssim": None}], "counted": [1, 2]}
    assert list(replaying.differences(known, again, "metrics")) == [
        "metrics.users.0.psnr_db: 1.0 was recorded, 2.0 is received",
        "metrics.counted: [1] was recorded, [1, 2] is received",
    ]
    assert list(replaying.differences(known, msgspec.json.decode(msgspec.json.encode(known)), "")) == []
