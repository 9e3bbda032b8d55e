"""The main job over many channels: quality over seeds, and against the bound that no separation can pass."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.sweep.scenario import axes_of, sweep
from testbed.experiments.sweep.statistics import over_seeds


@pytest.fixture(scope="module")
def points() -> list[dict[str, Any]]:
    return []


@pytest.mark.parametrize("first_seed", [1, 6, 11, 16])
def test_two_users_at_20_db_reach_27_db_on_average(points, first_seed):
    """Twenty channel seeds in four groups: mean PSNR of each group of five at least 27 dB; every frame is found."""
    group = sweep("two-users", ["air.snr_db=20.0"], None, axes_of([], 5, first_seed), jobs=2, json_path=None)
    points += group
    assert np.mean([p["psnr_db"] for p in group]) >= 27.0
    assert all(p["psnr_db"] <= p["single_user_psnr_db"] for p in group), "nothing may beat the single-user bound"
    assert sum(p["frames_detected"] for p in group) >= 0.99 * sum(p["frames_sent"] for p in group)


def test_the_shipped_seed_lies_near_the_median(points):
    """Over the same twenty seeds: within 0.5 dB of their median, and the 5th percentile is printed."""
    if len(points) < 20:
        pytest.skip("runs after the twenty seeds of this file")
    scenario = open_scenario("two-users", [], None, None)
    (shipped,) = [p for p in points if p["seed"] == scenario.seed]
    figures = over_seeds(points)
    print(figures)
    assert shipped["psnr_db"] == pytest.approx(figures["median_psnr_db"], abs=0.5)


def test_a_killed_sweep_leaves_its_points_and_no_process(tmp_path: Path):
    """SIGKILL after the first point: the workers end too; the same command goes on, to the figures of one go."""
    command = [sys.executable, "-m", "testbed.cli.main", "sweep", "two-users", "--seeds", "4", "--jobs", "2"]
    command += ["--set", "max_pixels=8000", "--json", str(tmp_path / "a.json")]
    journal = tmp_path / "a.points.jsonl"
    child = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n"))
    family = child.children(recursive=True)
    child.kill()
    child.wait()
    assert psutil.wait_procs(family, timeout=20)[1] == []
    assert not (tmp_path / "a.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert "points are in" in done.stderr
    axes = axes_of([], 4)
    whole = sweep("two-users", ["max_pixels=8000"], None, axes, jobs=1, json_path=None)
    assert json.loads((tmp_path / "a.json").read_text())["results"]["points"] == whole


def test_ctrl_c_ends_a_sweep_with_its_workers_and_without_a_word(tmp_path: Path):
    """The signal to the one process alone, as `kill -INT` sends it: status 130, no traceback, no process left."""
    command = [sys.executable, "-m", "testbed.cli.main", "sweep", "two-users", "--seeds", "50", "--jobs", "2"]
    with (tmp_path / "errors").open("w") as errors:
        child = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        wait_until(lambda: len(child.children()) >= 2)
        family = child.children(recursive=True)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == 130
    assert psutil.wait_procs(family, timeout=20)[1] == []
    assert "Traceback" not in (tmp_path / "errors").read_text()


def wait_until(holds: Callable[[], object], limit_s: float = 50.0) -> None:
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
