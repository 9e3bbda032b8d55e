"""`semtb deploy` and `semtb run --remote` against a real sshd on this machine: a board in all but its processor."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from rich.console import Console

from testbed.cli import probes
from testbed.deploy import edges as deploying
from testbed.deploy.ssh import Target
from testbed.errors import BoardError
from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.simulate import simulate
from testbed.record.folder import RunFolder
from testbed.record.schema import metrics_bytes, read_result
from tests.sshd import SshServer

pytestmark = [pytest.mark.needs("sshd"), pytest.mark.timeout(180)]
Run = Any  # of conftest.py, which pytest loads and nobody imports
# A shell's background job starts with Ctrl-C ignored, and tests may run in one.
AS_IN_A_TERMINAL: Any = {"start_new_session": True, "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
SEMTB = [sys.executable, "-m", "testbed.cli.main"]
ROOT = Path(__file__).resolve().parents[2]
UNIT = "firmware_configs/systemd/semtb-edge.service"
END_S, MARGIN_S = 3.0, 2.0  # of a run that cannot go on, and for a machine that does much else meanwhile
GONE_S = 8.0  # after the end of a run nothing of it may be left on the board; the limit is for a loaded machine
LASTING = ("--set", "air.block_samples=64")


class Board(SshServer):
    """Beside the server a folder that stands for the board's disk."""

    def __init__(self, folder: Path, sshd: str) -> None:
        super().__init__(folder, sshd)
        self.disk = folder / "disk"

    def reach(self, to: str = "", python: str = sys.executable, disk: str = "", **keys: str) -> list[str]:
        """Options of `semtb deploy` that lead here."""
        options = [word for option in self.ssh_options(**keys) for word in ("--ssh-option", option)]
        place = ["--dir", disk or str(self.disk), "--python", str(self.folder / python)]
        return ["--to", to or f"{self.host}:{self.port}", *place, *options]

    @property
    def remote(self) -> list[str]:
        options = [word for option in self.ssh_options() for word in ("--ssh-option", option)]
        return ["--remote", f"edge-1={self.host}:{self.port}", "--remote-dir", str(self.disk), *options]

    def semtb(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`semtb deploy …` at this board, as typed."""
        command = [*SEMTB, "deploy", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=150, env=os.environ | environment)

    def deploy(self, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
        reuse = ["--reuse-packages", sys.executable]
        return self.semtb("edge-1", *self.reach(), *reuse, "--set", "max_pixels=12000", *more, **environment)

    def processes(self) -> list[psutil.Process]:
        """What runs from the board's disk."""
        found = []
        for process in psutil.process_iter():
            try:
                if any(str(self.disk) in word for word in process.cmdline()) and process.pid != os.getpid():
                    found.append(process)
            except psutil.Error:
                continue
        return [p for p in found if p.name() != "ssh" and "deploy" not in p.cmdline()]

    def standing(self) -> int:
        """The pid of the edge that waits there; 0 if it does not."""
        waiting = [p.pid for p in self.processes() if "--keep" in p.cmdline()]
        return waiting[0] if waiting else 0

    def release(self) -> str:
        releases = [path.name for path in (self.disk / "edge-1" / "releases").iterdir()]
        assert releases == [os.readlink(self.disk / "edge-1" / "current").rpartition("/")[2]]
        return releases[0]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    made = Board(tmp_path_factory.mktemp("board"), probes.ssh_server())
    yield made
    made.stop()
    for left in made.processes():
        left.kill()


@pytest.fixture(scope="module")
def deployed(board: Board) -> Board:
    done = board.deploy()
    assert done.returncode == 0, done.stderr
    (board.folder / "said").write_text(done.stdout)
    return board


def eventually(condition: Callable[[], object]) -> bool:
    """Whether it comes true in the time that is allowed."""
    end = time.monotonic() + GONE_S
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_deployed_edge_is_checked_and_waits_for_a_server(deployed: Board):
    """One command; what is installed comes from the wheel, gives this machine's very bits, and says what it awaits."""
    printed = (deployed.folder / "said").read_text()
    assert "bit-identical" in printed
    assert "running as process" in printed
    release = deployed.disk / "edge-1" / "current"
    ask = [str(release / "venv/bin/python"), "-c", "import testbed; print(testbed.__file__)"]
    where = subprocess.run(ask, capture_output=True, text=True, check=True, cwd="/").stdout
    assert where.startswith(str(deployed.disk))
    assert {path.name for path in release.iterdir()} == {
        *("venv", "codec", "pictures", "edge.toml", "manifest.json", "semtb-edge.service", "board.pyz")
    }
    assert eventually(deployed.standing)
    status = deployed.semtb("status", "edge-1", *deployed.reach())
    assert f"pid {deployed.standing()}" in status.stdout
    assert "tcp://127.0.0.1:24700" in status.stdout
    assert eventually(
        lambda: "waiting for a server" in deployed.semtb("log", "edge-1", *deployed.reach(), "-n", "5").stdout
    )


def test_a_followed_log_goes_on_until_ctrl_c_and_leaves_no_session(deployed: Board):
    """What is there comes at once, what is added comes as it is; then status 130 and an SSH server without children."""
    command = [*SEMTB, "deploy", "log", "edge-1", *deployed.reach(), "--follow"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **AS_IN_A_TERMINAL)
    assert process.stdout is not None
    assert "waiting for a server" in process.stdout.readline()
    with (deployed.disk / "edge-1" / "edge.log").open("a") as log:
        log.write("something new\n")
    assert "something new" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert eventually(lambda: not psutil.Process(deployed.process.pid).children())


def test_a_run_with_an_edge_behind_ssh_gives_the_same_metrics(deployed: Board, start_run: Callable[..., Run]):
    """Byte for byte those of the same scenario in one process; the waiting edge gives way and is back afterwards."""
    small = ["--seed", "5", "--set", "max_pixels=12000"]
    before = deployed.standing()
    run = start_run(*small, *deployed.remote)
    assert run.finish() == 0, run.errors
    scenario = open_scenario("two-users", ["max_pixels=12000"], 5, None)
    result = read_result(RunFolder(run.folder))
    assert metrics_bytes(result) == msgspec.json.encode(simulate(scenario).metrics)
    assert "frames sent" in (run.folder / "logs" / "edge-1.log").read_text()
    assert list((deployed.disk / "edge-1" / "runs").iterdir()) == []
    assert eventually(deployed.standing)
    assert deployed.standing() != before


@pytest.mark.parametrize("how", ["ctrl-c", "killed there", "killed here", "killed between"])
def test_nothing_of_a_run_is_left_on_the_board(
    deployed: Board, start_run: Callable[..., Run], photographs: Path, how: str
):
    """Ctrl-C, SIGKILL to the edge there, to `semtb run` here, to the ssh between, each while frames arrive."""
    run = start_run("--images", str(photographs), *LASTING, *deployed.remote)
    run.wait_until(lambda: len(run.lines()) >= 2)
    here = run.nodes()
    assert sorted(here) == ["air", "edge-2", "server"]
    (runs,) = (deployed.disk / "edge-1" / "runs").iterdir()
    (there,) = [p for p in deployed.processes() if p.cmdline()[-1] == str(runs / "edge.toml")]
    if how == "ctrl-c":
        assert "takes part in a run" in one_line(deployed.deploy())
    if how == "ctrl-c":
        run.process.send_signal(signal.SIGINT)
        assert run.finish() == 130
        assert not there.is_running(), "semtb run says that it has ended when it has"
    elif how == "killed there":
        there.kill()
        assert run.finish() == 1
        assert "edge-1" in run.errors
    elif how == "killed between":
        (ssh,) = [p for p in psutil.Process(run.process.pid).children(recursive=True) if p.name() == "ssh"]
        began = time.monotonic()
        ssh.kill()
        assert run.finish() == 1
        assert time.monotonic() - began < END_S + MARGIN_S
        assert run.errors.strip() == "RunIncomplete: the SSH connection of edge-1 was ended by SIGKILL"
    else:
        run.process.kill()
        run.finish()
    assert eventually(lambda: not there.is_running() and not runs.exists())
    assert eventually(lambda: [p.pid for p in deployed.processes()] == [deployed.standing()])
    assert not psutil.wait_procs(list(here.values()), timeout=GONE_S)[1]
    if how != "killed here":
        assert json.loads((run.folder / "result.json").read_text())["complete"] is False


# Stands for ssh and loses the connection after a million bytes, as a cable does.
CUT = """\
#!{python}
import os, subprocess, sys, threading
ssh = subprocess.Popen(["{ssh}", *sys.argv[1:]], stdin=subprocess.PIPE)
def carry(left):
    while left and (block := os.read(0, min(left, 65536))):
        ssh.stdin.write(block)
        ssh.stdin.flush()
        left -= len(block)
    ssh.stdin.close()
threading.Thread(target=carry, args=(1_000_000,), daemon=True).start()
os._exit(ssh.wait())
"""


@pytest.mark.parametrize("broken", ["copy", "pip", "pictures", "encoder"])
def test_a_broken_deployment_leaves_the_one_before(
    deployed: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
):
    """A copy that is cut off, a package that is not to be had, pictures that are not there, other symbols."""
    assert eventually(deployed.standing)
    release, pid = deployed.release(), deployed.standing()
    if broken == "copy":
        (tmp_path / "ssh").write_text(CUT.format(python=sys.executable, ssh=shutil.which("ssh")))
        (tmp_path / "ssh").chmod(0o755)
        printed = one_line(deployed.deploy(PATH=f"{tmp_path}:{os.environ['PATH']}"))
        assert "bytes are missing" in printed
    elif broken == "pip":
        (tmp_path / "empty-1-py3-none-any.whl").write_bytes(b"")
        printed = one_line(deployed.deploy("--wheelhouse", str(tmp_path), "--with", "no-such-package-anywhere"))
        assert "no-such-package-anywhere" in printed
    elif broken == "pictures":
        printed = one_line(deployed.deploy("--board-images", "/no/such/folder"))
        assert "/no/such/folder" in printed
        assert "as it was" in printed
    else:
        from edge import selfcheck

        symbols = selfcheck.fixed_symbols
        monkeypatch.setattr(selfcheck, "fixed_symbols", lambda codec: symbols(codec) + 2e-4)
        target = Target(
            deployed.host, deployed.port, "", tuple(deployed.ssh_options()), sys.executable, str(deployed.disk)
        )
        wishes = deploying.Wishes(reuse=sys.executable)
        with pytest.raises(BoardError, match=r"differ from this machine's by 2\.0e-04"):
            deploying.deploy(open_scenario("two-users", [], None, None), "edge-1", target, wishes, Console(quiet=True))
    assert deployed.release() == release
    assert deployed.standing() == pid


def test_ctrl_c_while_the_board_installs_leaves_the_one_before(deployed: Board):
    """Status 130; what had been begun there ends and is removed, although nobody is left to ask for it."""
    assert eventually(deployed.standing)
    release, pid = deployed.release(), deployed.standing()
    command = [*SEMTB, "deploy", "edge-1", *deployed.reach(), "--reuse-packages", sys.executable]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **AS_IN_A_TERMINAL)

    def installing() -> list[psutil.Process]:
        return [p for p in deployed.processes() if "venv" in p.cmdline() or "ensurepip" in p.cmdline()]

    end = time.monotonic() + 60
    while not installing():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    releases = deployed.disk / "edge-1" / "releases"
    assert eventually(lambda: [path.name for path in releases.iterdir()] == [release])
    assert [p.pid for p in deployed.processes()] == [pid]


