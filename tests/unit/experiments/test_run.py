"""What `semtb run` does around its processes: the folder, its tidying, its mark, and what children say."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from rich.progress import Progress

from testbed.errors import CodecError, DataError, RadioError, SemtbError
from testbed.experiments import run as running
from testbed.experiments.processes import Watch
from testbed.experiments.resolve import require_usable
from testbed.experiments.run import make_folder, mark_incomplete, run_scenario, tidy
from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.stopping import SIGNALS, StopRequest
from testbed.experiments.switch import switch_settings
from testbed.record import events
from testbed.record.events import Bound, Warned
from testbed.record.folder import EVENTS, RunFolder
from testbed.record.schema import read_result


def test_what_killed_processes_left_half_written_is_removed(tmp_path: Path):
    """Files written aside are gone; the log ends with its last whole line; everything else is untouched."""
    (tmp_path / "received").mkdir()
    (tmp_path / "received" / "frame-00001.npz.tmp").write_bytes(b"half")
    (tmp_path / "received" / "frame-00000.npz").write_bytes(b"whole")
    (tmp_path / "events.jsonl").write_text('{"frame":0}\n{"frame":1}\n{"fra')
    tidy(RunFolder(tmp_path))
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["events.jsonl", "frame-00000.npz"]
    assert (tmp_path / "events.jsonl").read_text() == '{"frame":0}\n{"frame":1}\n'


@pytest.mark.parametrize("text", ["", '{"frame":0}\n', "half a line"])
def test_tidying_keeps_whole_logs(tmp_path: Path, text: str):
    (tmp_path / "events.jsonl").write_text(text)
    tidy(RunFolder(tmp_path))
    assert (tmp_path / "events.jsonl").read_text() == (text if text.endswith("\n") else "")


def test_an_incomplete_run_says_so_and_why(tmp_path: Path):
    mark_incomplete(RunFolder(tmp_path), open_scenario("two-users", [], 7, None), "air was ended by SIGKILL", 1.5)
    result = read_result(RunFolder(tmp_path))
    assert (result.complete, result.reason, result.seed) == (False, "air was ended by SIGKILL", 7)
    assert result.timing.wall_time_s == 1.5


def test_out_is_the_run_folder_itself_and_must_be_new(tmp_path: Path):
    new = tmp_path / "a" / "b"
    assert make_folder(new, "x").path == new
    assert make_folder(new, "x").path == new  # empty: still new
    (new / "result.json").write_text("{}")
    with pytest.raises(DataError, match="choose a new one"):
        make_folder(new, "x")
    with pytest.raises(DataError, match="--out"):
        make_folder(new / "result.json", "x")
    with pytest.raises(DataError, match="--out"):
        make_folder(new / "result.json" / "below", "x")


def test_without_out_each_run_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names = {make_folder(None, "two-users").path.name for _ in range(3)}
    assert len(names) == 3
    assert all(name.count("-two-users-") == 1 for name in names)


def test_the_bar_is_drawn_from_the_events(tmp_path: Path):
    """Nothing before there are any; then what the server has written; events that say nothing of it are passed over."""
    folder = RunFolder(tmp_path)
    with Progress(disable=True) as bar:
        watch = Watch(folder, bar, "getting ready", "{counted} frames")
        watch.look()
        assert not watch.bound
        folder.append_line(EVENTS, Warned(node="server", text="x"))
        folder.append_line(
            EVENTS, events.Progress(done=500, total=1000, unit="samples", counted=3, counted_unit="frames")
        )
        watch.look()
        assert not watch.bound
        folder.append_line(EVENTS, Bound(control="tcp://127.0.0.1:47000"))
        watch.look()
        assert watch.bound
        assert (bar.tasks[0].completed, bar.tasks[0].total) == (500, 1000)


@pytest.fixture
def stop():
    kept = {number: signal.getsignal(number) for number in SIGNALS}
    yield StopRequest()
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_only_the_first_request_to_stop_counts(stop: StopRequest):
    assert not stop()
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    assert stop()
    assert (stop.reason, stop.exit_status) == ("SIGTERM", 143)


def test_work_that_cannot_look_is_interrupted(stop: StopRequest):
    """While measuring and drawing; before and after it, a signal is only noted."""
    with pytest.raises(KeyboardInterrupt), stop.interrupting():
        os.kill(os.getpid(), signal.SIGINT)
        signal.sigtimedwait([], 5)  # never reached to its end
    assert (stop.reason, stop.exit_status) == ("Ctrl-C", 130)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop.interrupting():
        pytest.fail("what was asked before has to count")


EDGE, OTHER, SERVER = (
    f"{node}.radio=pluto:ip:192.168.2.{i}" for i, node in enumerate(("edges.edge-1", "edges.edge-2", "server"), 1)
)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ([EDGE + ",rx_gain_db=nan", OTHER, SERVER], RadioError, r"rx_gain_db = nan: allowed: -10\.\.73"),
        ([EDGE, OTHER + ",lo_hz=2.4", SERVER], RadioError, "lo_hz = 2.4: allowed"),
        ([EDGE, OTHER, SERVER + ",tx_gain_db=1"], RadioError, "tx_gain_db = 1: allowed"),
        ([EDGE, OTHER, "server.radio=zmq:rx_port=tcp://127.0.0.1:4000"], RadioError, "rx_port1 missing"),
        ([EDGE, OTHER, "server.radio=plutto:ip:192.168.2.3"], RadioError, "Known here"),
        (["codec.name=unheard-of"], CodecError, "'unheard-of': not in the zoo"),
        (switch_settings(["edge-1:no/such/card.json@40"]), CodecError, "no such card"),
        (switch_settings(["edge-2:{damaged}@40"]), CodecError, "do not belong together"),
    ],
    ids=["nan", "frequency", "gain", "ports", "scheme", "codec", "card", "damaged"],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    tmp_path: Path,
    other_codec: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: StopRequest,
    settings: list[str],
    error: type[SemtbError],
    says: str,
):
    """Radios of every node, the run's codec and those that it is to change to: no process, no folder, one line."""
    monkeypatch.setattr(running, "run_processes", lambda *arguments: pytest.fail("processes were started"))
    damaged = tmp_path / "codec" / other_codec.name
    shutil.copytree(other_codec.parent, damaged.parent)
    for file in damaged.parent.glob("*.decoder.onnx"):
        file.write_bytes(b"another")
    changes = [setting.replace("{damaged}", str(damaged)) for setting in settings]
    with pytest.raises(error, match=says) as raised:
        run_scenario("two-users", changes, None, tmp_path / "run", None, stop)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_board_may_have_a_driver_that_is_not_here():
    """Of an edge that is elsewhere only what this machine understands is judged."""
    unknown = open_scenario("two-users", ["edges.edge-1.radio=lime:0", OTHER, SERVER], None, None)
    require_usable(unknown, ("edge-1",))
    for remote in ((), ("edge-2",)):
        with pytest.raises(RadioError, match="unknown scheme"):
            require_usable(unknown, remote)
    wrong = open_scenario("two-users", [EDGE + ",tx_gain_db=9", OTHER, SERVER], None, None)
    with pytest.raises(RadioError, match="tx_gain_db = 9"):
        require_usable(wrong, ("edge-1",))
