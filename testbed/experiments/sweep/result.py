"""The result file of a sweep, in the schema of `docs/results`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from testbed.config import Scenario
from testbed.experiments.sweep.axes import Axis
from testbed.experiments.sweep.statistics import SEED, cells
from testbed.record import provenance

CONVENTIONS = {
    "snr": "Es/N0 per occupied resource element, per user, per receive antenna, E|h|^2 = 1",
    "psnr": "of the mean MSE over each user's pictures, then the mean over users",
    "single_user": "the same channel known exactly, no other user, maximum ratio combining",
    "ci95": "half width of the 95 % confidence interval of the mean over seeds, Student's t",
    "below_single_user": "seed by seed, then the mean",
}


def result_of(scenario: Scenario, axes: Sequence[Axis], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the file holds.

    Parameters
    ----------
    scenario : Scenario
        Of one point; names the sweep.
    axes : sequence of Axis
    rows : sequence of dict
        Coordinates and figures of each point.

    Returns
    -------
    dict
        ``results`` has ``axes`` (each with its values), ``cells`` (statistics over seeds) and ``points``; where only
        seeds vary, the statistics stand in ``results`` itself.
    """
    varied = [axis for axis in axes if axis.key != SEED]
    found = cells(axes, rows)
    name = f"{scenario.name}-over-{'-'.join(a.key for a in varied)}"
    results: dict[str, Any] = {"axes": {axis.key: list(axis.values) for axis in axes}, "cells": found}
    if not varied:
        name = f"{scenario.name}-{scenario.air.snr_db:g}dB"
        (only,) = found
        renamed = {
            f"{key}{of}": f"mean_{key}{of}" for key in ("psnr_db", "single_user_psnr_db") for of in ("", "_ci95")
        }
        results = {renamed.get(key, key): value for key, value in only.items()} | {"axes": results["axes"]}
    return {
        "name": name,
        "task": scenario.name,
        "command": provenance.command(),
        "commit": provenance.git_commit(),
        "machine": provenance.machine(),
        "conventions": CONVENTIONS,
        "results": results | {"points": list(rows)},
    }


def result_file(scenario: Scenario, axes: Sequence[Axis], rows: Sequence[dict[str, Any]]) -> bytes:
    """The same as indented JSON; parameters as :func:`result_of`.

    Returns
    -------
    bytes
    """
    return msgspec.json.format(msgspec.json.encode(result_of(scenario, axes, rows)), indent=2) + b"\n"
