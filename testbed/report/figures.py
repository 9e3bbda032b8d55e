"""Figures of the radio path: channel, spectrum, SINR over frames, time in each stage. Arrays in, SVG out.

Detected symbols are drawn in ``symbols.py``, photographs in ``pictures.py``; all share ``drawing.py``. No file is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import NullFormatter
from scipy.signal import welch

from testbed.record.schema import Stage
from testbed.report.drawing import ANTENNA_COLOURS, FAINT, GRID, INK, SEQUENTIAL, Sheet, agree, user_colour, user_dashes
from testbed.units import power_to_db

MAX_PANELS = 4  # antennas and users drawn; more would be too small to read
MAX_COLUMNS = 600  # of a heat map's time axis: what a printed page resolves
SPECTRUM_BINS = 512  # 3.75 kHz each at 1.92 MS/s: a quarter of a subcarrier


def channel(channel_db: np.ndarray, time_s: np.ndarray, freq_hz: np.ndarray, names: Sequence[str]) -> str:
    r"""Heat maps of :math:`20\log_{10}|\hat h|` over time and frequency, antennas down, users across.

    Parameters
    ----------
    channel_db : [P, F, A, U] float32
        Estimates at pilot symbols.
    time_s : [P] float
        When each pilot symbol was received; where more than 1.5 median steps lie between two, the map stays empty.
    freq_hz : [F] float
        Offset of each subcarrier from the carrier.
    names : list of str
        Users.

    Returns
    -------
    str
        SVG with one colour scale for all panels, so that antennas and users compare.
    """
    agree("channel_db, time_s, freq_hz", channel_db.shape[:2], (np.size(time_s), np.size(freq_hz)))
    antennas, users = (min(n, MAX_PANELS) for n in channel_db.shape[2:])
    times, pick = even_times(np.asarray(time_s, np.float64))
    shown = np.where(pick[:, None, None, None] >= 0, channel_db[pick], np.nan)
    finite = channel_db[np.isfinite(channel_db)]
    low, high = np.quantile(finite, [0.005, 0.995]) if finite.size else (-1.0, 1.0)
    order = np.argsort(freq_hz)
    khz = np.asarray(freq_hz, np.float64)[order] / 1e3
    extent = (times[0] * 1e3, times[-1] * 1e3, khz[0], khz[-1])
    with Sheet(antennas, users, 0.9 + 1.45 * antennas, sharex=True, sharey=True) as sheet:
        for a in range(antennas):
            for u in range(users):
                axes = sheet.axes[a, u]
                image = axes.imshow(
                    shown[:, order, a, u].T,
                    origin="lower",
                    extent=extent,
                    aspect="auto",
                    interpolation="nearest",
                    cmap=SEQUENTIAL,
                    vmin=low,
                    vmax=high,
                )
                axes.grid(False)
                axes.set_title(f"{names[u]} → antenna {a + 1}")
            sheet.axes[a, 0].set_ylabel("offset (kHz)")
        for axes in sheet.axes[-1]:
            axes.set_xlabel("time (ms)")
        bar = sheet.figure.colorbar(image, ax=list(sheet.axes.flat), shrink=0.9, pad=0.02)
        bar.set_label("channel magnitude (dB)")
        bar.outline.set_visible(False)
        return sheet.svg()


def even_times(time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spaced times over the span, and for each the nearest given time's index, -1 where none is near."""
    order = np.argsort(time_s, kind="stable")
    given = time_s[order]
    if given.size < 2 or given[-1] == given[0]:
        return np.array([given[0], given[0] + 1e-3]), np.array([order[0], order[0]])
    step = float(np.median(np.diff(given)))
    columns = int(min(MAX_COLUMNS, max(2, 2 * given.size)))
    times = np.linspace(given[0], given[-1], columns)
    right = np.clip(np.searchsorted(given, times), 1, given.size - 1)
    nearest = np.where(times - given[right - 1] <= given[right] - times, right - 1, right)
    near = np.abs(times - given[nearest]) <= 0.75 * step + (times[1] - times[0]) / 2
    return times, np.where(near, order[nearest], -1)


