"""What `semtb deploy` is made of, without any SSH: addresses, requirements, the unit, the board's own program."""

from __future__ import annotations

import ast
import base64
import configparser
import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edge.selfcheck import fixed_picture
from testbed.config import NODE_NAME, EdgeConfig, dump, load_node
from testbed.deploy import board, boards
from testbed.deploy import edges as deploy
from testbed.deploy.board import answer, install, standing
from testbed.deploy.board.place import NAME, Place, alive, began, end
from testbed.deploy.boards import board_program
from testbed.deploy.bundle import EDGE_NEEDS, checkout, edge_requirements, lay_release, unit_text
from testbed.deploy.edges import compare, edge_of
from testbed.deploy.remote import forwarded, parse_remotes, ports_of
from testbed.deploy.ssh import Target, explain, parse_target
from testbed.deploy.wheelhouse import applying, platforms
from testbed.errors import BoardError, ScenarioError
from testbed.experiments.scenario_files import open_scenario

JETSON = {"python_version": "3.10", "python_full_version": "3.10.12", "platform_machine": "aarch64", "extra": ""}


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("pi@10.0.0.7", "pi@10.0.0.7", None),
        ("pi@10.0.0.7:2222", "pi@10.0.0.7", 2222),
        ("jetson", "jetson", None),
        ("me@[fe80::1]:22", "me@fe80::1", 22),
    ],
)
def test_a_board_is_written_as_ssh_users_write_it(text: str, host: str, port: int | None):
    assert parse_target(text) == (host, port)


@pytest.mark.parametrize("text", ["", "a b", "pi@host:", "pi@host:99999", "-oProxyCommand=touch", "pi@host:22:23"])
def test_what_is_no_address_is_refused_before_ssh_sees_it(text: str):
    """An option of ssh among them: no argument of ours may become one."""
    with pytest.raises(BoardError, match="user@host:port"):
        parse_target(text)
    with pytest.raises(BoardError):
        parse_remotes([f"edge-1={text}"])


def test_host_key_checking_is_nobodys_to_switch_off():
    """None of our own options says anything of it, and the connection is never shared."""
    command = Target("pi@host", 2222, "~/.ssh/id", ("ProxyJump=gate",)).command("true")
    assert not [word for word in command if "StrictHostKey" in word or "KnownHosts" in word]
    assert command[-3:] == ["--", "pi@host", "true"]
    assert "ProxyJump=gate" in command
    assert command[command.index("-S") + 1] == "none"


@pytest.mark.parametrize(
    ("status", "errors", "output", "says"),
    [
        (255, "ssh: connect to host h port 22: No route to host", "", "No route to host"),
        (255, "ssh: Could not resolve hostname h: Name or service not known", "", "Could not resolve"),
        (255, "pi@h: Permission denied (publickey).", "", "ssh-copy-id -p 2222 pi@h"),
        (255, "Host key verification failed.", "", "compare the fingerprint"),
        (255, "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", "", "ssh-keygen -R"),
        (127, "sh: 1: python3: not found", "", "apt-get install python3 python3-venv"),
        (43, "", "3.8.10", "is Python 3.8.10, an edge needs 3.10 or newer"),
    ],
)
def test_every_failure_of_ssh_says_what_to_do(status: int, errors: str, output: str, says: str):
    words = explain(Target("pi@h", 2222), status, [errors + "\n"], output)
    assert says in words
    assert "\n" not in words


def test_an_edge_needs_no_torch_and_nothing_that_draws():
    """Of the project's declared requirements exactly those of EDGE_NEEDS; with a Pluto the extra's as well."""
    declared = ["numpy>=1.26", "matplotlib>=3.8", "scikit-learn>=1.4", "tomli>=2; python_version < '3.11'"]
    declared += ["torch>=2.4; extra == 'train'", "pylibiio<1; extra == 'pluto'"]
    assert edge_requirements(declared) == ["numpy>=1.26", "tomli>=2; python_version < '3.11'"]
    assert edge_requirements(declared, "pluto:ip:192.168.2.1")[-1] == "pylibiio<1"
    assert applying(edge_requirements(declared), JETSON) == ["numpy>=1.26", "tomli>=2"]
    assert applying(edge_requirements(declared), JETSON | {"python_version": "3.11"}) == ["numpy>=1.26"]


ONLY = """
import sys
from importlib.metadata import packages_distributions
sys.modules["attr"] = None  # rich takes it where it is there
import edge.selfcheck, edge.standing, testbed.cli.main, testbed.radio.zmq, testbed.radio.registry
roots = {name.partition(".")[0] for name, module in sys.modules.items() if module}
known = packages_distributions()
print(",".join(sorted({d.lower() for r in roots for d in known.get(r, [])})))
"""


