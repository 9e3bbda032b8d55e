"""Whole runs over virtual Plutos in real pace whose oscillators differ: users find the server's time and keep it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from testbed.air.commands import running_airs
from testbed.config import load_scenario
from testbed.experiments.scenario_files import find_scenario
from testbed.record.events import EventTail, FrameReceived, LinkChanged, Ordered
from testbed.record.folder import RunFolder
from testbed.record.schema import Result, read_result
from tests.addresses import own_address

pytestmark = [pytest.mark.needs("pluto", "libiio"), pytest.mark.timeout(900)]
LIMIT_S = 800  # only ends a broken test
PATIENCE_S = 20  # for which the air waits where this machine is too slow for it
SEMTB = (sys.executable, "-m", "testbed.cli.main")
BAR_DB = 0.5
MOST_HZ = 50.0
FIRST_S = 5.0  # within which every user is where it shall be
# A third of the profile's rate costs a third: a minute of it is a minute on a small machine.
SLOW_HZ = 640e3
APART = (
    'air.radios=[{name="server", oscillator={ppm=-3.0, start_s=0.002}},'
    ' {name="edge-1", oscillator={ppm=17.0, drift_ppm_per_min=0.1, start_s=0.005}},'
    ' {name="edge-2", oscillator={ppm=-23.0, drift_ppm_per_min=-0.1, start_s=0.009}}]'
)
STILL = ("air.doppler_hz=0", "air.pace=realtime", f"air.patience_s={PATIENCE_S}")


def start(folder: Path, images: Path, *settings: str) -> subprocess.Popen[str]:
    """`semtb run two-users` over three Plutos of its own."""
    radios = [f"{node}=pluto:ip:{own_address()}" for node in ("server", "edge-1", "edge-2")]
    command = [*SEMTB, "run", "two-users", "--out", str(folder), "--images", str(images), "--seed", "2"]
    command += [word for radio in radios for word in ("--radio", radio)]
    command += [word for setting in settings for word in ("--set", setting)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(running: subprocess.Popen[str], folder: Path) -> Result:
    """Wait for the end of a run."""
    try:
        output, _ = running.communicate(timeout=LIMIT_S)
    finally:
        running.terminate()
    assert running.returncode == 0, output
    return read_result(RunFolder(folder))


def arrivals(folder: Path, rate_hz: float, user: int) -> np.ndarray:
    """[n, 3]: of each frame that was read of a user its time in s, samples from the grid, and offset in Hz."""
    period = load_scenario(find_scenario("two-users")).waveform.frame_period_samples
    rows = []
    for event in EventTail(RunFolder(folder)).new():
        if isinstance(event, FrameReceived):
            for part in event.users:
                if part.user == user and part.header:
                    at = event.first_sample + part.delay_samples
                    rows.append((event.first_sample / rate_hz, (at + period / 2) % period - period / 2, part.cfo_hz))
    return np.array(rows)


def assert_aligned(rows: np.ndarray) -> None:
    """A quarter of the prefix, and 50 Hz as the 95th percentile."""
    prefix = load_scenario(find_scenario("two-users")).waveform.cp_samples
    assert np.abs(rows[:, 1]).max() < prefix / 4
    assert np.percentile(np.abs(rows[:, 2]), 95) < MOST_HZ


def test_pictures_are_as_good_as_with_ideal_clocks(photographs: Path, tmp_path: Path):
    """40 ppm between the edges against one clock for all, on the same channel: PSNR within 0.5 dB, no frame lost."""
    common = (*STILL, "max_pixels=12000", "repeat=2")
    ideal = finish(start(tmp_path / "ideal", photographs, *common), tmp_path / "ideal")
    apart = finish(start(tmp_path / "apart", photographs, *common, APART), tmp_path / "apart")
    for one, other in zip(ideal.metrics.users, apart.metrics.users, strict=True):
        assert other.frames_detected == other.frames_sent == one.frames_sent > 0
        assert other.psnr_db == pytest.approx(one.psnr_db, abs=BAR_DB)
    for user in (0, 1):
        rows = arrivals(tmp_path / "apart", 1.92e6, user)
        assert rows[0, 0] < FIRST_S
        assert_aligned(rows)


def set_loss(air: str, loss_db: float) -> None:
    """Of the second edge, while the air runs."""
    (name,) = [known for known in running_airs() if known.startswith(air)]
    command = [*SEMTB, "air", "set", "--air", name, "edge-2.server.path_loss_db", str(loss_db)]
    subprocess.run(command, check=True, capture_output=True, timeout=LIMIT_S)


def test_users_stay_for_a_minute_and_one_who_leaves_is_taken_back(photographs: Path, tmp_path: Path):
    """Oscillators that drift: from 5 s on all frames of a minute arrive in place. One edge loses server and beacon for
    two seconds or more: the other goes on, and it is back within five of its return."""
    air, folder = f"air-{os.getpid()}", tmp_path / "run"
    settings = (f"waveform.sample_rate_hz={SLOW_HZ}", f"air.name={air}", "max_pixels=12000", "repeat=345", APART)
    folder.mkdir()
    running = start(folder, photographs, *STILL, *settings)
    tail, now_s, gone_s, back = EventTail(RunFolder(folder)), 0.0, 0.0, False
    while not back:
        time.sleep(0.05)
        assert running.poll() is None, running.communicate()
        now_s = max([now_s, *(e.first_sample / SLOW_HZ for e in tail.new() if isinstance(e, FrameReceived))])
        if now_s > 10.0 and not gone_s:
            set_loss(air, 130.0)
            gone_s = now_s
        elif gone_s and now_s > gone_s + 2.0:
            set_loss(air, 30.0)
            back = True
    result = finish(running, folder)
    first, second = (arrivals(folder, SLOW_HZ, user) for user in (0, 1))
    assert first[-1, 0] > 60.0
    for rows in (first, second):
        assert rows[0, 0] < FIRST_S
        assert_aligned(rows)
    assert np.diff(first[:, 0]).max() < 0.5  # nothing of the other's leave is seen in the first's frames
    events = EventTail(RunFolder(folder)).new()
    cut, restored = (e.at_sample / SLOW_HZ for e in events if isinstance(e, LinkChanged))
    away_s = np.diff(second[:, 0]).max()
    assert 1.0 < restored - cut < away_s < restored - cut + FIRST_S
    asked = [e.user for e in events if isinstance(e, Ordered) and not e.frames]
    assert asked.count(1) > asked.count(0)
    assert result.metrics.users[0].frames_detected == result.metrics.users[0].frames_sent
