"""`semtb` as a person meets it: one clear line, the right status, no traceback."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from testbed.cli import doctor, probes
from testbed.cli.doctor import Finding
from testbed.experiments.resolve import free_base, resolve, write_configs
from testbed.experiments.scenario_files import open_scenario


def semtb(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "testbed.cli.main", *arguments], capture_output=True, text=True, timeout=50, cwd=cwd
    )


def one_line(done: subprocess.CompletedProcess[str], status: int = 2) -> str:
    lines = done.stderr.strip().splitlines()
    assert done.returncode == status, done.stderr
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_version_is_the_distributions():
    from importlib import metadata

    assert semtb("--version").stdout == f"semtb {metadata.version('semcom-testbed')}\n"


def test_help_names_every_command_and_where_to_begin():
    shown = semtb("--help").stdout
    for word in ("run", "air", "server", "edge", "resolve", "scenarios", "report", "sweep", "doctor", "train", "eval"):
        assert word in shown
    assert "semtb run two-users" in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "two-usres"], "Did you mean two-users?"),
        (["run", "two-users", "--set", "air.snr=3"], "Did you mean snr_db?"),
        (["run", "two-users", "--set", "air.snr_db=300"], "-30..80"),
        (["run", "two-users", "--set", "air.snr_db=loud"], "air.snr_db"),
        (["run", "two-users", "--set", "nonsense"], "key=value"),
        (["run", "two-users", "--set", "air.common_cfo_hz=nan"], "-200000..200000"),
        (["run", "two-users", "--set", "air.user_cfo_hz=[inf, 0.0]"], "-200000..200000 each"),
        (["run", "two-users", "--set", "air.user_delay_samples=[0.0, -1.0]"], "0..4096 each"),
        (["run", "two-users", "--set", "waveform.profile=[]"], "allowed: ota, wide"),
        (["run", "two-users", "--set", "waveform.sample_rate_hz=inf"], "between 1e5 and 1e8"),
        (["run", "two-users", "--set", "waveform.gap_samples=99999999999"], "between 0 and 10000000"),
        (["run", "two-users", "--set", "waveform.header_symbols=1"], "header_symbols"),
        (["run", "two-users", "--set", "name=../elsewhere"], "letters, digits"),
        (["run", "two-users", "--set", "edges.0.name=5", "--set", "edges.foo.user=1"], "known here: 5, edge-2"),
        (["run", "two-users", "--images", "~no-such-user/pictures"], "no such user's home"),
        (["run", "no/such.toml"], "no such scenario file"),
        (["server", "no/such.toml"], "semtb resolve"),
        (["edge", "."], "semtb resolve"),
        (["resolve", "two-users", "--out", "/dev/null/here"], "cannot be written: Not a directory"),
        (["sweep", "two-users", "--over", "air.snr=0,5"], "Did you mean snr_db?"),
        (["sweep", "two-users", "--over", "air.snr_db=0:5"], "air.snr_db"),
        (["sweep", "two-users", "--json", "/dev/null/here.json"], "DataError: /dev/null: cannot be written"),
        (["eval", "deepjscc", "--json", "/dev/null/here.json"], "DataError: /dev/null: cannot be written"),
        (["eval", "estimator", "--json", "."], "is a folder"),
        (["report", "no/such/run"], "no such run folder"),
    ],
)
def test_what_the_user_can_put_right_is_one_line(arguments: list[str], says: str, tmp_path: Path):
    """Status 2, one line on standard error that says what to do, nothing left on disk."""
    assert says in one_line(semtb(*arguments, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["scenarios"], ["doctor"], ["run", "two-users"], ["sweep", "two-users"]])
def test_a_working_directory_that_was_deleted_is_one_line(tmp_path: Path, arguments: list[str]):
    """As the entry point starts it; a shell goes on in such a folder without a word."""
    gone = tmp_path / "gone"
    gone.mkdir()
    entry = f"import os; os.rmdir({str(gone)!r}); from testbed.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", entry, *arguments], capture_output=True, text=True, timeout=50, cwd=gone
    )
    assert "the working directory is gone" in one_line(done)


def test_debug_shows_the_traceback(tmp_path: Path):
    done = semtb("--debug", "run", "two-usres", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_a_folder_that_holds_something_is_not_written_over(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("all of it")
    assert "choose a new one" in one_line(semtb("run", "two-users", "--out", str(tmp_path)))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_of_the_users_stays_and_is_named_as_it_is(tmp_path: Path):
    """Brackets in its name are no markup; a run that cannot begin leaves the folder as it was."""
    mine = tmp_path / "mine [b]"
    mine.mkdir()
    done = semtb("run", "two-users", "--images", str(tmp_path / "none"), "--out", str(mine))
    assert "No such file or directory" in one_line(done)
    assert str(mine) in done.stdout
    assert list(mine.iterdir()) == []


@pytest.mark.parametrize("kind", ["air", "edge"])
def test_a_node_without_its_server_names_the_address(tmp_path: Path, kind: str):
    """The command line as typed; its own waiting is 2.5 s (a constant), so that it stays below the issue's 5 s."""
    scenario = open_scenario("two-users", [], None, None)
    nodes = resolve(scenario)
    files = write_configs(tmp_path, scenario, nodes)
    node = next(n for n in nodes if n.kind == kind)
    line = one_line(semtb(kind, str(files[node.name])))
    assert line.startswith("PeerUnreachable: ")
    assert node.config.control in line
    assert "refused" in line


