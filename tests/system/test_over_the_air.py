"""Every command of docs/over-the-air.md, in order and as it stands there, over virtual Plutos."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from testbed.air.iiod.air import present
from testbed.cli import probes
from testbed.config import load_scenario
from testbed.experiments.scenario_files import find_scenario
from testbed.record.folder import RunFolder
from testbed.record.schema import read_result
from tests.addresses import own_address
from tests.sshd import SshServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs("pluto", "libiio", "sshd"), pytest.mark.timeout(240)]
SPEC = importlib.util.spec_from_file_location("far_side", Path(__file__).parent / "far_side.py")
assert SPEC and SPEC.loader
far_side: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(far_side)

PAGE = Path(__file__).parents[2] / "docs" / "over-the-air.md"
HARDWARE = re.compile(r"192\.168\.\d\.1\b")
PROGRAMS = ("semtb", "iio_info")
LIMIT_S = 110
SEMTB = """#!/bin/sh
exec {python} -m testbed.cli.main "$@"
"""


def commands(section: str) -> list[str]:
    """The lines of the page's blocks of that name."""
    blocks = re.findall(rf"```sh {section}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


class Bench:
    """A working directory, the page's Plutos at addresses of this machine, and a device behind SSH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.far = folder / "far"
        self.server = SshServer(folder, probes.ssh_server(), far_side.forced_command(self.far))
        self.virtual: dict[str, str] = {}
        (folder / "bin").mkdir()
        program = folder / "bin" / "semtb"
        program.write_text(SEMTB.format(python=sys.executable))
        program.chmod(0o755)
        self.pictures = folder / "pictures"  # two small ones, so that a run takes seconds
        self.pictures.mkdir()
        for level in (60, 180):
            grey = Image.linear_gradient("L").resize((96, 64)).point([k * level // 255 for k in range(256)])
            grey.convert("RGB").save(self.pictures / f"grey-{level}.png")
        self.lab = folder / "work"
        self.lab.mkdir()

    def address(self, match: re.Match[str]) -> str:
        """The virtual Pluto for one of the page's addresses: always the same."""
        return self.virtual.setdefault(match[0], own_address())

    def put(self, words: list[str]) -> list[str]:
        """A command as it is typed, with what is there in the place of what the page has."""
        if words[:2] == ["semtb", "firmware"] and words[2] != "list":
            reach = [word for option in self.server.ssh_options()[2:] for word in ("--ssh-option", option)]
            host = words[3]
            assert HARDWARE.fullmatch(host) or host == "local:", host
            return [*words[:3], f"{self.server.host}:{self.server.port}", *words[4:], *reach, "--stock"]
        if words[:2] == ["semtb", "run"]:
            scenario = load_scenario(find_scenario(words[2]))
            given = {word.partition("=")[0] for word in words}
            radios = {edge.name: edge.radio for edge in scenario.edges} | {scenario.server.name: scenario.server.radio}
            for name, uri in radios.items():
                if uri and HARDWARE.search(uri) and name not in given:
                    words += ["--radio", f"{name}={uri}"]
            words += ["--images", str(self.pictures)]
        newest = max(self.lab.glob("runs/*"), key=lambda path: path.stat().st_mtime_ns, default=Path("runs"))
        return [HARDWARE.sub(self.address, word.replace("runs/…", str(newest))) for word in words]

    def run(self, line: str) -> str:
        """One line of the page in a shell; what it prints."""
        command, _, redirected = re.sub(r"\s+# .*", "", line).partition(" > ")
        words = command.split()
        assert words[0] in PROGRAMS, f"the page has a command that no test knows to run: {line}"
        self.before(words)
        script = shlex.join(self.put(words)) + (f" > {redirected}" if redirected else "")
        paths = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        with self.standing(words):
            done = subprocess.run(
                ["sh", "-c", script],
                input="y\n",
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                cwd=self.lab,
                env=os.environ
                | {
                    "PATH": paths,
                    "XDG_DATA_HOME": str(self.folder / "data"),
                    "SEMTB_CALIBRATION": str(self.folder / "calibration"),
                },
            )
        assert done.returncode in ((0, 1) if words[:3] == ["semtb", "firmware", "diff"] else (0,)), (
            f"{line}\n{script}\n{done.stdout}\n{done.stderr}"
        )
        if "--reboot" in words:
            wait_until((self.far / "rebooted").exists)
            (self.far / "rebooted").unlink()
        return done.stdout + done.stderr

    @contextmanager
    def standing(self, words: list[str]) -> Iterator[None]:
        """The virtual Plutos that a command speaks to: each hears the others, one alone itself. A run has its own."""
        known = [] if words[:2] in (["semtb", "run"], ["semtb", "firmware"]) else HARDWARE.findall(" ".join(words))
        addresses = [self.virtual[name] for name in dict.fromkeys(known)]
        servers = present(addresses) if addresses else []
        try:
            yield
        finally:
            for server in servers:
                server.close()

    def before(self, words: list[str]) -> None:
        """The device that a firmware command is to find: as it is sold, a machine with systemd, or as it was left."""
        if words[:2] != ["semtb", "firmware"]:
            return
        if words[3] == "local:":
            far_side.make_jetson(self.far)
        elif not (self.far / "mtd1").exists() or (
            words[3] == "192.168.2.1" and self.has("ipaddr") not in ("", words[3])
        ):
            far_side.make_pluto(self.far)
        elif self.has("ipaddr"):
            assert self.has("ipaddr") == words[3], "the page names an address that the Pluto does not have by now"

    def has(self, name: str) -> str:
        return (far_side.read_environment(self.far) or {}).get(name, "")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("bench"))
    yield made
    made.server.stop()


