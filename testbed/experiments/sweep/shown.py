"""A sweep as a command runs it: worker processes, a progress bar, and finished points kept beside the result file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from testbed.experiments.progress import progress_bar
from testbed.experiments.sweep.axes import Point
from testbed.experiments.sweep.engine import Task, run_points
from testbed.experiments.sweep.journal import Journal
from testbed.experiments.sweep.pool import workers


def run_shown(
    task: Task, points: Sequence[Point], what: str, jobs: int = 1, json_path: Path | None = None
) -> list[dict[str, Any]]:
    """Figures of every point, with a bar on standard error.

    Parameters
    ----------
    task, points
        As :func:`testbed.experiments.sweep.engine.run_points` takes them.
    what : str
        Beside the bar.
    jobs : int
        Processes at once.
    json_path : Path, optional
        The result file that will be written; its journal is gone on from.

    Returns
    -------
    list of dict
        As ``points``.
    """
    journal = Journal.beside(json_path) if json_path is not None else None
    errors = Console(markup=False, stderr=True)
    known = len({point.identity for point in points} & set(journal.read())) if journal is not None else 0
    if journal is not None and known:
        errors.print(f"{known} of {len(points)} points are in {journal.path} already", soft_wrap=True, highlight=False)
    with progress_bar(errors) as bar, workers(min(jobs, len(points))) as pool:
        shown = bar.add_task(what, total=len(points))
        return run_points(task, points, pool, journal, lambda point, figures: bar.advance(shown))
