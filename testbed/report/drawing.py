"""One look for all figures: colours, sizes, and how a figure becomes SVG or PNG. What is drawn stands elsewhere.

Colours are Okabe and Ito's, told apart by the colour-blind and, in this order, by their lightness when printed grey;
a second sign (dashes, markers, a label) always goes with them. Figures are 5.2 inches wide, so that text of 9 points
stays readable when a phone shows them at two thirds of their size.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from testbed.errors import ShapeError

INK = "#1c2833"
FAINT = "#7b8794"
GRID = "#d5dbe1"
PAPER = "#ffffff"
# M. Okabe, K. Ito, "Color Universal Design", 2008; one colour a user, dark before light.
USER_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
ANTENNA_COLOURS = ("#1c2833", "#009e73", "#cc79a7", "#e69f00")
SEQUENTIAL = "cividis"  # J. Nunez et al., PLoS ONE 13(7), 2018: the same with and without red-green vision

WIDTH_IN = 5.2
_STYLE: Any = {
    "font.family": "DejaVu Sans",  # matplotlib ships it, so a figure looks the same everywhere
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "text.parse_math": False,  # a file's name may hold dollars
    "svg.fonttype": "path",
    "svg.hashsalt": "semtb",  # the same figure gives the same text
}


class Sheet:
    """A figure in the making: ``with Sheet(rows, columns, height_in) as s``, draw on ``s.axes``, then ``s.svg()``."""

    def __init__(
        self, rows: int = 1, columns: int = 1, height_in: float = 3.0, width_in: float = WIDTH_IN, **grid: Any
    ):
        self._style = mpl.rc_context(_STYLE)
        self._arguments = (rows, columns, grid)
        self._size = (width_in, height_in)
        self.figure: Figure
        self.axes: np.ndarray

    def __enter__(self) -> Sheet:
        self._style.__enter__()
        rows, columns, grid = self._arguments
        self.figure = Figure(figsize=self._size, layout="constrained")
        FigureCanvasAgg(self.figure)
        self.axes = self.figure.subplots(rows, columns, squeeze=False, **grid)
        return self

    def __exit__(self, *exc: object) -> None:
        self._style.__exit__(None, None, None)

    def svg(self) -> str:
        """The figure as an SVG document, without a date; images inside keep 200 dots an inch."""
        stream = io.StringIO()
        with mpl.rc_context(_STYLE), _any_letter():
            self.figure.savefig(stream, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
        return stream.getvalue()

    def png(self, dpi: float = 160) -> bytes:
        """The figure as a PNG file."""
        stream = io.BytesIO()
        with mpl.rc_context(_STYLE), _any_letter():
            self.figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
        return stream.getvalue()


@contextmanager
def _any_letter() -> Iterator[None]:
    """A file's name may hold letters that the font lacks: they are drawn as boxes, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def agree(what: str, *sizes: object) -> None:
    """Raise ShapeError unless all sizes are equal."""
    if len(set(sizes)) > 1:
        raise ShapeError(f"{what}: must be equal, are {', '.join(map(str, sizes))}")


def user_colour(user: int) -> str:
    """The colour of a user, the same in every figure and in the report."""
    return USER_COLOURS[user % len(USER_COLOURS)]


def user_dashes(user: int) -> object:
    """Its line style, so that a grey print still tells users apart."""
    return ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))[user % 4]


def bare(axes: Axes) -> None:
    """An axes for a picture: no frame, ticks or grid."""
    axes.set_axis_off()


def inline(svg: str, prefix: str) -> str:
    """An SVG document as an element of an HTML page: ids of its own, colours by the page's CSS variables.

    The page may set ``--ink``, ``--faint``, ``--grid``, ``--paper``, ``--user-0`` ...; what it leaves keeps its colour.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.S)
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'href="#', f'href="#{prefix}-', body)
    body = body.replace("url(#", f"url(#{prefix}-")
    variables = {INK: "--ink", FAINT: "--faint", GRID: "--grid", PAPER: "--paper"}
    variables |= {colour: f"--user-{i}" for i, colour in enumerate(USER_COLOURS)}
    for colour, name in variables.items():
        body = re.sub(rf"(fill|stroke): {colour}\b", rf"\1: var({name}, {colour})", body)
    return body
