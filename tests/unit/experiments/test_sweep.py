"""One engine for all sweeps: axes, executors, what is kept of a sweep that was cut off, and what is stated of it."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy import stats

from testbed.codec.evaluate import AwgnScore
from testbed.errors import DataError, RunIncomplete, ScenarioError, SemtbError
from testbed.experiments.learn.codec import Task as CodecTask
from testbed.experiments.sweep import pool
from testbed.experiments.sweep.axes import Axis, Point, parse_axis, product
from testbed.experiments.sweep.engine import run_points
from testbed.experiments.sweep.identity import identity_of
from testbed.experiments.sweep.journal import Journal
from testbed.experiments.sweep.result import result_of
from testbed.experiments.sweep.scenario import Figures, axes_of, scenario_points, simulate_point
from testbed.experiments.sweep.statistics import cells, mean_ci95

SMALL = ["max_pixels=4000"]


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("air.snr_db=-10:25:5", "air.snr_db", (-10, -5, 0, 5, 10, 15, 20, 25)),
        ("air.snr_db=0:1:0.1", "air.snr_db", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)),
        ("air.snr_db=10:0:-4", "air.snr_db", (10, 6, 2)),
        ("air.delay_spread_s=30e-9,100e-9", "air.delay_spread_s", (30e-9, 100e-9)),
        ("server.estimator=ls, lmmse", "server.estimator", ("ls", "lmmse")),
        ("air.user_cfo_hz=[0.0,0.0],[5.0,-5.0]", "air.user_cfo_hz", ([0.0, 0.0], [5.0, -5.0])),
        ("edges.edge-1.radio=pluto:ip:1", "edges.edge-1.radio", ("pluto:ip:1",)),
    ],
)
def test_axes_are_read_as_they_are_typed(text, key, values):
    """Ranges with both ends and without rounding errors, numbers, names, lists; types as TOML has them."""
    axis = parse_axis(text)
    assert (axis.key, axis.values) == (key, values)
    assert [type(v) for v in axis.values] == [type(v) for v in values]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("air.snr_db", "key=first:last:step"),
        ("=1,2", "key=first:last:step"),
        ("air.snr_db=", "key=first:last:step"),
        ("air.snr_db=0:10:0", "no range"),
        ("air.snr_db=0:10:-1", "no range"),
        ("air.snr_db=0:nan:1", "no range"),
        ("air.snr_db=0:1e9:1e-9", "more than 100000 values"),
        ("air.snr_db=5,10,5", "5 stands there twice"),
        ("server.estimator=ls,,lmmse", "empty value"),
    ],
)
def test_what_is_no_axis_is_refused(text, says):
    with pytest.raises(ScenarioError, match=says):
        parse_axis(text)


def test_a_product_has_every_combination_once_and_an_axis_stands_there_once():
    at = product([Axis("a", (1, 2)), Axis("b", ("x", "y", "z"))])
    assert at[:2] == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}]
    assert len({json.dumps(point) for point in at}) == 6
    with pytest.raises(ScenarioError, match="two axes"):
        product([Axis("a", (1,)), Axis("a", (2,))])
    with pytest.raises(ScenarioError, match="at most"):
        product([Axis("a", tuple(range(1000))), Axis("b", tuple(range(1000)))])


def test_seeds_are_an_axis_and_given_once():
    assert axes_of([])[-1].values == tuple(range(1, 21))
    assert axes_of(["seed=3,9"])[-1].values == (3, 9)
    assert [axis.key for axis in axes_of(["air.snr_db=0,5"], 2, 7)] == ["air.snr_db", "seed"]
    with pytest.raises(ScenarioError, match="one of them"):
        axes_of(["seed=3,9"], seeds=4)


def test_a_wrong_value_of_an_axis_is_refused_before_anything_starts():
    with pytest.raises(ScenarioError, match=r"-30\.\.80"):
        scenario_points("two-users", SMALL, None, axes_of(["air.snr_db=0,300"], 1))
    with pytest.raises(ScenarioError, match="Did you mean snr_db"):
        scenario_points("two-users", SMALL, None, axes_of(["air.snr=0,3"], 1))


def square(point: Point) -> dict[str, float]:
    return {"y": point.at["x"] ** 2}


POINTS = [Point({"x": x}, f"x{x}") for x in range(6)]
SQUARES = [{"y": x**2} for x in range(6)]


def test_any_executor_gives_what_none_gives():
    """In this thread, on threads, on spawned processes: the same figures in the points' order."""
    assert run_points(square, POINTS) == SQUARES
    with ThreadPoolExecutor(3) as threads:
        assert run_points(square, POINTS, threads) == SQUARES
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        assert run_points(square, POINTS, processes) == SQUARES


