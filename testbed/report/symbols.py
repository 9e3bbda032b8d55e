"""Figures of detected symbols: where they lie, how far off they are, and whether the detector knew. Arrays in, SVG out.

Symbols are analogue (the encoder's output, unit mean power), so they have no grid of points: densities are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from testbed.report.drawing import FAINT, INK, Sheet, agree, user_colour, user_dashes
from testbed.units import power_to_db

BINS = 72  # of a density's side: about 3 entries a bin at its edge from 20,000 symbols
NOISE_BINS = 12  # equal counts, so that each mean rests on the same number of symbols


def constellation(tx: Sequence[np.ndarray], rx: Sequence[np.ndarray], names: Sequence[str]) -> str:
    r"""Densities of :math:`x`, :math:`\hat x`, and of one against the other, one row a user.

    Parameters
    ----------
    tx, rx : list of [n] complex64
        Symbols sent, and the same symbols as detected, unit mean power. A user may have none.
    names : list of str
        What a user is called.

    Returns
    -------
    str
        SVG.
    """
    for x, x_hat in zip(tx, rx, strict=True):
        agree("symbols sent and received", x.shape, x_hat.shape)
    with Sheet(len(tx), 3, 0.45 + 1.5 * len(tx), sharex=True, sharey=True) as sheet:
        for user, (x, x_hat, row) in enumerate(zip(tx, rx, sheet.axes, strict=True)):
            x, x_hat = _pairs(x, x_hat)
            sent, received = (np.concatenate([z.real, z.imag]) for z in (x, x_hat))
            for axes, horizontal, vertical in (
                (row[0], x.real, x.imag),
                (row[1], x_hat.real, x_hat.imag),
                (row[2], sent, received),
            ):
                _density(axes, horizontal, vertical, user)
            row[2].plot([-3, 3], [-3, 3], color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
            row[0].set_ylabel(f"{names[user]}\nquadrature")
            row[2].set_ylabel("received")
        for axes, title, label in zip(
            sheet.axes[0], ("sent", "received", "compared"), ("in-phase", "in-phase", "sent"), strict=True
        ):
            axes.set_title(title)
            sheet.axes[-1, list(sheet.axes[0]).index(axes)].set_xlabel(label)
        return sheet.svg()


def error_by_effective_noise(
    tx: Sequence[np.ndarray], rx: Sequence[np.ndarray], no_eff: Sequence[np.ndarray], names: Sequence[str]
) -> str:
    r"""Whether the detector knew: :math:`1/E|\hat x - x|^2` measured against :math:`1/N_{eff}` reported, in dB.

    Parameters
    ----------
    tx, rx : list of [n] complex64
    no_eff : list of [n] float32
        Effective noise variance that the detector reported with each symbol.
    names : list of str

    Returns
    -------
    str
        SVG. Points on the diagonal: the report is right. Above it: pessimistic. Below: optimistic.
    """
    with Sheet(1, 1, 3.1) as sheet:
        axes = sheet.axes[0, 0]
        seen: list[float] = []
        for user, (x, x_hat, no) in enumerate(zip(tx, rx, no_eff, strict=True)):
            reported, measured = calibration(x, x_hat, no)
            axes.plot(
                reported, measured, marker="os^D"[user % 4], markersize=4, linewidth=1, **_line(user, names[user])
            )
            seen += [*reported, *measured]
        low, high = (min(seen) - 1, max(seen) + 1) if seen else (0, 1)
        axes.plot([low, high], [low, high], color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)), label="exact", zorder=1)
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set(xlabel="reported SINR 1/N_eff (dB)", ylabel="measured SINR (dB)")
        axes.legend(loc="upper left")
        return sheet.svg()


def calibration(tx: np.ndarray, rx: np.ndarray, no_eff: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SINR in dB, reported and measured, in bins of equal count by what was reported; [bins] float64 each."""
    agree("symbols sent, received and their noise", tx.shape, rx.shape, no_eff.shape)
    usable = np.isfinite(no_eff) & (no_eff > 0) & np.isfinite(rx) & np.isfinite(tx)
    no, error = no_eff[usable].astype(np.float64), np.abs(rx[usable] - tx[usable]).astype(np.float64) ** 2
    bins = [part for part in np.array_split(np.argsort(no, kind="stable"), NOISE_BINS) if part.size]
    reported = -power_to_db([no[part].mean() for part in bins])
    measured = -power_to_db([max(error[part].mean(), 1e-12) for part in bins])
    return reported, measured


def effective_snr(no_eff: Sequence[np.ndarray], names: Sequence[str]) -> str:
    r"""Distribution of :math:`1/N_{eff}` over data symbols: the share of symbols below each level, per user.

    Parameters
    ----------
    no_eff : list of [n] float32
        Infinite where a symbol was lost: such symbols lie below every level.
    names : list of str

    Returns
    -------
    str
        SVG.
    """
    with Sheet(1, 1, 2.9) as sheet:
        axes = sheet.axes[0, 0]
        shown: list[np.ndarray] = []
        for user, no in enumerate(no_eff):
            if not no.size:
                continue
            level = np.sort(-power_to_db(np.maximum(no, 1e-9)))
            share = np.arange(1, level.size + 1) / level.size
            finite = np.isfinite(level)
            axes.plot(level[finite], 100 * share[finite], **_line(user, names[user]))
            shown.append(level[finite])
        for percent in (5, 50):
            axes.axhline(percent, color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)))
        every = np.concatenate(shown) if shown else np.zeros(0)
        if every.size:
            axes.set_xlim(np.quantile(every, 0.001) - 1, every.max() + 1)
        axes.set(ylim=(0, 100), xlabel="effective SINR of a data symbol (dB)", ylabel="symbols below it (%)")
        axes.set_yticks([0, 5, 25, 50, 75, 100])
        if shown:
            axes.legend(loc="upper left")
        return sheet.svg()


def _pairs(x: np.ndarray, x_hat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What was sent and received at the same places; symbols that were lost are left out of both."""
    usable = np.isfinite(x_hat) & np.isfinite(x)
    return x[usable], x_hat[usable]


def _line(user: int, name: str) -> dict[str, object]:
    return {"color": user_colour(user), "linestyle": user_dashes(user), "label": name}


def _density(axes: Axes, horizontal: np.ndarray, vertical: np.ndarray, user: int) -> None:
    """A density as an image of one colour whose opacity grows with the count, so that it stands on any paper."""
    limit = 3.0
    counts, _, _ = np.histogram2d(vertical, horizontal, bins=BINS, range=[[-limit, limit]] * 2)
    image = np.zeros((BINS, BINS, 4), np.float32)
    image[..., :3] = to_rgb(user_colour(user))
    image[..., 3] = (counts / max(counts.max(), 1.0)) ** 0.6  # lifts the thin edge into sight
    axes.imshow(image, origin="lower", extent=(-limit, limit, -limit, limit), interpolation="nearest", aspect="equal")
    axes.axhline(0, color=INK, linewidth=0.4, alpha=0.4)
    axes.axvline(0, color=INK, linewidth=0.4, alpha=0.4)
    axes.set_xticks([-2, 0, 2])
    axes.set_yticks([-2, 0, 2])
    axes.grid(False)
