"""The figure of a federated run: accuracy by round and by epsilon spent, with what it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.record.drawing import FAINT, INK, Sheet, user_colour
from testbed.record.folder import RunFolder

if TYPE_CHECKING:
    from testbed.lab.federate_result import FederatedResult

# name, how it is labelled, and where along the line the label stands, so that near lines keep their labels apart
LINES = (
    ("pooled", "all records in one place", 0.01),
    ("fedavg", "FedAvg", 0.6),
    ("mean_logits", "plain mean of logits", 0.6),
    ("best_client", "best client alone", 0.6),
)
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))


def draw(folder: RunFolder, result: FederatedResult) -> None:
    """Write figures/rounds.svg and rounds.png."""
    with Sheet(2, 1, height_in=4.6, sharex=True, height_ratios=[2, 1]) as sheet:
        accuracy, spent = sheet.axes[:, 0]
        rounds = [r.round for r in result.rounds]
        accuracy.plot(rounds, [100 * r.accuracy for r in result.rounds], "o-", color=INK)
        for number, (name, label, along) in enumerate(LINES):
            row, colour = result.comparisons[name], user_colour(number)
            accuracy.axhline(100 * row.accuracy, color=colour, linestyle=DASHES[number])
            said = f"{label}, {row.note}" if name == "fedavg" else label
            accuracy.annotate(
                said,
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
            spent.step(rounds, [r.epsilon for r in result.rounds], "o-", where="post", color=INK)
            if result.epsilon_allowed is not None:
                spent.axhline(result.epsilon_allowed, color=FAINT, linestyle="--")
                spent.annotate("budget of each edge", (0, result.epsilon_allowed), (2, -10), textcoords="offset points")
            spent.set(ylabel=f"epsilon, delta {result.delta:g}", ylim=(0, None))
        spent.set(xlabel="round", xticks=rounds)
        folder.write_text("figures/rounds.svg", sheet.svg())
        folder.write_bytes("figures/rounds.png", sheet.png())