def test_figures_come_as_they_are_finished_and_return_in_order():
    """The first point waits until the last was reported: figures are neither held back nor mixed up."""
    reported = threading.Event()

    def task(point: Point) -> dict[str, int]:
        if point.at["x"] == 0:
            assert reported.wait(30)
        return {"y": point.at["x"]}

    order = []

    def on_point(point: Point, figures: dict[str, int]) -> None:
        order.append(figures["y"])
        if len(order) == len(POINTS) - 1:
            reported.set()

    with ThreadPoolExecutor(2) as threads:
        found = run_points(task, POINTS, threads, on_point=on_point)
    assert order[-1] == 0
    assert [f["y"] for f in found] == list(range(6))


def test_a_failure_cancels_what_has_not_begun_and_comes_through():
    """The first point fails while the second is at work: of a hundred, no third one is begun."""
    begun, go_on = [], threading.Event()

    def task(point: Point) -> dict[str, int]:
        begun.append(point.at["x"])
        if point.at["x"] == 0:
            raise DataError("this one")
        assert go_on.wait(30)
        return {}

    with ThreadPoolExecutor(1) as threads:
        with pytest.raises(DataError, match="this one"):
            run_points(task, [Point({"x": x}) for x in range(100)], threads)
        go_on.set()
    assert begun in ([0], [0, 1])


def test_a_lost_worker_is_one_line_that_says_how_to_go_on():
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes,
        pytest.raises(RunIncomplete, match="--json"),
    ):
        run_points(leave, POINTS, processes)


def leave(point: Point) -> dict[str, int]:
    import os

    os._exit(9)


def test_a_sweep_goes_on_from_what_is_finished(tmp_path: Path):
    """Cut off after two points, with a torn line: they are not run again, the rest is, and figures are the same."""
    journal = Journal.beside(tmp_path / "result.json")
    ran: list[int] = []

    def task(point: Point) -> dict[str, float]:
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(point.at["x"])
        return {"y": point.at["x"] / 3}

    with pytest.raises(KeyboardInterrupt):
        run_points(task, POINTS, journal=journal)
    assert journal.path == tmp_path / "result.points.jsonl"
    with journal.path.open("ab") as stream:
        stream.write(b'{"identity":"x2","at":{"x":2},"fig')
    again: list[int] = []

    def whole(point: Point) -> dict[str, float]:
        again.append(point.at["x"])
        return {"y": point.at["x"] / 3}

    assert run_points(whole, POINTS, journal=journal) == [{"y": x / 3} for x in range(6)]
    assert (ran, again) == ([0, 1], [2, 3, 4, 5])
    assert all(msgspec.json.decode(line) for line in journal.path.read_bytes().splitlines())
    assert run_points(whole, POINTS, journal=journal) == [{"y": x / 3} for x in range(6)]
    assert again == [2, 3, 4, 5]


def test_a_point_of_other_settings_is_not_taken_from_a_journal(tmp_path: Path):
    """Another identity at the same coordinates is measured anew; a point without one never enters."""
    journal = Journal(tmp_path / "points.jsonl")
    run_points(square, [Point({"x": 2}, "old"), Point({"x": 3})], journal=journal)
    assert list(journal.read()) == ["old"]
    seen = []
    run_points(lambda point: seen.append(1) or {"y": 0}, [Point({"x": 2}, "new")], journal=journal)
    assert seen == [1]


def test_a_journal_that_is_none_or_is_planted_is_refused(tmp_path: Path):
    journal = Journal(tmp_path / "points.jsonl")
    journal.path.write_text('{"not": "a point"}\n')
    with pytest.raises(DataError, match="line 1"):
        journal.read()
    journal.path.unlink()
    target = tmp_path / "precious"
    target.write_text("all of it")
    journal.path.symlink_to(target)
    for use in (journal.read, partial(journal.add, Point({}, "x"), {})):
        with pytest.raises(DataError, match="cannot be written"):
            use()
    assert target.read_text() == "all of it"


