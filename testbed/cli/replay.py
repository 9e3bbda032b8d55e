"""`semtb replay`: receive a recording again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from testbed.cli.options import Settings
from testbed.cli.process import keep_to_one_thread
from testbed.experiments.stopping import StopRequest

EPILOG_REPLAY = (
    "Examples:  semtb run two-users --record  then  semtb replay runs/…  |  "
    "semtb replay runs/… --set server.estimator=ls  |  semtb replay capture.sigmf-meta --scenario two-users"
)


def replay(
    path: Annotated[Path, typer.Argument(help="A run folder with a recording; with --scenario any SigMF recording.")],
    settings: Settings = None,
    scenario: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--scenario", help="Whose waveform, receiver and codec: for a recording that is of no run."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="DIR", help="The new run folder; else one below runs/ is made."),
    ] = None,
) -> None:
    """Receive a recorded run again and compare its metrics byte for byte, or with another receiver, side by side."""
    keep_to_one_thread()
    stop = StopRequest()
    from testbed.experiments.replay import replay as receive

    console, errors = Console(markup=False), Console(markup=False, stderr=True)
    raise typer.Exit(receive(path, scenario, settings or [], out, stop, console, errors))
