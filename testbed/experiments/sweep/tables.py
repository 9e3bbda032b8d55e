"""What `semtb sweep` prints: a row a seed where seeds alone vary, else a row for each combination of the axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from testbed.config import Scenario
from testbed.experiments.sweep.axes import Axis, shown
from testbed.experiments.sweep.statistics import SEED, cells, over_seeds
from testbed.experiments.tables import print_table


def show(scenario: Scenario, axes: Sequence[Axis], rows: Sequence[dict[str, Any]]) -> None:
    """Print the table of a sweep, and the summary of a sweep over seeds.

    Parameters
    ----------
    scenario : Scenario
    axes : sequence of Axis
    rows : sequence of dict
        Coordinates and figures of each point.
    """
    console = Console(markup=False)
    varied = [axis.key for axis in axes if axis.key != SEED]
    if varied:
        print_table(console, table_of_cells(scenario, varied, cells(axes, rows)))
        return
    print_table(console, table_of_seeds(scenario, rows))
    s = over_seeds(rows)
    if "median_psnr_db" not in s:
        console.print("no seed has a PSNR", soft_wrap=True)
        return
    interval = "" if s["psnr_db_ci95"] is None else f" ± {s['psnr_db_ci95']:.2f} (95 %)"
    console.print(
        f"mean {s['psnr_db']:.2f} dB{interval}, 5th percentile {s['p5_psnr_db']:.2f} dB, median "
        f"{s['median_psnr_db']:.2f} dB (seed {s['median_seed']}); single-user bound "
        f"{number(s.get('single_user_psnr_db'))} dB, {number(s.get('below_single_user_db'))} dB above the mean"
    )


def table_of_seeds(scenario: Scenario, rows: Sequence[dict[str, Any]]) -> Table:
    """A row a seed.

    Parameters
    ----------
    scenario : Scenario
    rows : sequence of dict

    Returns
    -------
    rich.table.Table
    """
    table = Table(title=f"{scenario.name}, {scenario.air.channel}, {scenario.air.snr_db:g} dB SNR")
    for column in ("seed", "PSNR dB", "single-user bound dB", "SINR of each user dB", "frames"):
        table.add_column(column, justify="right")
    for row in rows:
        sinr = " ".join("-" if s is None else f"{s:.1f}" for s in row["sinr_db"])
        table.add_row(str(row[SEED]), number(row["psnr_db"]), number(row["single_user_psnr_db"]), sinr, frames(row))
    return table


def table_of_cells(scenario: Scenario, varied: Sequence[str], found: Sequence[dict[str, Any]]) -> Table:
    """A row for each combination.

    Parameters
    ----------
    scenario : Scenario
    varied : sequence of str
        Keys of the axes, without the seed.
    found : sequence of dict
        As :func:`testbed.experiments.sweep.statistics.cells` gives them.

    Returns
    -------
    rich.table.Table
    """
    table = Table(title=f"{scenario.name}, mean of {found[0]['seeds']} seeds each")
    for key in (*varied, "PSNR dB", "± (95 %)", "bound dB", "below it dB", "frames"):
        table.add_column(key, justify="right")
    for cell in found:
        table.add_row(
            *(shown(cell[key]) for key in varied),
            number(cell.get("psnr_db")),
            number(cell.get("psnr_db_ci95")),
            number(cell.get("single_user_psnr_db")),
            number(cell.get("below_single_user_db")),
            frames(cell),
        )
    return table


def frames(figures: dict[str, Any]) -> str:
    """Frames read of those sent.

    Parameters
    ----------
    figures : dict

    Returns
    -------
    str
    """
    return f"{figures['frames_detected']}/{figures['frames_sent']}"


def number(value: float | None) -> str:
    """Two decimals, or a dash where there is none.

    Parameters
    ----------
    value : float or None

    Returns
    -------
    str
    """
    return "-" if value is None else f"{value:.2f}"