def test_what_an_edge_imports_is_what_is_installed_for_it():
    """Every distribution behind a module that an edge loads is among EDGE_NEEDS, or these bring it."""
    done = subprocess.run([sys.executable, "-c", ONLY], capture_output=True, text=True, check=True, timeout=50)
    brought = {"annotated-doc", "click", "llvmlite", "setuptools", "shellingham", "typing_extensions", "semcom-testbed"}
    brought |= {"pygments", "markdown-it-py", "mdurl", "packaging", "protobuf", "flatbuffers", "tomli_w"}
    assert set(done.stdout.strip().split(",")) <= set(EDGE_NEEDS) | brought


def test_wheels_of_a_jetson_are_those_of_its_glibc():
    tags = platforms("aarch64", "2.35")
    assert tags[0] == "manylinux_2_35_aarch64"
    assert "manylinux2014_aarch64" in tags
    assert not [tag for tag in platforms("aarch64", "2.31") if "2_35" in tag]


def test_the_boards_program_needs_the_standard_library_alone():
    """Whatever Python 3.10 a board has runs it, before anything is installed there."""
    for file in Path(board.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(), feature_version=(3, 10))):
            if isinstance(node, ast.Import):
                assert {alias.name.partition(".")[0] for alias in node.names} <= sys.stdlib_module_names, file
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert (node.module or "").partition(".")[0] in sys.stdlib_module_names, file
    assert board_program()[:2] == b"PK"


@pytest.fixture
def unit_file(tmp_path: Path) -> tuple[Path, Path]:
    """The unit of an edge in a folder with a difficult name, and the program that it starts."""
    root = tmp_path / "with 100% space" / "edge-1"
    script = root / "current" / "venv" / "bin" / "semtb"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    file = tmp_path / "semtb-edge-1.service"
    file.write_text(unit_text("edge-1", str(root)))
    return file, script


def test_the_unit_is_filled_in_and_percent_signs_are_escaped(unit_file: tuple[Path, Path]):
    file, script = unit_file
    text = file.read_text()
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    assert "@" not in text
    assert unit["Service"]["ExecStart"].startswith(f'"{str(script).replace("%", "%%")}" edge --keep ')
    assert unit["Install"]["WantedBy"] == "default.target"


@pytest.mark.needs("systemd")
def test_the_unit_is_one_that_systemd_takes(unit_file: tuple[Path, Path]):
    """systemd-analyze has nothing to say."""
    file, _ = unit_file
    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, timeout=50)
    assert str(file) not in done.stderr
    assert done.returncode == 0, done.stderr


SYSTEMCTL = """#!/bin/sh
echo "$@" >> {folder}/orders
case "$2" in
show) test -e {folder}/running && echo ActiveState=active && echo MainPID=4711 || echo ActiveState=inactive ;;
start) touch {folder}/running ;;
stop|disable) rm -f {folder}/running ;;
esac
"""


def test_where_systemd_answers_the_edge_is_its_user_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With a systemctl that writes down its orders: enabled, started, told, stopped, and its unit removed."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in ("systemctl", "loginctl"):
        (tmp_path / name).write_text(SYSTEMCTL.format(folder=tmp_path))
        (tmp_path / name).chmod(0o755)
    place = Place(str(tmp_path / "base"), "edge-1")
    release = place.releases / "one"
    release.mkdir(parents=True)
    (release / "semtb-edge.service").write_text("[Service]\n")
    config = answer.DO["activate"](place, {"release": "one", "manifest": {"name": "edge-1"}, "start": True})
    assert (config["kind"], config["running"], config["pid"]) == ("systemd", True, 4711)
    assert place.unit == tmp_path / "config" / "systemd" / "user" / "semtb-edge-1.service"
    orders = (tmp_path / "orders").read_text()
    for order in ("daemon-reload", "enable semtb-edge-1.service", "start semtb-edge-1.service", "enable-linger"):
        assert order in orders
    standing.stop(place, {})
    assert "disable --now semtb-edge-1.service" in (tmp_path / "orders").read_text()
    assert not standing.state(place)["running"]
    answer.DO["remove"](place, {})
    assert not place.unit.exists()
    assert not place.base.exists()


def test_a_full_disk_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def full(*arguments: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "x"))

    monkeypatch.setattr(install, "receive", full)
    request = {"do": "install", "base": str(tmp_path / "base"), "name": "edge-1", "release": "one"}
    assert answer.answer(request) == 0
    assert json.loads(capsys.readouterr().out)["failed"] == "disk"
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize(
    "name", ["../my disk/edge-1", "..", ".", "", "edge-1/", "Edge-1", "-edge", "e" * 33, "edge-1\n"]
)
def test_a_name_is_one_of_an_edge_or_goes_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
):
    """Refused before any ssh starts, and by the board, whoever asks: what lies beside its folder stays."""
    monkeypatch.setattr(boards, "Call", lambda *arguments, **more: pytest.fail("ssh was started"))
    target, quiet = Target("pi@host"), Console(quiet=True)
    for look_after in (deploy.status, deploy.start, deploy.stop, deploy.remove):
        with pytest.raises(BoardError, match="no edge has such a name: lower-case letters"):
            look_after(name, target, quiet)
    with pytest.raises(BoardError, match="no edge has such a name"):
        boards.follow_log(target, name, 30, False)
    with pytest.raises(ScenarioError, match="has no such edge"):
        edge_of(open_scenario("two-users", [], None, None), name)
    for folder in (tmp_path / "my disk" / "edge-1", tmp_path / "base"):
        (folder / "current").mkdir(parents=True)
        (folder / "current" / "manifest.json").write_text("{}")
    for do in (*answer.DO, "log", "run"):
        status = answer.answer({"do": do, "base": str(tmp_path / "base"), "name": name})
        out, err = capsys.readouterr()
        assert "no edge has such a name" in out + err
        assert status == (answer.REFUSED if do in ("log", "run") else 0)
    assert (tmp_path / "my disk" / "edge-1" / "current" / "manifest.json").exists()
    assert (tmp_path / "base" / "current" / "manifest.json").exists()


