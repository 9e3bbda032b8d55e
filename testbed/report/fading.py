"""The figure of estimators over fading: how far each lies below the best, cell by cell. Drawn from a file's content."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np

from testbed.report.drawing import FAINT, INK, Sheet
from testbed.report.estimators import LOOKS

ALLOWED_DB = 0.2  # below the best
SPREAD = 0.7  # of the distance between two Doppler shifts, over which a shift's cells are laid side by side


def losses(results: dict[str, Any]) -> str:
    """SVG of a result file's ``results``: a panel an estimator, a dot a cell; last, what the default gains over LS.

    Parameters
    ----------
    results : dict
        ``default``, ``axes`` and ``cells`` as `semtb eval fading` writes them.

    Returns
    -------
    str
    """
    cells, default = results["cells"], results["default"]
    names = list(cells[0]["psnr_db"])
    dopplers = sorted({cell["doppler_hz"] for cell in cells})
    snrs = sorted({cell["snr_db"] for cell in cells})
    x = beside([dopplers.index(cell["doppler_hz"]) for cell in cells])
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.92, len(snrs)))
    rows = -(-(len(names) + 1) // 3)
    with Sheet(rows, 3, 2.5 * rows, sharex=True) as sheet:
        panels = sheet.axes.ravel()
        for panel, name in zip(panels, [*names, None], strict=False):
            of, key = (name, "below_best") if name else (default, "above_ls")
            for colour, snr in zip(colours, snrs, strict=True):
                at = [i for i, cell in enumerate(cells) if cell["snr_db"] == snr]
                values = np.array([cells[i][f"{key}_db"][of] for i in at])
                bounds = np.array([cells[i][f"{key}_ci95_db"][of] for i in at])
                panel.vlines(x[at], bounds[:, 0], bounds[:, 1], color=colour, linewidth=0.5, alpha=0.5)
                panel.plot(x[at], values, ".", color=colour, markersize=3, label=f"{snr:g} dB SNR")
            panel.set_yscale("symlog", linthresh=ALLOWED_DB, linscale=1.0)
            panel.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
            panel.set_yticks([0, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20])
            panel.minorticks_off()
            panel.axhline(0, color=FAINT, linewidth=0.8)
            label = LOOKS[of][0] if of in LOOKS else of
            if name:
                most = max(cell["below_best_db"][name] for cell in cells)
                panel.set_ylim(-0.05, 1.3 * max(c["below_best_db"][n] for c in cells for n in names))
                panel.axhline(ALLOWED_DB, color=INK, linewidth=0.8, linestyle="--")
                which = "default, " if name == default else ""
                panel.set_title(f"{label}\n{which}at most {most:.2f} dB", fontsize=7)
            else:
                least = min(cell["above_ls_db"][default] for cell in cells)
                panel.set_title(f"{label}\nover LS: at least {least:.2f} dB", fontsize=7)
            panel.set_xticks(range(len(dopplers)), [f"{d:g}" for d in dopplers])
        for row, axes in enumerate(sheet.axes):
            axes[0].set_ylabel("PSNR below the best (dB)" if row * 3 < len(names) else "PSNR above LS (dB)")
        for panel in panels[len(names) + 1 :]:
            panel.set_axis_off()
        panels[len(names)].set_ylabel("PSNR above LS (dB)")
        sheet.figure.supxlabel("maximum Doppler shift (Hz)", fontsize=8)
        handles, labels = panels[0].get_legend_handles_labels()
        panels[-1].legend(handles, labels, loc="center", frameon=False, markerscale=2.5)
        return sheet.svg()


def beside(columns: list[int]) -> np.ndarray:
    """[n] where each value is drawn: those of one column next to each other, in their order.

    Parameters
    ----------
    columns : list of int

    Returns
    -------
    [n] float64
    """
    column = np.asarray(columns)
    x = column.astype(np.float64)
    for one in np.unique(column):
        members = np.flatnonzero(column == one)
        x[members] += np.linspace(-SPREAD / 2, SPREAD / 2, len(members)) if len(members) > 1 else 0.0
    return x