def result_of(bench: Bench, scenario: str) -> Any:
    """The newest run of a scenario."""
    folder = sorted(bench.lab.glob(f"runs/*-{scenario}-*"))[-1]
    assert (folder / "report.html").stat().st_size > 10_000
    return read_result(RunFolder(folder))


def test_every_block_of_the_page_is_run_by_a_test_here():
    """No block is of another kind, and none is empty."""
    text = PAGE.read_text(encoding="utf-8")
    kinds = re.findall(r"^```(.*)$", text, re.MULTILINE)
    assert set(kinds[::2]) == {"sh setup", "sh one", "sh two", "sh three"}
    assert set(kinds[1::2]) == {""}
    lines = [line for kind in set(kinds[::2]) for line in commands(kind.removeprefix("sh "))]
    for mentioned in re.findall(r"`(semtb [^`]+)`", text):
        assert any(line.startswith(mentioned) for line in lines), f"{mentioned}: the text has what no block has"


def test_before_the_first_pluto(bench: Bench):
    """The host's files are written there and read back; a lab.toml is there and allows what the page sends."""
    printed = []
    for line in commands("setup"):
        printed.append(bench.run(line))
        if "> lab.toml" in line:  # the virtual Plutos are held to it as hardware is
            file = bench.lab / "lab.toml"
            assert "virtual = false" in file.read_text()
            file.write_text(file.read_text().replace("virtual = false", "virtual = true"))
    assert "ready for" in printed[0]
    assert "changed and read back" in printed[1]
    assert (bench.far / "etc/udev/rules.d/60-semtb-pluto.rules").exists()
    assert "tx_gain_db <=" in printed[-1]


def test_one_pluto(bench: Bench):
    """From the box to a report: its profile in force, every frame found, each node's records named."""
    printed = "\n".join(bench.run(line) for line in commands("one"))
    assert "written and in force" in printed
    assert "no sample lost" in printed
    assert list(bench.lab.glob("selftest-*.json"))
    assert (bench.lab / "band.svg").stat().st_size > 1000
    assert "gain-table: " in printed
    result = result_of(bench, "one-pluto")
    (user,) = result.metrics.users
    assert user.frames_detected == user.frames_sent > 0
    used = {node: [name.rpartition("-")[0] for name in names] for node, names in result.calibrations.items()}
    assert used == {"server": ["receive-iq"], "edge-1": ["transmit-iq"]}


def test_two_plutos(bench: Bench):
    printed = "\n".join(bench.run(line) for line in commands("two"))
    assert "written and in force" in printed
    assert "byte for byte" in printed
    assert (bench.lab / "band").is_dir()
    assert re.search(r"oscillator: ppm .* relative to the oscillator of", printed)
    (user,) = result_of(bench, "two-plutos").metrics.users
    assert user.frames_detected == user.frames_sent > 0


def test_three_plutos(bench: Bench):
    """The server's has two channels by then; both users' frames are found."""
    printed = "\n".join(bench.run(line) for line in commands("three"))
    assert "written and in force" in printed
    assert bench.has("mode") == "2r2t"
    result = result_of(bench, "two-users")
    assert len(result.metrics.users) == 2
    for user in result.metrics.users:
        assert user.frames_detected == user.frames_sent > 0
