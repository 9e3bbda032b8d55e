"""Ten minutes of two users whose oscillators differ and drift, over virtual Plutos in real pace: nothing slips."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from testbed.config import load_scenario
from testbed.experiments.scenario_files import find_scenario
from testbed.record.events import EventTail, FrameReceived
from testbed.record.folder import RunFolder
from tests.addresses import own_address

pytestmark = [pytest.mark.needs("pluto", "libiio"), pytest.mark.timeout(7200)]
AIR_S = 600
RATE_HZ = 640e3  # a third of the profile's, so that two cores keep real pace
FRAMES_A_REPEAT = 25  # of the photographs that scikit-learn carries, one for each edge
MOST_HZ = 50.0
APART = (
    'air.radios=[{name="edge-1", oscillator={ppm=20.0, drift_ppm_per_min=0.1, start_s=0.005}},'
    ' {name="edge-2", oscillator={ppm=-20.0, drift_ppm_per_min=-0.1, start_s=0.009}}]'
)


def test_ten_minutes_on_one_grid(tmp_path: Path):
    """40 ppm apart and 2 ppm more at the end, TDL-A at 20 dB with 5 Hz of Doppler: from 5 s on every user arrives
    within a quarter of the prefix, and within 50 Hz as the 95th percentile of each minute; 1 % of frames may go."""
    waveform = load_scenario(find_scenario("two-users")).waveform
    period = waveform.frame_period_samples
    repeat = round(AIR_S * RATE_HZ / period / FRAMES_A_REPEAT)
    settings = [
        "air.pace=realtime",
        "air.patience_s=20",
        f"waveform.sample_rate_hz={RATE_HZ}",
        f"repeat={repeat}",
        APART,
    ]
    command = [sys.executable, "-m", "testbed.cli.main", "run", "two-users", "--out", str(tmp_path / "run")]
    for node in ("server", "edge-1", "edge-2"):
        command += ["--radio", f"{node}=pluto:ip:{own_address()}"]
    command += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    seen: dict[int, list[tuple[float, float, float]]] = {0: [], 1: []}
    for event in EventTail(RunFolder(tmp_path / "run")).new():
        if isinstance(event, FrameReceived):
            for part in event.users:
                if part.header and part.delay_samples is not None and part.cfo_hz is not None:
                    error = (event.first_sample + part.delay_samples + period / 2) % period - period / 2
                    seen[part.user].append((event.first_sample / RATE_HZ, error, part.cfo_hz))
    for user, found in seen.items():
        rows = np.array(found)
        assert rows[0, 0] < 5.0
        assert rows[-1, 0] > AIR_S - 10
        assert len(rows) > 0.99 * repeat * FRAMES_A_REPEAT
        assert np.abs(rows[:, 1]).max() < waveform.cp_samples / 4
        for minute in range(AIR_S // 60):
            part = np.abs(rows[(rows[:, 0] >= 60 * minute) & (rows[:, 0] < 60 * (minute + 1)), 2])
            assert np.percentile(part, 95) < MOST_HZ, f"user {user}, minute {minute}"
