"""Photographs side by side: sent, received through the shared channel, and the bound. Arrays in, PNG out."""

from __future__ import annotations

import io
from collections.abc import Sequence

import msgspec
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import ConnectionPatch
from PIL import Image
from scipy.ndimage import uniform_filter
from scipy.signal import welch

from testbed.report.drawing import FAINT, INK, PAPER, USER_COLOURS, Sheet, bare, user_colour
from testbed.units import power_to_db

DETAIL_PIXELS = (64, 128)  # height and width of the magnified part: 2.7 times larger on a page of three columns
OVERVIEW_BYTES = 300_000  # a README's picture should load on a slow line
OVERVIEW_IN = 9.0
LARGE_VALUES = 300_000  # pictures of more values never fit in full colour: do not try
OWN_COLOURS = (PAPER, INK, FAINT, *USER_COLOURS)


class Comparison(msgspec.Struct, kw_only=True):
    """One picture in its three states, [H, W, 3] uint8 each, and what was measured. None: not there."""

    node: str
    user: int
    name: str
    sent: np.ndarray | None = None
    received: np.ndarray | None = None
    bound: np.ndarray | None = None
    psnr_db: float | None = None
    ssim: float | None = None
    single_user_psnr_db: float | None = None
    lost_share: float = 0.0
    codec: str = ""
    reading: str = ""  # of a task with labels: what it was read as


def comparison(pictures: Sequence[Comparison], dpi: float = 110) -> bytes:
    """A PNG with one row a picture: sent, received, bound, each with its measure beneath. At least one picture."""
    heights = [_aspect(p) for p in pictures]
    with Sheet(len(pictures), 3, 0.35 + sum(3.05 * h + 0.3 for h in heights), 9.4, height_ratios=heights) as sheet:
        for row, picture in zip(sheet.axes, pictures, strict=True):
            _show(row[0], picture.sent, f"{picture.node}: {picture.name}")
            _show(
                row[1], picture.received, measured(picture.psnr_db, picture.ssim), absent=picture.reading or "missing"
            )
            _show(row[2], picture.bound, measured(picture.single_user_psnr_db))
        for axes, title in zip(sheet.axes[0], ("sent", "received", "single-user bound"), strict=True):
            axes.set_title(title, fontweight="bold")
        return sheet.png(dpi)


def measured(psnr_db: float | None, ssim: float | None = None) -> str:
    """``31.2 dB PSNR, SSIM 0.930``, or what of it is known; lines break only at the comma."""
    parts = [f"{psnr_db:.1f}\u00a0dB\u00a0PSNR"] if psnr_db is not None else []
    return ", ".join(parts + ([f"SSIM\u00a0{ssim:.3f}"] if ssim is not None else []))


