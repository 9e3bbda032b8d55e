"""The page of a calibration record, drawn from the record alone."""

from __future__ import annotations

from typing import Any

from calibration.record import Plot, Quantity, Record
from testbed.report.drawing import Sheet, inline, user_colour, user_dashes
from testbed.report.page import page


def calibration_page(record: Record) -> str:
    """One page as a text: plots, figures with their standard errors, conditions.

    Parameters
    ----------
    record : Record

    Returns
    -------
    str
        HTML that needs no other file.
    """
    applied = sum(q.correction and q.significant for q in record.quantities)
    corrections = sum(q.correction for q in record.quantities)
    finding = f"{record.procedure}: " + (
        f"{applied} of {corrections} figures are beyond three standard errors, and corrected"
        if applied
        else ("nothing to correct" if corrections else "measured")
    )
    relative = [] if record.absolute else [f"Relative to {record.reference}: it had no reference from outside."]
    return page(
        "calibration.html.j2",
        record=record,
        finding=finding,
        setting=", ".join(_conditions(record)),
        warnings=[*relative, *record.notes],
        plots=[(plot.title, _alt(plot), _svg(plot, i)) for i, plot in enumerate(record.plots)],
        rows=[_row(q) for q in record.quantities],
    )


def _conditions(record: Record) -> list[str]:
    c = record.conditions
    known = (
        (c.lo_hz, "LO {:.6g} MHz", 1e-6),
        (c.sample_rate_hz, "{:.6g} MS/s", 1e-6),
        (c.tx_gain_db, "transmit gain {:g} dB", 1),
        (c.rx_gain_db, "receive gain {:g} dB", 1),
        (c.temperature_c, "{:.1f} °C", 1),
    )
    words = [form.format(value * scale) for value, form, scale in known if value is not None]
    return [record.date, *words, f"against {record.reference}"]


def _row(q: Quantity) -> tuple[str, str, str, str, str]:
    what = q.name.replace("_", " ") + ("" if q.at is None else f" at {q.at:g}")
    value = f"{q.value:.5g}" if not q.imag else f"{q.value:.3g} {'+' if q.imag > 0 else '−'} {abs(q.imag):.3g}j"
    applied = ("yes" if q.significant else "no: too small") if q.correction else "no: knowledge"
    return what, value, f"{q.standard_error:.2g}", q.unit, applied


def _alt(plot: Plot) -> str:
    return (
        f"{plot.title}: {plot.y_label} over {plot.x_label or 'nothing'}; {', '.join(line.name for line in plot.lines)}"
    )


def _svg(plot: Plot, number: int) -> str:
    with Sheet(height_in=2.8) as sheet:
        axes = sheet.axes[0, 0]
        for i, line in enumerate(plot.lines):
            style: dict[str, Any] = (
                {"marker": "o", "markersize": 4, "linestyle": "none"}
                if line.points
                else {"linestyle": user_dashes(i), "linewidth": 1.0}
            )
            axes.plot(line.x, line.y, color=user_colour(i), label=line.name, **style)
        axes.set_xlabel(plot.x_label)
        axes.set_ylabel(plot.y_label)
        if len(plot.lines) > 1:
            axes.legend()
        return inline(sheet.svg(), f"calibration-{number}")
