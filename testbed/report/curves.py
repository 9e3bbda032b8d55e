"""PSNR against SNR, drawn from result files and nothing else: ours, a peer's and a quoted figure in one look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from testbed.errors import DataError
from testbed.report.drawing import FAINT, Sheet, user_colour, user_dashes

MARKERS = "osD^vP"


class CurveFile(msgspec.Struct):
    """What a curve needs of a result file; other fields are passed over."""

    name: str
    results: dict[str, msgspec.Raw]
    quoted_from: str = ""


def read_curve(path: Path) -> CurveFile:
    """Read one result file.

    Raises
    ------
    DataError
        If it is missing, or has no ``results.snr_db`` and ``results.psnr_db`` of equal length.
    """
    try:
        curve = msgspec.json.decode(path.read_bytes(), type=CurveFile)
        snr, psnr = values(curve, "snr_db"), values(curve, "psnr_db")
    except (OSError, msgspec.DecodeError, KeyError) as error:
        raise DataError(f"{path}: not a result file with results.snr_db and results.psnr_db: {error}") from error
    if len(snr) != len(psnr) or not snr:
        raise DataError(f"{path}: {len(snr)} SNRs for {len(psnr)} PSNRs; there must be one for each")
    return curve


def values(curve: CurveFile, key: str) -> list[float]:
    """One list of numbers of a result; a missing value (null) becomes not-a-number."""
    found = msgspec.json.decode(curve.results[key], type=list[float | None])
    return [math.nan if v is None else v for v in found]


def psnr_against_snr(curves: Sequence[CurveFile]) -> str:
    """SVG of all curves; quoted ones in grey with open marks, intervals as bars where a file has them."""
    with Sheet(1, 1, 3.4) as sheet:
        axes = sheet.axes[0, 0]
        for index, curve in enumerate(curves):
            quoted = bool(curve.quoted_from)
            colour = FAINT if quoted else user_colour(index)
            axes.errorbar(
                values(curve, "snr_db"),
                values(curve, "psnr_db"),
                yerr=values(curve, "ci95") if "ci95" in curve.results else None,
                color=colour,
                linestyle=user_dashes(index),
                marker=MARKERS[index % len(MARKERS)],
                markersize=4,
                markerfacecolor="none" if quoted else colour,
                capsize=2,
                label=curve.name + (" (quoted)" if quoted else ""),
            )
        axes.set(xlabel="SNR (dB)", ylabel="PSNR of the mean MSE (dB)")
        axes.legend(loc="lower right")
        return sheet.svg()