def test_both_sides_know_the_same_names():
    assert NAME == NODE_NAME


@pytest.mark.parametrize("wrong", ["short", "changed"])
def test_a_copy_that_is_not_whole_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str):
    sent = b"x" * 1000
    request = {"payload": len(sent), "sha256": hashlib.sha256(sent).hexdigest()}
    came = sent[:-1] if wrong == "short" else b"y" * 1000
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(came)))
    with pytest.raises(install.Failure, match="missing" if wrong == "short" else "hash"):
        install.receive(request, tmp_path / "release")
    assert list(tmp_path.iterdir()) == []


def test_a_pid_file_names_one_process_for_ever(tmp_path: Path):
    """A pid that the kernel has given to somebody else meanwhile is neither taken to be alive nor ended."""
    child = subprocess.Popen(["sleep", "60"])
    file = tmp_path / "pid"
    file.write_text(f"{child.pid} {began(child.pid)}")
    assert alive(file) == child.pid
    other = tmp_path / "other"
    other.write_text(f"{child.pid} {int(began(child.pid)) - 1}")
    assert alive(other) == 0
    end(other)
    assert child.poll() is None
    end(file)
    assert child.wait(10) == -15
    assert not file.exists()


def test_a_release_tells_the_edge_what_lies_beside_it(tmp_path: Path):
    """The configuration names the board's paths alone, and reads back; pictures are those of this edge's share."""
    config = edge_of(open_scenario("two-users", [], None, None), "edge-2")
    manifest = lay_release(tmp_path, config, "/home/pi/semtb/edge-2", "R", "")
    config = load_node(tmp_path / "edge.toml", EdgeConfig)
    assert config.codec == "/home/pi/semtb/edge-2/releases/R/codec/deepjscc-cifar10.json"
    assert config.edge.images == "/home/pi/semtb/edge-2/releases/R/pictures"
    assert config.share == (0, 1)
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["flower.png"]
    assert (tmp_path / "codec" / "deepjscc-cifar10.encoder.onnx").stat().st_size > 1e5
    assert manifest["codec"]["name"] == "deepjscc-cifar10"  # type: ignore[index]
    assert config.control == "tcp://127.0.0.1:24700"
    assert checkout() is not None
    assert dump(config) == (tmp_path / "edge.toml").read_bytes()


def test_forwarded_ports_lead_to_the_bus_and_from_the_air():
    """The board asks for the bus (-R), the air asks for the edge's radio (-L); all of it on loopback."""
    config = edge_of(open_scenario("two-users", [], None, None), "edge-1")
    ours = ports_of(config)
    assert ours == [24700, 24701]
    options, config = forwarded(config, {24700: 30000, 24701: 30001})
    assert options == ["-R", "127.0.0.1:30000:127.0.0.1:24700", "-L", "127.0.0.1:24701:127.0.0.1:30001"]
    assert config.control == "tcp://127.0.0.1:30000"
    assert config.radio == "zmq:tx_port=tcp://127.0.0.1:30001"


def test_symbols_are_compared_number_by_number(monkeypatch: pytest.MonkeyPatch):
    """1e-4 passes and is not called identical; more does not pass, nor does NaN, nor another number of symbols."""
    from edge import selfcheck

    ours = np.ones(8, np.complex64)
    monkeypatch.setattr(selfcheck, "fixed_symbols", lambda codec: ours)

    def answer_of(symbols: np.ndarray) -> dict[str, str]:
        coded = base64.b64encode(symbols.astype("<c8").tobytes()).decode()
        return {"symbols": coded, "onnxruntime": "1.20", "machine": "aarch64"}

    target = Target("pi@host")
    assert compare(answer_of(ours), "any", target).words == "bit-identical"
    near = compare(answer_of(ours + 5e-5), "any", target)
    assert not near.identical
    assert near.largest_difference == pytest.approx(5e-5, rel=0.01)
    for wrong in (ours + 2e-4, ours * np.nan, ours[:-1]):
        with pytest.raises(BoardError, match="as it was"):
            compare(answer_of(wrong), "any", target)


def test_the_fixed_picture_is_the_same_everywhere():
    """Integers alone: its CRC is a constant."""
    picture = fixed_picture()
    assert picture.shape == (45, 70, 3)
    assert zlib.crc32(picture.tobytes()) == 1617877186
