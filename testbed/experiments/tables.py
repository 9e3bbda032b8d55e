"""Tables on a terminal of any width: no number is ever cut."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

SMALLEST_FOLDED = 12  # columns of a cell that may break anywhere, such as a path


def print_table(console: Console, table: Table) -> None:
    """Print a table; where its words do not fit side by side, each row becomes lines of `column: value`.

    Parameters
    ----------
    console : rich.console.Console
    table : rich.table.Table
        Cells are strings or `rich.text.Text`. A column with ``overflow="fold"`` may break within a word, others only
        between words.
    """
    columns = [[_plain(column.header), *map(_plain, column.cells)] for column in table.columns]
    wanted = [max(cell_len(line) for text in texts for line in text.split("\n")) for texts in columns]
    needed = [
        max((cell_len(word) for text in texts for word in text.split()), default=0)
        if column.overflow != "fold"
        else min(want, max(SMALLEST_FOLDED, cell_len(texts[0])))
        for column, want, texts in zip(table.columns, wanted, columns, strict=True)
    ]
    widths = _fitted(wanted, needed, console.width - _frame(table, console, sum(wanted)))
    if widths is None:
        _stacked(console, table, columns)
        return
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
        column.no_wrap = False
    console.print(table)


def _plain(cell: object) -> str:
    return getattr(cell, "plain", None) or str(cell)


def _frame(table: Table, console: Console, content: int) -> int:
    """Columns of the terminal that lines and padding take."""
    wide = console.options.update(width=content + 20 * len(table.columns))
    return table.__rich_measure__(console, wide).maximum - content


def _fitted(wanted: list[int], needed: list[int], available: int) -> list[int] | None:
    """Widths within what is available, the widest reduced first, none below what it needs; None if there are none."""
    widths = list(wanted)
    while sum(widths) > available:
        reducible = [i for i, width in enumerate(widths) if width > needed[i]]
        if not reducible:
            return None
        widest = max(reducible, key=lambda i: widths[i])
        widths[widest] -= 1
    return widths


def _stacked(console: Console, table: Table, columns: list[list[str]]) -> None:
    if table.title:
        console.print(_plain(table.title), style="italic", soft_wrap=True, highlight=False)
    heads = [" ".join(texts[0].split()) for texts in columns]
    for row in zip(*(texts[1:] for texts in columns), strict=True):
        first, *others = zip(heads, row, strict=True)
        console.print(f"{first[0]}: {first[1]}", soft_wrap=True, style="bold", highlight=False)
        for head, text in others:
            console.print(f"  {head}: {text}", soft_wrap=True, highlight=False)
