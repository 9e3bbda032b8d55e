"""What is stated of many seeds: means with their confidence, percentiles, the seed nearest to the median. No files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from testbed.experiments.sweep.axes import Axis

SEED = "seed"
COUNTS = ("frames_sent", "frames_detected", "frames_read")
PSNR, BOUND = "psnr_db", "single_user_psnr_db"


def mean_ci95(values: Sequence[float]) -> tuple[float, float | None]:
    r"""Mean and half width of its 95 % confidence interval, :math:`t_{0.975,n-1}\,s/\sqrt{n}`.

    Parameters
    ----------
    values : sequence of float
        Independent, alike distributed.

    Returns
    -------
    mean : float
    half_width : float or None
        None for one value, of which nothing is known.

    References
    ----------
    Student, "The Probable Error of a Mean", Biometrika 6(1), 1908.
    """
    array = np.asarray(values, np.float64)
    if len(array) < 2:
        return float(array.mean()), None
    half = student.ppf(0.975, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array))
    return float(array.mean()), float(half)


def over_seeds(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures of points that differ in their seed alone.

    Parameters
    ----------
    rows : sequence of dict
        Coordinates and figures of each point. A figure that a point lacks (None) is left out of the mean.

    Returns
    -------
    dict
        ``seeds``; mean and ``_ci95`` of every figure that is a number; of PSNR also the 5th percentile, the median, the
        seed nearest to it, and how far it lies below the single-user bound, seed by seed; counts as sums.
    """
    found: dict[str, Any] = {"seeds": len(rows)}
    for key in rows[0]:
        values = [row[key] for row in rows if isinstance(row.get(key), int | float) and not isinstance(row[key], bool)]
        if key == SEED or not values:
            continue
        if key in COUNTS:
            found[key] = sum(values)
            continue
        found[key], found[f"{key}_ci95"] = mean_ci95(values)
    known = [row for row in rows if row.get(PSNR) is not None]
    if not known:
        return found
    psnr_db = np.array([row[PSNR] for row in known])
    found["p5_psnr_db"], found["median_psnr_db"] = float(np.percentile(psnr_db, 5)), float(np.median(psnr_db))
    if all(SEED in row for row in known):
        found["median_seed"] = known[int(np.argmin(np.abs(psnr_db - np.median(psnr_db))))][SEED]
    below = [row[BOUND] - row[PSNR] for row in known if row.get(BOUND) is not None]
    if below:
        found["below_single_user_db"], found["below_single_user_db_ci95"] = mean_ci95(below)
    return found


def cells(axes: Sequence[Axis], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each combination of the axes' values, seeds put together.

    Parameters
    ----------
    axes : sequence of Axis
    rows : sequence of dict
        As :func:`over_seeds`.

    Returns
    -------
    list of dict
        Coordinates without the seed, and what :func:`over_seeds` states.
    """
    keys = [axis.key for axis in axes if axis.key != SEED]
    together: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        together.setdefault(repr([row[key] for key in keys]), []).append(row)
    figures = [[{k: v for k, v in row.items() if k not in keys} for row in group] for group in together.values()]
    heads = [{key: group[0][key] for key in keys} for group in together.values()]
    return [head | over_seeds(group) for head, group in zip(heads, figures, strict=True)]
