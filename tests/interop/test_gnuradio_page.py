"""Every command of docs/gnuradio.md, as it stands there, with GNU Radio itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from testbed.codec.registry import open_codec
from testbed.config import Scenario
from testbed.experiments.external import receiver_lines
from testbed.experiments.frames import carried_samples
from testbed.experiments.resolve import free_base
from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.simulate import simulate
from testbed.experiments.tasks import sources
from testbed.record.folder import RunFolder
from testbed.record.schema import Result, read_result
from tests.interop.flowgraphs import plain_environment
from tests.requirements import gnuradio_python

pytestmark = [pytest.mark.needs("gnuradio"), pytest.mark.timeout(150)]
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "gnuradio.md"
ALONE = "docs/gnuradio/beside-gnuradio.toml"
SMALLER = "max_pixels=30000"  # pictures of two-users, so that a run takes seconds
LIMIT_S = 120  # for a hang; it takes 15 s


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A working directory beside the documentation, with the page's programs on its path."""
    (tmp_path / "bin").mkdir()
    for name, words in (
        ("semtb", f'PYTHONPATH="{os.environ.get("PYTHONPATH", "")}:{ROOT}" exec {sys.executable} -m testbed.cli.main'),
        ("python3", f"exec {gnuradio_python()}"),
    ):
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\n{words} "$@"\n')
        program.chmod(0o755)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    return tmp_path


def type_in(lab: Path, section: str) -> str:
    """Run a block of the page in a shell, at ports that are free; what it printed."""
    (block,) = re.findall(rf"```sh {section}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    base = free_base("127.0.0.1", 10)
    block = re.sub(r"2400(\d)", lambda match: str(base + int(match[1])), block)
    block = re.sub(r"^(semtb (?:run|frames) two-users)", rf"\1 --set {SMALLER}", block, flags=re.MULTILINE)
    environment = plain_environment() | {
        "PATH": f"{lab / 'bin'}:{os.environ['PATH']}",
        "SEMTB_AIR_FOLDER": str(lab / "airs"),
    }
    with (lab / "printed").open("w+", encoding="utf-8") as printed:  # a pipe would wait for what is left behind
        shell = subprocess.Popen(
            ["bash", "-e", "-c", block],
            cwd=lab,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            status = shell.wait(LIMIT_S)
        finally:
            with suppress(ProcessLookupError):  # the shell, and what it left behind
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        printed.seek(0)
        text = printed.read()
    assert status in (0, 143), text  # 143: the last program was ended by kill
    return text


def result_of(lab: Path, run: str) -> Result:
    return read_result(RunFolder(lab / run))


def opened(*settings: str) -> Scenario:
    return open_scenario(str(ROOT / ALONE), list(settings), None, None)


def test_in_place_of_an_edge_the_run_is_what_it_is_without(lab):
    """Two users: every figure of both, pictures too, is that of the scenario whose edge is ours."""
    printed = type_in(lab, "edge")
    assert "edge-1 is left to another program" in printed
    result = result_of(lab, "edge-is-gnuradio")
    assert result.complete
    expected = simulate(open_scenario("two-users", [SMALLER], None, None)).metrics
    assert result.metrics.users == expected.users, printed
    assert result.metrics.warnings == expected.warnings


def test_a_published_file_is_joined_anywhere_and_no_frame_of_it_is_missed(lab):
    printed = type_in(lab, "pub-sub")
    result = result_of(lab, "published")
    assert result.complete, printed
    (user,) = result.metrics.users
    assert all(picture.lost_share == 0 for picture in user.pictures)
    assert user.psnr_db > 30
    assert user.images == 2


def test_in_place_of_the_server_what_gnuradio_recorded_gives_the_run_s_pictures(lab):
    """As many samples as the page says; replayed, they give each picture just as good as a run without GNU Radio."""
    printed = type_in(lab, "server")
    scenario = opened()
    wanted = carried_samples(scenario, open_codec(scenario.codec.name))
    assert f"--count {wanted} " in PAGE.read_text(encoding="utf-8")
    assert receiver_lines(scenario, "server", [], "req-rep", wanted)[-1] in printed
    assert (lab / "antenna-0.sigmf-data").stat().st_size == 8 * wanted
    run = result_of(lab, "server-is-gnuradio")
    assert run.complete
    assert run.metrics.warnings == ["server was another program: what it received is not known here"]
    folder = RunFolder(lab / "received")
    pictures = sources(scenario, scenario.edges[0], open_codec(scenario.codec.name).sides)
    for index, known in enumerate(simulate(scenario).metrics.users[0].pictures):
        name = next(n for n in folder.names("received", "*.png") if n.endswith(f"-{index:03d}.png"))
        error = folder.read_png(name).astype(np.float64) - pictures[index].pixels
        assert -10 * np.log10(np.mean(error**2) / 255**2) == pytest.approx(known.psnr_db, abs=1e-6)


def test_the_air_alone_carries_changes_a_link_and_tells_of_its_ports(lab):
    """PUSH in, PUB out: what was heard before the change is at the power of signal and noise at 20 dB; then 80 dB."""
    printed = type_in(lab, "air")
    assert re.search(r"^edge-1\.server\.path_loss_db = 80 from sample \d+ on$", printed, re.MULTILINE)
    assert re.search(r"^edge-1 +tx +[\d.]+ MS/s", printed, re.MULTILINE)
    assert re.search(r"^server\.rx0 +rx ", printed, re.MULTILINE)
    heard = np.fromfile(lab / "heard.sigmf-data", np.complex64)
    sent = np.fromfile(lab / "alone.cf32", np.complex64)
    assert len(heard) == 780_288
    power = np.mean(np.abs(sent) ** 2)
    assert np.mean(np.abs(heard) ** 2) == pytest.approx(power * 1.01, rel=0.03)
