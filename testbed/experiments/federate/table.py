"""The tables at the end of a federated run, on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from testbed.experiments.tables import print_table
from testbed.record.federated import FederatedResult
from testbed.report.federated_words import epsilon


def show(result: FederatedResult, console: Console) -> None:
    """Tables at the end of a run."""
    table = Table(title=f"{result.name}, seed {result.seed}")
    for column in ("round", "accuracy", "epsilon spent", "uploads", "refused", "not used", "missing"):
        table.add_column(column, justify="right")
    for r in result.rounds:
        counts = [str(count) for count in (r.uploads, r.refused, r.rejected, r.missing)]
        table.add_row(str(r.round), f"{100 * r.accuracy:.1f} %", epsilon(r.epsilon), *counts)
    print_table(console, table)
    beside = Table(title="on the same split, not private")
    beside.add_column("compared with")
    beside.add_column("accuracy", justify="right")
    beside.add_column("note")
    for name, row in result.comparisons.items():
        beside.add_row(name.replace("_", " "), f"{100 * row.accuracy:.1f} %", row.note)
    if result.comparisons:
        print_table(console, beside)
    if result.epsilon is None:
        console.print("No noise was added: nothing is promised to anybody.", soft_wrap=True)
    else:
        console.print(
            f"epsilon {epsilon(result.epsilon)} at delta {result.delta:g}, composed over all releases; "
            f"neighbouring: {result.neighbouring}; noise: {result.noise}",
            soft_wrap=True,
        )
    for warning in result.warnings:
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True, markup=False)
