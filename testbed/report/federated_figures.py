"""The figures of a federated run: accuracy and epsilon by round, confusions of the last round, who holds what."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from testbed.record.federated import Client, FederatedResult
from testbed.report.drawing import FAINT, INK, Sheet, agree, user_colour

# name, how it is labelled, and where along the line the label stands, so that near lines keep their labels apart
LINES = (
    ("pooled", "all records in one place", 0.01),
    ("fedavg", "FedAvg", 0.6),
    ("mean_logits", "plain mean of logits", 0.6),
    ("best_client", "best client alone", 0.6),
)
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))
DENSEST = 0.6  # opacity of a full cell: ink on it stays readable by day and by night


def rounds(result: FederatedResult) -> Sheet:
    """Accuracy by round over what it is compared with, and the epsilon spent until then."""
    with Sheet(2, 1, height_in=4.6, sharex=True, height_ratios=[2, 1]) as sheet:
        accuracy, spent = sheet.axes[:, 0]
        numbers = [r.round for r in result.rounds]
        accuracy.plot(numbers, [100 * r.accuracy for r in result.rounds], "o-", color=INK)
        for number, (name, label, along) in enumerate(LINES):
            if name not in result.comparisons:
                continue
            row, colour = result.comparisons[name], user_colour(number)
            accuracy.axhline(100 * row.accuracy, color=colour, linestyle=DASHES[number])
            legend = f"{label}, {row.note}" if name == "fedavg" else label
            accuracy.annotate(
                legend,
                (along, 100 * row.accuracy),
                (0, -10 if name in ("pooled", "fedavg") else 3),
                xycoords=accuracy.get_yaxis_transform(),
                textcoords="offset points",
                color=colour,
                fontsize=8,
            )
        accuracy.set(ylabel="test accuracy, %", ylim=(0, 102))
        accuracy.set_title(f"{result.strategy} (dots); lines: not private, same split", loc="left")
        if result.epsilon is None:
            spent.text(0.5, 0.5, "no noise was added: epsilon has no bound", ha="center", transform=spent.transAxes)
            spent.set(ylabel="epsilon spent", yticks=[])
        else:
            spent.step(numbers, [r.epsilon for r in result.rounds], "o-", where="post", color=INK)
            if result.epsilon_allowed is not None:
                spent.axhline(result.epsilon_allowed, color=FAINT, linestyle="--")
                spent.annotate("budget of each edge", (0, result.epsilon_allowed), (2, -10), textcoords="offset points")
            spent.set(ylabel=f"epsilon, delta {result.delta:g}", ylim=(0, None))
        spent.set(xlabel="round", xticks=numbers)
        return sheet


def confusion(counts: Sequence[Sequence[int]]) -> Sheet:
    """Share of each class's decisions in per cent: what it is down, what it is taken for across.

    Raises
    ------
    ShapeError
        If there are not as many columns as rows.
    """
    agree("rows and columns of the confusions", len(counts), *(len(row) for row in counts))
    table = np.array(counts, float)
    share = 100 * table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    with Sheet(1, 1, 4.4) as sheet:
        axes = sheet.axes[0, 0]
        cells(axes, share, 100.0, lambda value: f"{value:.0f}" if value >= 0.5 else "<1")
        axes.set(xlabel="taken for", ylabel="is")
        axes.set_yticks(range(len(share)), [str(label) for label in range(len(share))])
        return sheet


def split(clients: Sequence[Client]) -> Sheet:
    """How many records of each class every client holds."""
    agree("classes of every client", *(len(client.labels) for client in clients))
    counts = np.array([client.labels for client in clients], float)
    with Sheet(1, 1, 0.7 + 0.36 * len(clients)) as sheet:
        axes = sheet.axes[0, 0]
        cells(axes, counts, float(counts.max()), lambda value: f"{value:.0f}")
        axes.set(xlabel="class of a record")
        axes.set_yticks(range(len(clients)), [client.name for client in clients])
        return sheet


def cells(axes: Axes, values: np.ndarray, most: float, words: Callable[[float], str]) -> None:
    """A table as cells of one colour, denser for more (by the square root), with their values; zero stays empty.

    Density is opacity and the text has the page's ink, so that both follow it into the night.
    """
    for (row, column), value in np.ndenumerate(values):
        if value <= 0:
            continue
        density = DENSEST * float(np.sqrt(value / most))
        place = (column - 0.48, row - 0.46)
        axes.add_patch(Rectangle(place, 0.96, 0.92, facecolor=user_colour(0), alpha=density, linewidth=0))
        axes.text(column, row, words(value), ha="center", va="center", fontsize=8)
    axes.set(xlim=(-0.5, values.shape[1] - 0.5), ylim=(values.shape[0] - 0.5, -0.5), xticks=range(values.shape[1]))
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
