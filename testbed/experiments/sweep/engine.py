"""Runs a task over points, here or on an executor, and brings the figures back in the points' order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, as_completed
from contextlib import closing
from typing import Any

import msgspec

from testbed.errors import RunIncomplete
from testbed.experiments.sweep.axes import Point
from testbed.experiments.sweep.journal import Journal

Task = Callable[[Point], "msgspec.Struct | Mapping[str, Any]"]
OnPoint = Callable[[Point, dict[str, Any]], object]


def run_points(
    task: Task,
    points: Sequence[Point],
    executor: Executor | None = None,
    journal: Journal | None = None,
    on_point: OnPoint = lambda point, figures: None,
) -> list[dict[str, Any]]:
    """The figures of every point. They depend on the points alone, never on workers or on who ends first.

    Parameters
    ----------
    task : callable
        Takes a point, returns its figures: a struct or a dict of what JSON can hold. A function of the point alone, and
        picklable where the executor has processes.
    points : sequence of Point
    executor : concurrent.futures.Executor, optional
        Where tasks run; left as it is found. None: in this thread, one after the other, with no pool at all.
    journal : Journal, optional
        Points that it holds are not run again; each further one is added as soon as it is finished.
    on_point : callable
        Called in this thread with each point and its figures as they come, those of the journal first.

    Returns
    -------
    list of dict
        As ``points``.

    Raises
    ------
    RunIncomplete
        If a worker of the executor was ended from outside. What the task raises comes through as it is. Whatever ends
        it early, points that were not begun are cancelled, and the journal keeps what was finished.
    """
    known = journal.read() if journal is not None else {}
    found: dict[int, dict[str, Any]] = {}
    missing: dict[int, Point] = {}
    for index, point in enumerate(points):
        if point.identity and point.identity in known:
            found[index] = known[point.identity]
            on_point(point, found[index])
        else:
            missing[index] = point
    run = _in_order(task, missing) if executor is None else _as_they_end(task, missing, executor)
    with closing(run):
        for index, raw in run:
            # Through JSON and back: a figure from a journal and one measured now have the same types and bits.
            figures = msgspec.json.decode(msgspec.json.encode(raw))
            if journal is not None and points[index].identity:
                journal.add(points[index], figures)
            found[index] = figures
            on_point(points[index], figures)
    return [found[index] for index in range(len(points))]


def _in_order(task: Task, points: Mapping[int, Point]) -> Generator[tuple[int, Any], None, None]:
    for index, point in points.items():
        yield index, task(point)


def _as_they_end(task: Task, points: Mapping[int, Point], executor: Executor) -> Generator[tuple[int, Any], None, None]:
    futures = {executor.submit(task, point): index for index, point in points.items()}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenExecutor as error:
        raise RunIncomplete(
            f"a worker was ended from outside ({error}); too little memory for so many? "
            "The same command goes on from the points that are finished, if it has --json"
        ) from error
    finally:
        for future in futures:
            future.cancel()
