"""Runs over virtual Plutos that stand on their own: somebody else listens meanwhile, or they stop."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from testbed.record.folder import RunFolder
from testbed.record.schema import read_result
from tests.addresses import own_address

pytestmark = [pytest.mark.timeout(120), pytest.mark.needs("pluto", "libiio")]
LIMIT_S = 90
SEMTB = (sys.executable, "-m", "testbed.cli.main")


@pytest.fixture
def standing() -> Iterator[Callable[..., subprocess.Popen]]:
    """`semtb air --pluto`, once it presents them."""
    started: list[subprocess.Popen] = []

    def start(*addresses: str, between: Sequence[str] = ("--scenario", "two-plutos")) -> subprocess.Popen:
        where = [word for address in addresses for word in ("--pluto", address)]
        command = [*SEMTB, "air", *where, *between]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout is not None
        while addresses[-1] not in started[-1].stdout.readline():
            assert started[-1].poll() is None
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(10)


def run(folder: Path, server: str, edge: str, *settings: str) -> subprocess.Popen:
    radios = ("--radio", f"server=pluto:ip:{server}", "--radio", f"edge-1=pluto:ip:{edge}")
    more = [word for setting in settings for word in ("--set", setting)]
    command = [*SEMTB, "run", "two-plutos", "--out", str(folder), *radios, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_pluto_that_merely_listens_changes_nothing(standing, tmp_path: Path):
    """A third Pluto on the same air is read without end: every frame is found, as without it."""
    server, edge, listener = own_address(), own_address(), own_address()
    standing(server, edge, listener)
    reading = ["iio_readdev", "-u", f"ip:{listener}", "-b", "8192", "cf-ad9361-lpc"]
    with subprocess.Popen(reading, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as ear:
        try:
            running = run(tmp_path / "run", server, edge, "max_pixels=24000")
            output = running.communicate(timeout=LIMIT_S)[0]
            assert ear.poll() is None
        finally:
            ear.kill()
    assert running.returncode == 0, output
    result = read_result(RunFolder(tmp_path / "run"))
    (user,) = result.metrics.users
    assert user.frames_detected == user.frames_sent > 2
    assert result.metrics.counted == []


def test_plutos_that_stop_in_a_run_end_it_within_seconds(standing, tmp_path: Path):
    """Both are one process, which is stopped: the run names a Pluto that no longer answers, and keeps what it has."""
    server, edge = own_address(), own_address()
    air = standing(server, edge)
    folder = tmp_path / "run"
    running = run(folder, server, edge, "max_pixels=60000", "repeat=40")
    while not list(folder.glob("received/frame-*.npz")):
        assert running.poll() is None
        time.sleep(0.02)
    air.send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    output = running.communicate(timeout=LIMIT_S)[0]
    assert time.monotonic() - begin < 30
    assert running.returncode == 1
    assert "the Pluto no longer answers (no answer)" in output
    assert not read_result(RunFolder(folder)).complete


def test_plutos_that_are_wired_crosswise_hear_each_other(standing, tmp_path: Path):
    """As the line of the how-to has it: neither's oscillator is off against the other's."""
    page = (Path(__file__).parents[2] / "docs" / "over-the-air.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^    semtb air --pluto 127.0.0.2 --pluto 127.0.0.3 (--cable .*)$", page, re.MULTILINE)
    first, second = own_address(), own_address()
    standing(first, second, between=line.split())
    for uri, other in ((first, second), (second, first)):
        command = [*SEMTB, "calibrate", "oscillator", f"pluto:ip:{uri}", "--transmitter", f"pluto:ip:{other}"]
        done = subprocess.run([*command, "--store", str(tmp_path)], capture_output=True, text=True, timeout=LIMIT_S)
        assert done.returncode == 0, done.stderr
        assert f"not applied; relative to the oscillator of pluto:ip:{other}" in done.stdout