def test_the_identity_covers_settings_and_the_files_that_they_name(tmp_path: Path):
    """Another value, another task, another picture under the same path: another identity. Nothing changed: the same."""
    (tmp_path / "a.png").write_bytes(b"1")
    settings = {"images": str(tmp_path), "snr_db": 5}
    first = identity_of("simulate", settings)
    assert identity_of("simulate", dict(settings)) == first
    assert identity_of("awgn", settings) != first
    assert identity_of("simulate", settings | {"snr_db": 6}) != first
    (tmp_path / "a.png").write_bytes(b"12")
    assert identity_of("simulate", settings) != first


def test_one_job_makes_no_pool_and_two_say_why_there_is_none(monkeypatch: pytest.MonkeyPatch):
    """As where /dev/shm is read-only: making a pool raises."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pool, "ProcessPoolExecutor", refused)
    with pool.workers(1) as executor:
        assert executor is None
    with pytest.raises(SemtbError, match="--jobs 1 needs none"), pool.workers(2):
        pass


def test_a_sweep_over_doppler_on_two_workers_equals_one():
    """Two users over 0 and 200 Hz, two seeds: equal to the last bit, and Doppler does change the figures."""
    points = scenario_points("two-users", SMALL, None, axes_of(["air.doppler_hz=0,200"], 2))
    alone = run_points(simulate_point, points)
    with pool.workers(2) as processes:
        assert run_points(simulate_point, points, processes) == alone
    means = [cell["psnr_db"] for cell in cells(axes_of(["air.doppler_hz=0,200"], 2), rows_of(points, alone))]
    assert means[0] > means[1] + 1
    for figures in alone:
        assert msgspec.convert(figures, Figures).frames_sent > 0


@pytest.mark.needs("data")
def test_a_codec_goes_through_the_same_engine():
    """A codec over AWGN at two SNRs, in this thread and on two threads: equal, and better at the higher one."""
    points = [Point({"snr_db": snr}) for snr in (0.0, 10.0)]
    task = CodecTask("deepjscc-cifar10", 30, 1)
    alone = run_points(task, points)
    with ThreadPoolExecutor(2) as threads:
        assert run_points(task, points, threads) == alone
    low, high = (msgspec.convert(f, AwgnScore) for f in alone)
    assert high.psnr_of_mean_mse_db > low.psnr_of_mean_mse_db + 3


def rows_of(points, figures):
    return [point.at | found for point, found in zip(points, figures, strict=True)]


def test_the_interval_is_students(rng):
    """Against scipy.stats.t.interval; over 2,000 draws of 5 normal values it holds the mean in 95 +- 1.5 %."""
    values = rng.normal(30, 2, 5)
    mean, half = mean_ci95(values)
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    draws = [mean_ci95(v) for v in rng.normal(0, 1, (2000, 5))]
    held = np.mean([abs(m) < h for m, h in draws])
    assert held == pytest.approx(0.95, abs=0.015)
    assert mean_ci95([1.0]) == (1.0, None)


def test_cells_put_seeds_together_and_nothing_else():
    axes = [Axis("air.snr_db", (0, 5)), Axis("seed", (1, 2, 3))]
    rows = [
        {
            "air.snr_db": snr,
            "seed": seed,
            "psnr_db": snr + seed,
            "single_user_psnr_db": snr + seed + 1.5,
            "sinr_db": [0.0],
            "frames_sent": 10,
            "frames_detected": 9,
        }
        for snr in (0, 5)
        for seed in (1, 2, 3)
    ]
    low, high = cells(axes, rows)
    assert (low["air.snr_db"], low["seeds"], low["psnr_db"], high["psnr_db"]) == (0, 3, 2.0, 7.0)
    assert (low["frames_sent"], low["frames_detected"]) == (30, 27)
    assert low["median_seed"] == 2
    assert low["below_single_user_db"] == pytest.approx(1.5)
    assert low["below_single_user_db_ci95"] == pytest.approx(0.0)
    lost = [row | {"psnr_db": None} for row in rows]
    assert "psnr_db" not in cells(axes, lost)[0]


def test_the_result_of_seeds_alone_keeps_its_schema():
    """Every field of the committed file, with the same types; axes and intervals are added."""
    committed = json.loads((Path(__file__).parents[3] / "docs/results/two-users-20dB.json").read_text())
    points = scenario_points("two-users", SMALL, None, axes_of([], 2))
    result = result_of(points[0].given, axes_of([], 2), rows_of(points, run_points(simulate_point, points)))
    assert result["name"] == committed["name"]
    assert set(committed) <= set(result)
    assert set(committed["results"]) <= set(result["results"])
    assert set(committed["results"]["points"][0]) <= set(result["results"]["points"][0])
    assert result["results"]["axes"] == {"seed": [1, 2]}