@pytest.mark.parametrize(
    ("arguments", "reach", "says"),
    [
        (["edge-9"], {}, "Its edges: edge-1, edge-2"),
        (["edge-1"], {"to": "root@127.0.0.1:1"}, "cannot be reached"),
        (["edge-1"], {"key": "stranger"}, "ssh-copy-id"),
        (["edge-1"], {"known": "nobody"}, "compare the fingerprint"),
        (["edge-1"], {"python": "no-python3"}, "--python PATH"),
        (["edge-1"], {"python": "python-without-venv"}, "python3-venv"),
        (["edge-1"], {"disk": "/proc/semtb"}, "--dir DIR"),
        (["edge-1"], {"to": "user@host:notaport"}, "write it as user@host"),
        (["edge-1", "--reuse-packages", "/no/such/python3"], {"disk": "{folder}/other"}, "--reuse-packages"),
        (["status", "edge-2"], {}, "semtb deploy edge-2 --to"),
        (["log", "edge-2"], {}, "semtb deploy edge-2 --to"),
        (["remove", "../disk/edge-1"], {"disk": "{folder}/other"}, "no edge has such a name"),
    ],
    ids=["edge", "port", "key", "host-key", "python", "venv", "dir", "to", "reuse", "status", "log", "name"],
)
def test_what_the_user_can_put_right_is_one_line(board: Board, arguments: list[str], reach: dict[str, str], says: str):
    """Status 2, one line that says what to do, and nothing left on the board."""
    hidden = board.folder / "hidden"
    hidden.mkdir(exist_ok=True)
    (hidden / "ensurepip.py").write_text("raise ImportError('as Debian has it')\n")
    bare = board.folder / "python-without-venv"
    bare.write_text(f'#!/bin/sh\nPYTHONPATH={hidden} exec {sys.executable} "$@"\n')
    bare.chmod(0o755)
    own_file = {key: word.format(folder=board.folder) for key, word in reach.items()}
    assert says in one_line(board.semtb(*arguments, *board.reach(**own_file)))
    assert not (board.folder / "other").exists()