def spectrum(iq: np.ndarray, sample_rate_hz: float, occupied_hz: float | None = None) -> str:
    """Power spectral density of received samples, one line an antenna (Welch, Hann windows, half overlapping).

    Parameters
    ----------
    iq : [A, n] complex64
        Full scale 1.0.
    sample_rate_hz : float
    occupied_hz : float, optional
        Width of the occupied band, centred on the carrier; shaded.

    Returns
    -------
    str
        SVG in dB relative to full scale per hertz.
    """
    bins = min(SPECTRUM_BINS, iq.shape[1])
    freq, density = welch(iq, fs=sample_rate_hz, nperseg=bins, return_onesided=False, detrend=False)
    order = np.argsort(freq)
    with Sheet(1, 1, 2.7) as sheet:
        axes = sheet.axes[0, 0]
        if occupied_hz:
            half = occupied_hz / 2e3
            axes.axvspan(
                -half, half, color=GRID, alpha=0.45, linewidth=0, label=f"occupied, {occupied_hz / 1e3:.0f} kHz"
            )
        for a, line in enumerate(power_to_db(np.maximum(density, 1e-30))[:MAX_PANELS]):
            colour = ANTENNA_COLOURS[a % len(ANTENNA_COLOURS)]
            axes.plot(freq[order] / 1e3, line[order], color=colour, linewidth=1, label=f"antenna {a + 1}", alpha=0.85)
        axes.set(xlabel="offset from the carrier (kHz)", ylabel="dBFS per Hz")
        axes.set_xlim(freq.min() / 1e3, freq.max() / 1e3)
        axes.margins(y=0.18)
        axes.legend(loc="upper center", ncols=MAX_PANELS, columnspacing=1.2, handlelength=1.4)
        return sheet.svg()


def sinr_over_frames(time_s: np.ndarray, estimated_db: np.ndarray, true_db: np.ndarray, names: Sequence[str]) -> str:
    """Effective SINR of each frame: as the receiver estimated it (marks) and as it was (line).

    Parameters
    ----------
    time_s : [frames] float
        When each frame began.
    estimated_db, true_db : [frames, U] float
        NaN where a user's frame was not read; a cross at the foot marks it.
    names : list of str

    Returns
    -------
    str
        SVG.
    """
    agree("sinr of frames and users", np.shape(estimated_db), np.shape(true_db), (np.size(time_s), len(names)))
    milliseconds = np.asarray(time_s, np.float64) * 1e3
    with Sheet(1, 1, 2.9) as sheet:
        axes = sheet.axes[0, 0]
        lost = False
        for user, name in enumerate(names):
            colour = user_colour(user)
            axes.plot(milliseconds, true_db[:, user], color=colour, linestyle=user_dashes(user), label=f"{name}, true")
            style = {"marker": "os^D"[user % 4], "markersize": 4, "linestyle": "none", "markerfacecolor": "none"}
            axes.plot(milliseconds, estimated_db[:, user], color=colour, label=f"{name}, estimated", **style)
            missing = ~np.isfinite(estimated_db[:, user])
            lost |= bool(missing.any())
            foot = np.full(int(missing.sum()), 0.03 + 0.05 * user)
            place = axes.get_xaxis_transform()
            axes.plot(milliseconds[missing], foot, "x", color=colour, markersize=5, transform=place, clip_on=False)
        axes.margins(y=0.15)
        axes.set(xlabel="time (ms)" + (";  a cross: frame lost" if lost else ""), ylabel="effective SINR (dB)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1.5)
        return sheet.svg()


def stage_times(stages: Mapping[str, Stage]) -> str:
    """Where the time went: total of each stage, and how long one call took (median, 95th and 99th percentile).

    Parameters
    ----------
    stages : dict of str to Stage
        In the order of processing.

    Returns
    -------
    str
        SVG.
    """
    names, values = list(stages), list(stages.values())
    rows = np.arange(len(names))
    with Sheet(1, 2, 0.95 + 0.32 * len(names), sharey=True, width_ratios=[1.0, 1.25]) as sheet:
        total, call = sheet.axes[0]
        total.barh(rows, [s.total_s for s in values], height=0.55, color=user_colour(0))
        for row, stage in zip(rows, values, strict=True):
            total.text(stage.total_s, row, f" {_short(stage.total_s)}", va="center", fontsize=8)
        total.set_yticks(rows, names)
        total.invert_yaxis()
        total.margins(x=0.3)
        total.set(xlabel="total (s)")
        floor = 1e-3  # a microsecond: what the clock can tell from nothing
        p50, p95, p99 = (np.maximum([getattr(s, k) for s in values], floor) for k in ("p50_ms", "p95_ms", "p99_ms"))
        call.hlines(rows, p50, p95, color=user_colour(0), linewidth=4, alpha=0.45, label="to 95 %")
        call.plot(p50, rows, "o", color=user_colour(0), markersize=6, label="median")
        call.plot(p99, rows, "|", color=INK, markersize=9, label="99 %")
        call.set_xscale("log")
        call.set_xlim(p50.min() / 2, p99.max() * 2)
        call.xaxis.set_major_formatter("{x:g}")
        call.xaxis.set_minor_formatter(NullFormatter())
        call.set(xlabel="one call (ms)")
        call.legend(loc="lower center", bbox_to_anchor=(0.5, 0.98), ncols=3, handlelength=1, columnspacing=1)
        call.tick_params(labelleft=False, length=0, axis="y")
        for axes in (total, call):
            axes.grid(False, axis="y")
            axes.spines["left"].set_color(FAINT)
        return sheet.svg()


def _short(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1e3:.1f} ms"
