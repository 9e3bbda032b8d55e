"""`--record`, `semtb record` and `semtb replay` as typed: whole runs, one that is stopped, and a radio by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sigmf

from testbed.radio.sigmf_files import Recording
from testbed.record.folder import RunFolder
from testbed.record.schema import metrics_bytes, read_result
from tests.addresses import own_address
from tests.replays import replayed
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(180)
Run = Any  # of conftest.py, which pytest loads and nobody imports
LIMIT_S = 120.0
SEMTB = (sys.executable, "-m", "testbed.cli.main")


def semtb(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SEMTB, *words], capture_output=True, text=True, timeout=LIMIT_S, check=False, **more)


def validated(folder: Path) -> None:
    """By the command that SigMF's library brings."""
    files = sorted(str(file) for file in folder.glob("*.sigmf-meta"))
    assert len(files) > 0
    done = subprocess.run([sys.executable, "-m", "sigmf.validate", "-v", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"Validated all {len(files)} files OK!" in done.stderr


def test_a_recorded_run_is_replayed_to_the_byte(start_run: Callable[..., Run], photographs: Path, tmp_path: Path):
    """`semtb run two-users --record`, then `semtb replay`: the same metrics, and the validator passes. The recording is
    named at the end of the run; SigMF's own reader has as many samples as were on the air."""
    run = start_run("--images", str(photographs), "--set", "max_pixels=12000", "--record")
    assert run.finish() == 0, run.errors
    assert f"recording: {run.folder}/recording/rx.sigmf-collection; `semtb replay {run.folder}`" in run.output
    validated(run.folder / "recording")
    done = semtb("replay", str(run.folder), "--out", str(tmp_path / "again"))
    assert done.returncode == 0, done.stderr
    assert f"metrics: those of {run.folder}, byte for byte" in done.stdout.replace("\n", " ")
    known, again = (read_result(RunFolder(folder)) for folder in (run.folder, tmp_path / "again"))
    assert metrics_bytes(known) == metrics_bytes(again)
    assert known.timing.air_time_s is not None
    assert known.recording is not None
    samples = round(known.timing.air_time_s * 1.92e6)
    assert (known.recording.samples, known.recording.segments, known.recording.unrecorded) == (samples, 1, 0)
    for antenna in range(2):
        read = sigmf.fromfile(str(run.folder / "recording" / f"rx-{antenna}.sigmf-meta"))
        assert read.sample_count == samples
        with np.load(run.folder / "received" / "iq.npz") as arrays:
            first = arrays["samples"][antenna]
        assert np.array_equal(read.read_samples(0, len(first)), first)


def test_a_run_that_is_stopped_keeps_what_was_recorded(
    start_run: Callable[..., Run], photographs: Path, tmp_path: Path
):
    """Ctrl-C in the middle: a valid recording of exactly what the server had received, and its replay gives what
    `semtb report` works out of the run."""
    lasting = ("--set", "max_pixels=4000", "--set", "repeat=10", "--set", "air.block_samples=64")
    run = start_run("--images", str(photographs), *lasting, "--record")
    run.wait_until(lambda: len(run.lines()) > 4)
    os.kill(run.process.pid, signal.SIGINT)
    assert run.finish() == 130
    validated(run.folder / "recording")
    summary = json.loads((run.folder / "received" / "server.json").read_text())
    assert Recording(run.folder).samples == summary["samples"] > 0
    done = semtb("report", str(run.folder))
    assert done.returncode == 0, done.stderr
    status, words = replayed(run.folder, tmp_path / "again")
    assert (status, "byte for byte" in words) == (0, True), words
    assert read_result(RunFolder(tmp_path / "again")).complete is False


@pytest.fixture
def pluto() -> Iterator[str]:
    """The address of a virtual Pluto that hears itself."""
    address = own_address()
    command = [*SEMTB, "air", "--pluto", address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as air:
        try:
            assert air.stdout is not None
            while address not in air.stdout.readline():
                assert air.poll() is None
            yield address
        finally:
            air.kill()


@pytest.mark.needs("pluto", "libiio")
def test_any_radio_is_recorded_for_a_time_or_until_ctrl_c(pluto: str, tmp_path: Path):
    """A virtual Pluto, with what it is and how it was tuned: exactly 0.1 s; then without an end, until Ctrl-C."""
    uri = f"pluto:ip:{pluto}"
    asked = ("--seconds", "0.1", "--lo-hz", "868e6", "--gain", "40", "--out", str(tmp_path / "timed"))
    done = semtb("record", uri, *asked)
    assert done.returncode == 0, done.stderr
    assert f"recorded: {tmp_path}/timed/rx.sigmf-collection" in done.stdout.replace("\n", "")
    validated(tmp_path / "timed")
    tree = json.loads((tmp_path / "timed" / "rx-0.sigmf-meta").read_text())
    assert tree["global"]["semtb:samples"] == 192_000
    assert "PlutoSDR" in tree["global"]["core:hw"]
    assert "serial" in tree["global"]["core:hw"]
    assert [c["core:frequency"] for c in tree["captures"]] == [868e6]
    assert [c["semtb:rx_gain_db"] for c in tree["captures"]] == [40.0]
    samples = Recording(tmp_path / "timed").read(0, 192_000)
    assert 0 < np.abs(samples).max() < 0.1  # noise alone: nobody sends
    out = tmp_path / "endless"
    with subprocess.Popen([*SEMTB, "record", uri, "--out", str(out)], stdout=subprocess.PIPE, text=True) as recording:
        try:
            wait_until(lambda: any(file.stat().st_size for file in out.glob("*.tmp")))
            recording.send_signal(signal.SIGINT)
            words = recording.communicate(timeout=LIMIT_S)[0]
        finally:
            recording.kill()
    assert recording.returncode == 0
    assert "recorded: " in words
    validated(out)
    assert Recording(out).samples > 0


def test_a_radio_that_does_not_answer_leaves_no_recording(tmp_path: Path):
    """One line, and nothing on the disk; an existing folder is not written into."""
    done = semtb("record", "zmq:rx_port=tcp://127.0.0.1:9", "--seconds", "1", "--out", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "PeerUnreachable" in done.stderr
    assert not (tmp_path / "none").exists()
    (tmp_path / "kept").write_text("x")
    done = semtb("record", "zmq:rx_port=tcp://127.0.0.1:9", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "is there already and not empty" in done.stderr
