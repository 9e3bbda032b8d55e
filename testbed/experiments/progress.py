"""How long work shows itself on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def progress_bar(console: Console) -> Progress:
    """One look for all long work.

    Parameters
    ----------
    console : rich.console.Console
        Of standard error, so that results alone go to standard output.

    Returns
    -------
    rich.progress.Progress
    """
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