def detail(original: np.ndarray, size: tuple[int, int] = DETAIL_PIXELS) -> tuple[int, int, int, int]:
    """Top, left, height and width of the part richest in detail: the most energy of luma above its local mean.

    Decided by the original alone, so that it flatters no reconstruction.
    """
    luma = original.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    height, width = (min(s, n) for s, n in zip(size, luma.shape, strict=True))
    fine = (luma - uniform_filter(luma, max(3, height // 3))) ** 2
    total = np.pad(fine, ((1, 0), (1, 0))).cumsum(0, dtype=np.float64).cumsum(1)
    energy = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    top, left = np.unravel_index(int(np.argmax(energy)), energy.shape)
    return int(top), int(left), height, width


def overview(pictures: Sequence[Comparison], iq: np.ndarray | None, sample_rate_hz: float, title: str = "") -> bytes:
    """One compact PNG of a run: two originals, what the server's first antenna heard, two reconstructions.

    Parameters
    ----------
    pictures : list of Comparison
        The first of each user; two are shown.
    iq : [A, n] complex64, optional
        Received samples.
    sample_rate_hz : float
    title : str
        One line above.

    Returns
    -------
    bytes
        PNG of at most ``OVERVIEW_BYTES``: smaller in pixels, then in colours, until it fits.
    """
    large = sum(p.sent.size for p in pictures[:2] if p.sent is not None) > LARGE_VALUES
    for dpi, colours in (
        *(() if large else ((130, 0),)),
        (150, 256),
        (130, 256),
        (110, 256),
        (90, 256),
        (70, 128),
        (50, 64),
    ):
        data = _reduced(_overview(pictures[:2], iq, sample_rate_hz, title, dpi), colours)
        if len(data) <= OVERVIEW_BYTES:
            break
    return data


def _overview(pictures: Sequence[Comparison], iq: np.ndarray | None, rate_hz: float, title: str, dpi: float) -> bytes:
    aspect = max(_aspect(p) for p in pictures)
    height = 0.35 + len(pictures) * (3.3 * min(aspect, 1.0) + 0.3) + (0.25 if title else 0)
    with Sheet(len(pictures), 3, height, OVERVIEW_IN, width_ratios=[1, 0.66, 1]) as sheet:
        sheet.figure.set_layout_engine("constrained", wspace=0.1)
        for (left, middle, right), picture in zip(sheet.axes, pictures, strict=True):
            colour = user_colour(picture.user)
            _show(left, picture.sent, picture.node, colour)
            words = measured(picture.psnr_db) or "nothing received"
            _show(right, picture.received, words, colour, picture.reading or "missing")
            bare(middle)
            middle.set_box_aspect(_aspect(picture) / 0.66)
            for a, b in ((left, middle), (middle, right)):
                sheet.figure.add_artist(_arrow(a, b, colour))
        _heard(sheet.axes[:, 1], iq, rate_hz)
        for axes, words in zip(
            sheet.axes[0], ("sent at the same time", "one channel", "separated, decoded"), strict=True
        ):
            axes.set_title(words, fontweight="bold")
        if title:
            sheet.figure.suptitle(title, fontsize=9)
        return sheet.png(dpi)


def _arrow(a: Axes, b: Axes, colour: str) -> ConnectionPatch:
    """From the right edge of one panel to the left edge of the next."""
    patch = ConnectionPatch((1.015, 0.5), (-0.015, 0.5), a.transAxes, b.transAxes, arrowstyle="-|>", mutation_scale=12)
    patch.set(color=colour, linewidth=1.6)
    return patch


def _heard(panels: np.ndarray, iq: np.ndarray | None, rate_hz: float) -> None:
    """What the first antenna heard: the envelope of 10 ms, and below it the spectrum."""
    if iq is None or not iq.size:
        return
    stretch = iq[0, : max(1, int(rate_hz * 0.01))]
    step = max(1, stretch.size // 500)
    level = np.abs(stretch[: stretch.size // step * step]).reshape(-1, step).max(axis=1)
    panels[0].fill_between(np.arange(level.size), -level, level, color=INK, linewidth=0)
    panels[0].margins(x=0.02, y=0.2)
    _caption(panels[0], f"antenna 1, {stretch.size / rate_hz * 1e3:.0f} ms")
    if len(panels) > 1:
        freq, density = welch(iq[0], fs=rate_hz, nperseg=min(256, iq.shape[1]), return_onesided=False, detrend=False)
        order = np.argsort(freq)
        decibels = power_to_db(density[order] + 1e-30)
        panels[1].fill_between(freq[order], decibels.min(), decibels, color=INK, linewidth=0)
        panels[1].margins(x=0.02, y=0.2)
        _caption(panels[1], f"its spectrum, {rate_hz / 1e6:g} MHz wide")


def _reduced(png: bytes, colours: int) -> bytes:
    with Image.open(io.BytesIO(png)) as opened:
        picture: Image.Image = opened.convert("RGB")
    if colours:
        few = picture.quantize(palette=_palette(picture, colours), dither=Image.Dither.FLOYDSTEINBERG)
        blank = Image.fromarray((np.asarray(picture) == 255).all(axis=2))
        paper = colours - len(OWN_COLOURS)  # set outright, because the search for the nearest colour is coarse
        few.paste(paper, mask=blank)
        picture = few
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def _palette(picture: Image.Image, colours: int) -> Image.Image:
    """The picture's own colours, and those of text and lines, which are too few to be found among photographs."""
    free = colours - len(OWN_COLOURS)
    found = picture.quantize(free).getpalette() or []
    found = (found + [0] * 3 * free)[: 3 * free]
    palette = Image.new("P", (1, 1))
    palette.putpalette(found + [int(c[i : i + 2], 16) for c in OWN_COLOURS for i in (1, 3, 5)])
    return palette


def _show(axes: Axes, picture: np.ndarray | None, caption: str, colour: str = INK, absent: str = "missing") -> None:
    bare(axes)
    if picture is None:
        axes.text(0.5, 0.5, absent, ha="center", va="center", color=FAINT, transform=axes.transAxes)
        return
    axes.imshow(picture, interpolation="nearest" if max(picture.shape) < 200 else "antialiased")
    _caption(axes, caption, colour)


def _caption(axes: Axes, text: str, colour: str = INK) -> None:
    axes.text(0.5, -0.03, text, ha="center", va="top", transform=axes.transAxes, color=colour, fontsize=9)


def _aspect(picture: Comparison) -> float:
    shown = next((p for p in (picture.sent, picture.received, picture.bound) if p is not None), None)
    return 0.6 if shown is None else shown.shape[0] / shown.shape[1]
