"""PSNR against what was varied, drawn from result files and nothing else: sweeps, codecs, peers and quoted figures."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from testbed.errors import DataError
from testbed.report.drawing import FAINT, INK, WIDTH_IN, Sheet, user_colour, user_dashes
from testbed.text import without_mark

MARKERS = "osD^vP"
SNR = "air.snr_db"
SEED = "seed"
LABELS = {
    SNR: "SNR (dB)",
    "air.doppler_hz": "maximum Doppler shift (Hz)",
    "air.delay_spread_s": "delay spread (s)",
    SEED: "channel seed",
}
MAX_PANELS = 12
Value = float | str


class Line(msgspec.Struct):
    """One line of the figure. A missing figure is not-a-number.

    Attributes
    ----------
    panel : str
        Lines of one panel share it.
    x : list of float or of str
    psnr_db, ci95_db, bound_db : list of float
        As ``x``; ``ci95_db`` (half widths) and ``bound_db`` may be empty.
    """

    name: str
    x: list[Value]
    psnr_db: list[float]
    ci95_db: list[float] = []
    bound_db: list[float] = []
    panel: str = ""
    quoted: bool = False


class Curves(msgspec.Struct):
    """What a result file has to draw: lines over one axis."""

    axis: str
    lines: list[Line]


class ResultFile(msgspec.Struct):
    """What a figure needs of a result file; other fields are passed over."""

    name: str
    results: dict[str, msgspec.Raw]
    quoted_from: str = ""


class Swept(msgspec.Struct):
    """``results`` of a sweep."""

    axes: dict[str, list[Any]]
    cells: list[dict[str, Any]]


def read_curves(path: Path, against: str | None = None, where: Sequence[str] = ()) -> Curves:
    """Read one result file.

    Parameters
    ----------
    path : Path
    against : str, optional
        Of a sweep, the axis to draw against; else its first. The next axis gives the lines, further ones the panels.
    where : sequence of str
        ``key=value``: of a sweep, only where this axis has this value.

    Returns
    -------
    Curves

    Raises
    ------
    DataError
        If it is missing, has neither ``results.axes`` nor ``results.snr_db`` and ``results.psnr_db`` of equal length,
        or lacks the axis that is asked for.
    """
    try:
        file = msgspec.json.decode(without_mark(path.read_bytes()), type=ResultFile)
        if "cells" in file.results:
            swept = Swept(*(msgspec.json.decode(file.results[key]) for key in ("axes", "cells")))
            return curves_of_sweep(msgspec.convert(msgspec.to_builtins(swept), Swept), path, against, where)
        snr, psnr = numbers(file, "snr_db"), numbers(file, "psnr_db")
        interval = numbers(file, "ci95") if "ci95" in file.results else []
    except (OSError, msgspec.DecodeError, msgspec.ValidationError, KeyError) as error:
        raise DataError(
            f"{path}: not a result file with results.snr_db and results.psnr_db, or of a sweep --over an axis: {error}"
        ) from error
    if len(snr) != len(psnr) or not snr or len(interval) not in (0, len(snr)):
        raise DataError(f"{path}: {len(snr)} SNRs for {len(psnr)} PSNRs; there must be one for each")
    if against not in (None, SNR) or where:
        raise DataError(f"{path}: no sweep; it has values over {SNR} alone")
    return Curves(SNR, [Line(file.name, list(snr), psnr, interval, quoted=bool(file.quoted_from))])


def numbers(file: ResultFile, key: str) -> list[float]:
    """One list of numbers of a result; a missing value (null) becomes not-a-number."""
    found = msgspec.json.decode(file.results[key], type=list[float | None])
    return [math.nan if v is None else v for v in found]


def curves_of_sweep(swept: Swept, path: Path, against: str | None, where: Sequence[str]) -> Curves:
    """Lines of a sweep: cells by the axis drawn against, the next axis as lines, all further ones as panels."""
    keys = [key for key in swept.axes if key != SEED]
    axis = keys[0] if against is None and keys else against
    if axis not in keys:
        raise DataError(f"{path}: {axis}: not an axis of this sweep; it has {', '.join(keys)}")
    cells = [cell for cell in swept.cells if all(holds(cell, keys, path, text) for text in where)]
    if not cells:
        raise DataError(f"{path}: nothing has {', '.join(where)}")
    others = [k for k in keys if k != axis and len({shown(cell.get(k)) for cell in cells}) > 1]
    lines: dict[tuple[str, str], Line] = {}
    for cell in cells:
        panel = ", ".join(f"{short(key)} {shown(cell.get(key))}" for key in others[1:])
        name = shown(cell.get(others[0])) if others else "receiver"
        line = lines.setdefault((panel, name), Line(name, [], [], [], [], panel))
        x = cell.get(axis)
        line.x.append(float(x) if isinstance(x, int | float) else shown(x))
        for values, key in (
            (line.psnr_db, "psnr_db"),
            (line.ci95_db, "psnr_db_ci95"),
            (line.bound_db, "single_user_psnr_db"),
        ):
            value = cell.get(key)
            values.append(float(value) if isinstance(value, int | float) else math.nan)
    return Curves(axis, list(lines.values()))


def holds(cell: dict[str, Any], keys: Sequence[str], path: Path, text: str) -> bool:
    """Whether a cell has ``key=value``."""
    key, _, value = text.partition("=")
    if key not in keys:
        raise DataError(f"{path}: --where {text}: not an axis of this sweep; it has {', '.join(keys)}")
    found = cell.get(key)
    try:
        return float(value) == float(found)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return shown(found) == value


def shown(value: Any) -> str:
    """A value of an axis in words."""
    return f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


def short(key: str) -> str:
    """An axis without the table that it stands in."""
    return key.rpartition(".")[2]


def psnr_figure(files: Sequence[Curves]) -> str:
    """SVG of all lines, with intervals and the single-user bound where a file has them; quoted ones grey and open.

    Parameters
    ----------
    files : sequence of Curves
        All over one axis.

    Returns
    -------
    str

    Raises
    ------
    DataError
        If their axes differ, or there are more than ``MAX_PANELS`` panels.
    """
    axes = list(dict.fromkeys(file.axis for file in files))
    if len(axes) > 1:
        raise DataError(f"files over {' and over '.join(axes)} in one figure; choose one axis with --against")
    lines = [line for file in files for line in file.lines]
    panels = list(dict.fromkeys(line.panel for line in lines))
    if len(panels) > MAX_PANELS:
        raise DataError(f"{len(panels)} panels in one figure, at most {MAX_PANELS}; choose some with --where key=value")
    looks = {name: index for index, name in enumerate(dict.fromkeys(line.name for line in lines))}
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    width_in = WIDTH_IN if columns == 1 else 2.6 * columns
    with Sheet(rows, columns, 3.4 if rows == 1 else 2.6 * rows, width_in, sharex=True, sharey=True) as sheet:
        for index, panel in enumerate(panels):
            ax = sheet.axes[index // columns, index % columns]
            drawn = [line for line in lines if line.panel == panel]
            for line in drawn:
                draw(ax, line, looks[line.name])
            draw_bounds(ax, drawn, looks)
            ax.set_title(panel)
        for ax in sheet.axes.flat[len(panels) :]:
            ax.set_axis_off()
        for ax in sheet.axes[-1, :]:
            ax.set_xlabel(LABELS.get(axes[0], axes[0]))
        for ax in sheet.axes[:, 0]:
            ax.set_ylabel("PSNR of the mean MSE (dB)")
        sheet.axes[0, 0].legend(loc="lower right" if axes[0] == SNR else "best")
        return sheet.svg()


def draw(ax: Any, line: Line, index: int) -> None:
    """One line with its marks and intervals."""
    colour = FAINT if line.quoted else user_colour(index)
    ax.errorbar(
        line.x,
        line.psnr_db,
        yerr=line.ci95_db or None,
        color=colour,
        linestyle=user_dashes(index),
        marker=MARKERS[index % len(MARKERS)],
        markersize=4,
        markerfacecolor="none" if line.quoted else colour,
        capsize=2,
        label=line.name + (" (quoted)" if line.quoted else ""),
    )


def draw_bounds(ax: Any, lines: Sequence[Line], looks: dict[str, int]) -> None:
    """The single-user bounds: one dotted line where all lines share it, else one in each line's colour."""
    bounds = {tuple(round(b, 6) for b in line.bound_db): line for line in lines if line.bound_db}
    for line in bounds.values():
        colour = INK if len(bounds) == 1 else user_colour(looks[line.name])
        label = "single-user bound" if line is next(iter(bounds.values())) else None
        ax.plot(line.x, line.bound_db, color=colour, linestyle=(0, (1, 1)), linewidth=1.2, label=label)
