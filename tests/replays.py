"""How a test receives a recording again in its own process, whose signals stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from testbed.experiments.replay import replay


class Unstopped:
    """What nobody stops; in place of `testbed.experiments.stopping.StopRequest`, which takes over signals."""

    reason = ""
    exit_status = 130

    def __call__(self) -> bool:
        return False

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        yield


def replayed(path: Path, out: Path, *settings: str, scenario: str | None = None) -> tuple[int, str]:
    """The status of a replay into ``out``, and all that it said."""
    console = Console(record=True, width=200, markup=False)
    unstopped: Any = Unstopped()
    status = replay(path, scenario, list(settings), out, unstopped, console, console)
    return status, console.export_text()
