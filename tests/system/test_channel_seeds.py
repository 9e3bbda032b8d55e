"""The main job over many channels: quality over seeds, and against the bound that no separation can pass."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.config import load_scenario
from testbed.experiments.scenario_files import find_scenario
from testbed.experiments.sweep import Point, statistics, sweep


@pytest.fixture(scope="module")
def points() -> list[Point]:
    return []


@pytest.mark.parametrize("first_seed", [1, 6, 11, 16])
def test_two_users_at_20_db_reach_27_db_on_average(points, first_seed):
    """Twenty channel seeds in four groups: mean PSNR of each group of five at least 27 dB; every frame is found."""
    scenario = load_scenario(find_scenario("two-users"), ["air.snr_db=20.0"])
    group = sweep(scenario, seeds=5, first_seed=first_seed, jobs=2, json_path=None)
    points += group
    assert np.mean([p.psnr_db for p in group]) >= 27.0
    assert all(p.psnr_db <= p.single_user_psnr_db for p in group), "nothing may beat the single-user bound"
    assert sum(p.frames_detected for p in group) >= 0.99 * sum(p.frames_sent for p in group)


def test_the_shipped_seed_lies_near_the_median(points):
    """Over the same twenty seeds: within 0.5 dB of their median, and the 5th percentile is printed."""
    if len(points) < 20:
        pytest.skip("runs after the twenty seeds of this file")
    scenario = load_scenario(find_scenario("two-users"))
    (shipped,) = [p for p in points if p.seed == scenario.seed]
    figures = statistics(points)
    print(figures)
    assert shipped.psnr_db == pytest.approx(figures["median_psnr_db"], abs=0.5)


def test_the_number_of_workers_changes_nothing():
    """Two seeds on one worker and on two: the same figures to the last bit."""
    scenario = load_scenario(find_scenario("two-users"), ["max_pixels=40000"])
    alone, together = (sweep(scenario, seeds=2, first_seed=31, jobs=j, json_path=None) for j in (1, 2))
    assert alone == together
