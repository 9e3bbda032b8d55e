"""`--record`, `semtb record` and `semtb replay` as typed: whole runs, one that is stopped, and a radio by itself."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sigmf

from testbed.phy.waveform import Waveform
from testbed.radio.sigmf_recording import Recording
from testbed.record.folder import RunFolder
from testbed.record.schema import metrics_bytes, read_result
from tests.addresses import own_address
from tests.replays import replayed
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(180)
Run = Any  # of conftest.py, which pytest loads and nobody imports
LIMIT_S = 120.0
PAGE = Path(__file__).parents[2] / "docs" / "recording.md"
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


def commands(kind: str) -> list[str]:
    """What stands in the page's blocks of this kind, in order."""
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def typed(line: str, folder: Path, *more: str) -> str:
    """What a command of the page prints, typed in this folder."""
    words = shlex.split(line)
    started = {"semtb": SEMTB, "sigmf_validate": (sys.executable, "-m", "sigmf.validate", "-v")}[words[0]]
    found = [w for word in words[1:] for w in (sorted(map(str, folder.glob(word))) if "*" in word else [word])]
    command = [*started, *found, *more]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, (line, done.stderr)
    return f"{done.stdout}{done.stderr}"


def test_what_the_page_types_does_what_it_says(photographs: Path, tmp_path: Path):
    """Every command of docs/recording.md but that of the Pluto, in its order, on small pictures: metrics come out byte
    for byte, a second receiver is shown, a recording alone is received, the validator passes. SigMF's own reader has as
    many samples as were on the air, and those that the server had."""
    lines = [line for block in commands("sh") for line in block.splitlines() if "pluto:" not in line]
    small = ("--images", str(photographs), "--set", "max_pixels=12000")
    words = {line: typed(line, tmp_path, *(small if line.startswith("semtb run") else ())) for line in lines}
    assert len(words) == 5
    run, again, other, heard, validated = (text.replace("\n", " ") for text in words.values())
    assert "recording: runs/first/recording/rx.sigmf-collection; `semtb replay runs/first` receives it again" in run
    assert "metrics: those of runs/first, byte for byte" in again
    assert "by the replay" in other
    assert "heard in the recording" in heard
    assert "Validated all 2 files OK!" in validated
    results = {name: read_result(RunFolder(tmp_path / "runs" / name)) for name in ("first", "again", "ls")}
    known = results["first"]
    assert metrics_bytes(known) == metrics_bytes(results["again"])
    assert metrics_bytes(known) != metrics_bytes(results["ls"])
    assert known.timing.air_time_s is not None
    assert known.recording is not None
    samples = round(known.timing.air_time_s * 1.92e6)
    assert (known.recording.samples, known.recording.segments, known.recording.unrecorded) == (samples, 1, 0)
    folder = tmp_path / "runs" / "first"
    for antenna in range(2):
        read = sigmf.fromfile(str(folder / "recording" / f"rx-{antenna}.sigmf-meta"))
        assert read.sample_count == samples
        with np.load(folder / "received" / "iq.npz") as arrays:
            first = arrays["samples"][antenna]
        assert np.array_equal(read.read_samples(0, len(first)), first)
    (example,) = commands("python")
    done = subprocess.run([sys.executable, "-c", example + "\nprint(len(samples))"], cwd=tmp_path, capture_output=True)
    assert int(done.stdout) == Waveform().frame_samples, done.stderr


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
    """A virtual Pluto, with what it is and how it was tuned: the 0.1 s of docs/recording.md; then until Ctrl-C."""
    uri = f"pluto:ip:{pluto}"
    (line,) = (line for block in commands("sh") for line in block.splitlines() if "pluto:" in line)
    printed = typed(line.replace("127.0.0.2", pluto), tmp_path)
    assert "recorded: captures/noise/rx.sigmf-collection" in printed
    timed = tmp_path / "captures" / "noise"
    validated(timed)
    tree = json.loads((timed / "rx-0.sigmf-meta").read_text())
    assert tree["global"]["semtb:samples"] == 192_000
    assert "PlutoSDR" in tree["global"]["core:hw"]
    assert "serial" in tree["global"]["core:hw"]
    assert [c["core:frequency"] for c in tree["captures"]] == [868e6]
    assert [c["semtb:rx_gain_db"] for c in tree["captures"]] == [40.0]
    samples = Recording(timed).read(0, 192_000)
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