def test_a_taken_control_port_is_one_line(tmp_path: Path):
    port = free_base("127.0.0.1", 1)
    with socket.create_server(("127.0.0.1", port)):
        scenario = open_scenario("two-users", [f"net.port_base={port}"], None, None)
        files = write_configs(tmp_path, scenario, resolve(scenario))
        line = one_line(semtb("server", str(files["server"]), "--out", str(tmp_path / "run")))
        assert line.startswith(f"AddressInUse: tcp://127.0.0.1:{port}")


def test_resolve_writes_what_its_commands_name(tmp_path: Path):
    done = semtb("resolve", "two-users", "--out", str(tmp_path / "x"))
    assert done.returncode == 0
    assert sorted(p.name for p in (tmp_path / "x" / "nodes").iterdir()) == [
        "air.toml",
        "edge-1.toml",
        "edge-2.toml",
        "server.toml",
    ]
    assert f"semtb edge {tmp_path}/x/nodes/edge-1.toml" in done.stdout


def test_doctor_names_the_command_for_each_missing_part(capsys: pytest.CaptureFixture[str]):
    findings = [
        Finding("libiio", "Pluto radios", "", "apt-get install libiio0"),
        Finding("torch", "training", "2.4", "x"),
    ]
    doctor.doctor(look=lambda: findings)
    shown = capsys.readouterr().out
    assert "libiio (Pluto radios): apt-get install libiio0" in shown
    assert "torch (training)" not in shown


def test_doctor_looks_at_every_part_that_the_project_can_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Each part with an install command; a data folder that is named, and empty, is missing."""
    monkeypatch.setenv("SEMTB_DATA", str(tmp_path))
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "kodak").mkdir()
    (tmp_path / "kodak" / "kodim01.png").write_bytes(b"x")
    monkeypatch.setattr(probes, "ask", lambda command, limit_s=0.0: "")
    findings = {finding.part: finding for finding in doctor.examine()}
    for part in ("libiio", "pylibiio", "pyadi-iio", "torch", "ONNX Runtime", "GNU Radio", "numba"):
        assert findings[part].install
    assert "CPU" in findings["ONNX Runtime"].found
    assert findings["GNU Radio"].found == ""
    sets = doctor.data_sets()
    assert sets[0].found.startswith("kodak in")
    assert "cifar10" in sets[1].install
    assert sets[1].found == ""


def test_doctor_ends_well_whatever_it_finds():
    assert semtb("doctor").returncode == 0


def test_asking_a_program_that_hangs_ends(tmp_path: Path):
    began = time.monotonic()
    assert probes.ask([sys.executable, "-c", "import time; time.sleep(60)"], limit_s=0.2) == ""
    assert time.monotonic() - began < 50  # the sleep would be 60
