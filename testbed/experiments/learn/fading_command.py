"""Body of `semtb eval fading`: progress shown, a table, files out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from server.estimation import ESTIMATORS
from testbed.config import ServerPart
from testbed.experiments.learn.fading import PICTURE_PIXELS, Errors, FadingTask, axes_of, cells_of
from testbed.experiments.sweep.axes import Point, product
from testbed.experiments.sweep.identity import identity_of
from testbed.experiments.sweep.shown import run_shown
from testbed.experiments.tables import print_table
from testbed.files import require_writable, write_aside
from testbed.phy.waveform import Waveform
from testbed.record import provenance
from testbed.report.fading import losses

CONVENTIONS = {
    "snr": "Es/N0 per occupied resource element, per user, per receive antenna, with E|h|^2 = 1",
    "psnr": "mean over draws; of a draw, of two users' mean MSE, one picture each a frame; LMMSE detection, 2 antennas",
    "draws": "each has its own channels, offsets and delays and is received at every SNR; all estimators see the same "
    "received frames, whose begin and number are told, so that headers lose nothing",
    "below_best": "mean difference in dB from the estimator that is best in this cell",
    "above_ls": "mean difference in dB from LS",
    "ci95": "bootstrap over draws, paired",
}


def eval_fading(
    snr_db: Sequence[float], draws: int, seed: int, jobs: int, json_path: Path | None, svg_path: Path | None
) -> None:
    """Every estimator that ships on every channel, delay spread and Doppler shift; a table, a file, a figure if asked.

    Parameters
    ----------
    snr_db : sequence of float
    draws : int
        Of each condition.
    seed : int
    jobs : int
        Processes; no figure depends on it.
    json_path, svg_path : Path, optional
        Finished draws lie beside the former, and the same call goes on from them.
    """
    require_writable(json_path)
    require_writable(svg_path)
    default = ServerPart().estimator
    task = FadingTask(Waveform(), tuple(ESTIMATORS), list(snr_db), seed)
    axes = axes_of(draws)
    points = [Point(at, identity_of("fading", [task, at]) if json_path else "") for at in product(axes)]
    errors = [msgspec.convert(f, Errors) for f in run_shown(task, points, "frames", jobs, json_path)]
    cells = cells_of([point.at for point in points], errors, snr_db, seed)
    console = Console(markup=False)
    print_table(console, table_of(cells, default))
    result = {
        "name": "estimator-psnr",
        "task": "channel estimation",
        "command": provenance.command(),
        "commit": provenance.git_commit(),
        "machine": provenance.machine(),
        "conventions": CONVENTIONS
        | {"draws_per_cell": str(draws), "seed": str(seed), "codec": task.codec, "pixels": f"{PICTURE_PIXELS} at most"},
        "results": {"default": default, "axes": {a.key: list(a.values) for a in axes[:-1]}, "cells": cells},
    }
    if json_path is not None:
        write_aside(json_path, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
        console.print(f"written: {json_path}")
    if svg_path is not None:
        write_aside(svg_path, losses(msgspec.json.decode(msgspec.json.encode(result["results"]))).encode())
        console.print(f"written: {svg_path}")


def table_of(cells: Sequence[dict[str, Any]], default: str) -> Table:
    """Of each estimator: how far below the best it lies, and how far above LS, over all cells.

    Parameters
    ----------
    cells : sequence of dict
    default : str

    Returns
    -------
    rich.table.Table
    """
    table = Table(title=f"{len(cells)} cells, PSNR in dB", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    heads = ("estimator", "below best:\nmean", "\nmost", "more than\n0.2 dB", "above LS:\nleast")
    for column, head in enumerate(heads):
        table.add_column(head, justify="right" if column else "left", no_wrap=True)
    for name in cells[0]["psnr_db"]:
        below = [cell["below_best_db"][name] for cell in cells]
        table.add_row(
            f"{name} (default)" if name == default else name,
            f"{sum(below) / len(below):.2f}",
            f"{max(below):.2f}",
            f"{sum(b > 0.2 for b in below)}",
            f"{min(cell['above_ls_db'][name] for cell in cells):.2f}",
        )
    return table
