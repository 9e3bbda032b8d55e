"""`semtb sweep`: one scenario over many channel seeds, on any number of processes with the same result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from testbed.config import Scenario
from testbed.experiments.learn.codec import progress_bar
from testbed.files import require_writable, write_aside
from testbed.record import provenance
from testbed.record.schema import Metrics, User


class Point(msgspec.Struct, frozen=True):
    """One seed's outcome: the mean over users of each user's PSNR."""

    seed: int
    psnr_db: float
    single_user_psnr_db: float
    users_psnr_db: list[float]
    sinr_db: list[float | None]
    frames_sent: int
    frames_detected: int


def run_point(scenario: Scenario) -> Point:
    """Simulate one seed. Numerical libraries keep to one thread, so that workers do not fight."""
    from testbed.experiments.simulate import simulate

    return summarise(scenario.seed, simulate(scenario).metrics)


def summarise(seed: int, metrics: Metrics) -> Point:
    """The figures of a sweep from those of a run."""

    def mean(values: Sequence[float | None]) -> float:
        return float(np.mean([v for v in values if v is not None]))

    users: list[User] = metrics.users
    return Point(
        seed=seed,
        psnr_db=mean([u.psnr_db for u in users]),
        single_user_psnr_db=mean([u.single_user_psnr_db for u in users]),
        users_psnr_db=[u.psnr_db or 0.0 for u in users],
        sinr_db=[u.sinr_db_true for u in users],
        frames_sent=sum(u.frames_sent for u in users),
        frames_detected=sum(u.frames_detected for u in users),
    )


def sweep(scenario: Scenario, seeds: int, first_seed: int, jobs: int, json_path: Path | None) -> list[Point]:
    """Simulate ``seeds`` seeds from ``first_seed`` on, print a table, and write a result file if asked."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    require_writable(json_path)
    tasks = [msgspec.structs.replace(scenario, seed=first_seed + i) for i in range(seeds)]
    points: dict[int, Point] = {}
    with progress_bar(Console(markup=False, stderr=True)) as bar, ProcessPoolExecutor(max_workers=jobs) as pool:
        task = bar.add_task(f"{scenario.name}, {seeds} seeds", total=seeds)
        futures = [pool.submit(run_point, t) for t in tasks]
        try:
            for done in as_completed(futures):
                point = done.result()
                points[point.seed] = point
                bar.advance(task)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    ordered = [points[s] for s in sorted(points)]
    show(scenario, ordered)
    if json_path is not None:
        write_aside(json_path, result_file(scenario, ordered))
        Console(markup=False).print(f"written: {json_path}")
    return ordered


def statistics(points: Sequence[Point]) -> dict[str, float]:
    """Mean, 5th percentile and median over seeds, and the seed nearest to the median."""
    psnr = np.array([p.psnr_db for p in points])
    return {
        "mean_psnr_db": float(np.mean(psnr)),
        "p5_psnr_db": float(np.percentile(psnr, 5)),
        "median_psnr_db": float(np.median(psnr)),
        "median_seed": float(points[int(np.argmin(np.abs(psnr - np.median(psnr))))].seed),
        "mean_single_user_psnr_db": float(np.mean([p.single_user_psnr_db for p in points])),
    }


def show(scenario: Scenario, points: Sequence[Point]) -> None:
    """The table on the terminal."""
    console = Console(markup=False)
    table = Table(title=f"{scenario.name}, {scenario.air.channel}, {scenario.air.snr_db:g} dB SNR")
    for column in ("seed", "PSNR dB", "single-user bound dB", "SINR of each user dB", "frames"):
        table.add_column(column, justify="right")
    for p in points:
        sinr = " ".join("-" if s is None else f"{s:.1f}" for s in p.sinr_db)
        table.add_row(
            str(p.seed),
            f"{p.psnr_db:.2f}",
            f"{p.single_user_psnr_db:.2f}",
            sinr,
            f"{p.frames_detected}/{p.frames_sent}",
        )
    console.print(table)
    s = statistics(points)
    console.print(
        f"mean {s['mean_psnr_db']:.2f} dB, 5th percentile {s['p5_psnr_db']:.2f} dB, median {s['median_psnr_db']:.2f} "
        f"dB (seed {s['median_seed']:.0f}); single-user bound {s['mean_single_user_psnr_db']:.2f} dB"
    )


def result_file(scenario: Scenario, points: Sequence[Point]) -> bytes:
    """A result file in the house's schema."""
    result = {
        "name": f"{scenario.name}-{scenario.air.snr_db:g}dB",
        "task": scenario.name,
        "command": provenance.command(),
        "commit": provenance.git_commit(),
        "machine": provenance.machine(),
        "conventions": {
            "snr": "Es/N0 per occupied resource element, per user, per receive antenna, E|h|^2 = 1",
            "psnr": "of the mean MSE over each user's pictures, then the mean over users",
            "single_user": "the same channel known exactly, no other user, maximum ratio combining",
        },
        "results": statistics(points) | {"points": [msgspec.to_builtins(p) for p in points]},
    }
    return msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"
