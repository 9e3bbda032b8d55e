"""Children and their end: whatever happens, nobody stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from testbed.experiments.processes import Ended, Family, last_line
from testbed.experiments.run import Outcome, trouble

LIMIT_S = 30.0  # only ends a broken test

NODE = """
import os, sys, time
from testbed.experiments.stopping import StopRequest
stop = StopRequest(lambda: print("last resort", flush=True))
print(os.getpid(), flush=True)
{body}
"""
PATIENT = NODE.format(body="while not stop(): time.sleep(0.01)\nprint(stop.reason, file=sys.stderr)")
BLOCKED = NODE.format(body="time.sleep(1000)")
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(1000)"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "what must come did not come"
        time.sleep(0.02)


class Lines:
    def __init__(self) -> None:
        self.printed: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        self.printed.append((name, line))

    def of(self, name: str) -> list[str]:
        return [line for who, line in self.printed if who == name]


class Asked:
    """Stands for a StopRequest that nobody made."""

    exit_status = 130
    reason = "Ctrl-C"

    def __call__(self) -> bool:
        return False


def test_all_end_in_order_when_the_family_is_closed(tmp_path: Path):
    lines = Lines()
    with Family(lines) as family:
        for name in ("a", "b"):
            family.start(name, python(PATIENT), tmp_path / f"{name}.log")
        wait_until(lambda: len(lines.printed) == 2)
        assert family.alive() == ["a", "b"]
    assert [ended.status for ended in family.ended()] == [0, 0]
    assert (tmp_path / "a.log").read_text().strip() == "SIGTERM"


def test_who_does_not_listen_is_killed(tmp_path: Path):
    lines = Lines()
    with Family(lines) as family:
        family.start("deaf", python(DEAF), tmp_path / "deaf.log")
        wait_until(lambda: lines.printed)
    assert [ended.status for ended in family.ended()] == [-signal.SIGKILL]


def test_a_node_blocked_in_native_code_ends_itself_and_cleans_up(tmp_path: Path):
    """The last resort runs, and the status is that of SIGTERM, not of SIGKILL: nobody else had to step in."""
    lines = Lines()
    with Family(lines) as family:
        family.start("blocked", python(BLOCKED), tmp_path / "blocked.log")
        wait_until(lambda: lines.printed)
    assert [ended.status for ended in family.ended()] == [143]
    assert lines.of("blocked")[-1] == "last resort"


@pytest.mark.parametrize("code", [PATIENT, BLOCKED], ids=["listens", "blocked"])
def test_children_end_when_their_supervisor_is_killed(tmp_path: Path, code: str):
    """SIGKILL to the supervisor: it can do nothing, its children notice the end of their standard input."""
    supervisor = f"""
import time
from pathlib import Path
from testbed.experiments.processes import Family
with Family(lambda name, line: print(line, flush=True)) as family:
    family.start("child", {python(code)!r}, Path({str(tmp_path)!r}) / "child.log")
    time.sleep(1000)
"""
    parent = subprocess.Popen(python(supervisor), stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs([child], timeout=LIMIT_S)
    assert not alive
    parent.stdout.close()


def test_ctrl_c_in_the_terminal_reaches_only_the_supervisor(tmp_path: Path):
    """Children have a session of their own."""
    lines = Lines()
    with Family(lines) as family:
        family.start("a", python(PATIENT), tmp_path / "a.log")
        wait_until(lambda: lines.printed)
        assert os.getsid(family.children[0].process.pid) != os.getsid(0)


def test_numerical_libraries_of_children_keep_to_one_thread(tmp_path: Path):
    lines = Lines()
    with Family(lines) as family:
        family.start("a", python("import os; print(os.environ['OMP_NUM_THREADS'])"), tmp_path / "a.log")
        wait_until(lambda: not family.alive() and lines.printed)
    assert lines.of("a") == ["1"]


def test_the_last_line_of_a_log_is_its_error(tmp_path: Path):
    log = tmp_path / "x.log"
    log.write_text("10:00 edge-1: ready\n" * 1000 + "DataError: photo.png: not a picture\n\n")
    assert last_line(log) == "DataError: photo.png: not a picture"
    assert last_line(tmp_path / "none.log") == ""


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        # The killed one is to blame, and the server, which said so in its own words, is not.
        (
            [Ended("server", 1, "PeerLost: edge-1 is gone"), Ended("edge-1", -9, "")],
            Outcome(1, "RunIncomplete: edge-1 was ended by SIGKILL"),
        ),
        # Who reports an error of its own is named in its own words.
        (
            [Ended("air", 1, "RunIncomplete: x"), Ended("edge-1", 2, "DataError: photo.png: not a picture")],
            Outcome(2, "DataError: photo.png: not a picture"),
        ),
        ([Ended("air", 1, "KeyError: 'x'")], Outcome(1, "RunIncomplete: air: KeyError: 'x'")),
        ([Ended("air", 3, "")], Outcome(1, "RunIncomplete: air: ended with status 3")),
        ([Ended("air", 0, "done")], None),
    ],
)
def test_of_several_that_ended_the_one_that_began_it_is_named(ended: list[Ended], expected: Outcome | None):
    class Fixed(Family):
        def ended(self) -> list[Ended]:
            return ended

    assert trouble(Fixed(), Asked()) == expected  # type: ignore[arg-type]
