"""The figure of channel estimators: NMSE over SNR, one panel a channel. Drawn from a result file's content alone."""

from __future__ import annotations

from typing import Any

from testbed.report.drawing import FAINT, INK, USER_COLOURS, Sheet

# Name in the file: label, colour, line, marker.
LOOKS: dict[str, tuple[str, str, Any, str]] = {
    "ls": ("LS", FAINT, ":", "s"),
    "lmmse": ("LMMSE, likeliest prior", USER_COLOURS[2], (0, (4, 1, 1, 1)), "^"),
    "lmmse-estimated": ("LMMSE, estimated statistics", USER_COLOURS[1], (0, (4, 1.5)), "o"),
    "dnn": ("DNN", USER_COLOURS[0], "-", "D"),
    "lmmse-true": ("LMMSE, true statistics (bound)", INK, (0, (1, 1)), ""),
}


def nmse(results: dict[str, Any]) -> str:
    """SVG of a result file's ``results``: for each channel the NMSE, and below it the DNN's lead in dB.

    Parameters
    ----------
    results : dict
        ``snr_db`` and ``channels`` as `semtb eval estimator` writes them.
    """
    snr_db, channels = results["snr_db"], results["channels"]
    with Sheet(2, len(channels), 4.6, 7.2, sharex=True, sharey="row", height_ratios=[3, 2]) as sheet:
        for column, (channel, found) in enumerate(channels.items()):
            upper, lower = sheet.axes[:, column]
            for name, values in found["nmse_db"].items():
                label, colour, line, marker = LOOKS.get(name, (name, INK, "-", ""))
                upper.plot(snr_db, values, color=colour, linestyle=line, marker=marker, markersize=3.5, label=label)
                bounds = found["ci95_db"][name]
                upper.fill_between(snr_db, [b[0] for b in bounds], [b[1] for b in bounds], color=colour, alpha=0.15)
            upper.set_title(channel)
            for name in ("lmmse-estimated", "lmmse-true"):
                if name in found.get("dnn_over", {}):
                    over = found["dnn_over"][name]
                    label, colour, line, marker = LOOKS[name]
                    low = [v - b[0] for v, b in zip(over["db"], over["ci95_db"], strict=True)]
                    high = [b[1] - v for v, b in zip(over["db"], over["ci95_db"], strict=True)]
                    bars = lower.errorbar(snr_db, over["db"], (low, high), color=colour, linestyle=line, capsize=2)
                    bars.lines[0].set(marker=marker, markersize=3.5)
            lower.axhline(0, color=FAINT, linewidth=0.8)
            lower.set_xlabel("SNR (dB)")
        sheet.axes[0, 0].set_ylabel("NMSE (dB)")
        sheet.axes[1, 0].set_ylabel("DNN over it (dB)")
        handles, labels = sheet.axes[0, 0].get_legend_handles_labels()
        sheet.figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return sheet.svg()
