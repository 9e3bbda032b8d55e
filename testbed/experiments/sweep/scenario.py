"""`semtb sweep`: a scenario over any of its keys, simulated without sockets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Console

from testbed.config import Scenario
from testbed.errors import ScenarioError
from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.sweep.axes import Axis, Point, parse_axis, product, toml
from testbed.experiments.sweep.identity import identity_of
from testbed.experiments.sweep.result import result_file
from testbed.experiments.sweep.shown import run_shown
from testbed.experiments.sweep.statistics import SEED
from testbed.experiments.sweep.tables import show
from testbed.files import require_writable, write_aside
from testbed.record.schema import Metrics

SEEDS = 20  # unless told otherwise


class Figures(msgspec.Struct, frozen=True):
    """What one simulation found: means over users, and each user's own."""

    psnr_db: float | None  # mean over users, each of its pictures' mean MSE
    single_user_psnr_db: float | None  # the bound: the same channel known exactly, no other user
    users_psnr_db: list[float | None]
    sinr_db: list[float | None]
    frames_sent: int
    frames_detected: int


def simulate_point(point: Point) -> Figures:
    """Simulate the scenario of a point: a task of :func:`testbed.experiments.sweep.engine.run_points`.

    Parameters
    ----------
    point : Point
        ``given`` is its scenario.

    Returns
    -------
    Figures
    """
    from testbed.experiments.simulate import simulate

    return figures_of(simulate(point.given).metrics)


def figures_of(metrics: Metrics) -> Figures:
    """The figures of a sweep from those of a run.

    Parameters
    ----------
    metrics : Metrics

    Returns
    -------
    Figures
    """

    def mean(values: Sequence[float | None]) -> float | None:
        known = [v for v in values if v is not None]
        return float(np.mean(known)) if known else None

    users = metrics.users
    return Figures(
        psnr_db=mean([u.psnr_db for u in users]),
        single_user_psnr_db=mean([u.single_user_psnr_db for u in users]),
        users_psnr_db=[u.psnr_db for u in users],
        sinr_db=[u.sinr_db_true for u in users],
        frames_sent=sum(u.frames_sent for u in users),
        frames_detected=sum(u.frames_detected for u in users),
    )


def axes_of(over: Sequence[str], seeds: int | None = None, first_seed: int = 1) -> list[Axis]:
    """The axes of a command line, the seed last.

    Parameters
    ----------
    over : sequence of str
        As :func:`testbed.experiments.sweep.axes.parse_axis` takes them.
    seeds : int, optional
        How many; 20 where neither this nor an axis names them.
    first_seed : int

    Returns
    -------
    list of Axis

    Raises
    ------
    ScenarioError
        If an axis is not written as one, or the seeds are given twice.
    """
    axes = [parse_axis(text) for text in over]
    if not any(axis.key == SEED for axis in axes):
        seeds = SEEDS if seeds is None else seeds
        return [*axes, Axis(SEED, tuple(range(first_seed, first_seed + seeds)))]
    if seeds is not None:
        raise ScenarioError("--seeds beside --over seed=...: give one of them")
    return axes


def scenario_points(name: str, settings: Sequence[str], images: str | None, axes: Sequence[Axis]) -> list[Point]:
    """A point for each combination, its scenario loaded and checked, so that nothing starts where one is wrong.

    Parameters
    ----------
    name : str
        A shipped scenario or the path of one.
    settings : sequence of str
        ``key=value`` for every point; axes are applied behind them.
    images : str, optional
        A folder of pictures for all edges.
    axes : sequence of Axis
        Keys of the scenario.

    Returns
    -------
    list of Point

    Raises
    ------
    ScenarioError
        If a key is unknown or a value is not allowed.
    """
    points = []
    for at in product(axes):
        varied = [f"{key}={toml(value)}" for key, value in at.items()]
        scenario = open_scenario(name, [*settings, *varied], None, images)
        points.append(Point(at, identity_of("simulate", scenario), scenario))
    return points


def sweep(
    name: str, settings: Sequence[str], images: str | None, axes: Sequence[Axis], jobs: int, json_path: Path | None
) -> list[dict[str, Any]]:
    """Simulate every point, print a table, and write a result file if asked.

    Parameters
    ----------
    name, settings, images, axes
        As :func:`scenario_points` takes them.
    jobs : int
        Processes at once; no figure depends on it.
    json_path : Path, optional
        The result file. Finished points lie beside it, and a further call goes on from them.

    Returns
    -------
    list of dict
        Coordinates and figures of each point, in the order of the axes.

    Raises
    ------
    SemtbError
        If the scenario is wrong, a file cannot be written, or a worker is lost.
    """
    require_writable(json_path)
    points = scenario_points(name, settings, images, axes)
    figures = run_shown(simulate_point, points, f"{points[0].given.name}, {len(points)} points", jobs, json_path)
    rows = [point.at | found for point, found in zip(points, figures, strict=True)]
    scenario: Scenario = points[0].given
    show(scenario, axes, rows)
    if json_path is not None:
        write_aside(json_path, result_file(scenario, axes, rows))
        Console(markup=False).print(f"written: {json_path}", soft_wrap=True)
    return rows