def test_an_installation_without_a_checkout_makes_the_same_wheel(deployed: Board, tmp_path: Path):
    """What the board has is an installed distribution: every file of its wheel is that of the one it came from."""
    python = str(deployed.disk / "edge-1" / "current" / "venv/bin/python")
    lines = ["import sys, pathlib", "from testbed.deploy import bundle"]
    make = "\n".join([*lines, "print(bundle.make_wheel(pathlib.Path(sys.argv[1])))"])
    done = subprocess.run([python, "-c", make, str(tmp_path)], capture_output=True, text=True, check=True, cwd="/")
    wheel = zipfile.ZipFile(done.stdout.strip())
    names = set(wheel.namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        *("testbed", "edge", "server", "calibration")
    }
    for shipped in ("testbed/deploy/board/answer.py", "testbed/codec/zoo/deepjscc-cifar10.encoder.onnx"):
        assert wheel.read(shipped) == (ROOT / shipped).read_bytes()
    assert wheel.read(f"testbed/firmware/{UNIT}") == (ROOT / UNIT).read_bytes()
    (record,) = [name for name in names if name.endswith(".dist-info/RECORD")]
    assert {line.rpartition(",")[0].rpartition(",")[0] for line in wheel.read(record).decode().splitlines()} == names


def test_an_edge_is_stopped_started_and_removed_without_a_trace(deployed: Board):
    """The last test of this file: then the board's disk is as it was at the beginning."""
    assert eventually(deployed.standing)
    assert "stopped" in deployed.semtb("stop", "edge-1", *deployed.reach()).stdout
    assert deployed.processes() == []
    assert "semtb deploy start edge-1" in deployed.semtb("status", "edge-1", *deployed.reach()).stdout
    assert "running" in deployed.semtb("start", "edge-1", *deployed.reach()).stdout
    assert deployed.standing()
    done = deployed.semtb("remove", "edge-1", *deployed.reach())
    assert done.returncode == 0, done.stderr
    assert deployed.processes() == []
    assert not deployed.disk.exists()
