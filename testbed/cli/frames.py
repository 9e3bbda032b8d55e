"""`semtb frames`: what an edge transmits, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.options import Images, ScenarioName, Seed, Settings
from testbed.cli.process import keep_to_one_thread

EPILOG_FRAMES = "Example:  semtb frames two-users --edge edge-1 --out edge-1.cf32"


def frames(
    scenario: ScenarioName,
    edge: Annotated[str, typer.Option(help="Whose frames.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Written as complex64, real and imaginary in turn.")],
    settings: Settings = None,
    seed: Seed = None,
    images: Images = None,
) -> None:
    """Write the samples that an edge transmits in a run, for GNU Radio's File Source or any other program."""
    keep_to_one_thread()
    from testbed.experiments.frames import write_frames
    from testbed.experiments.scenario_files import open_scenario

    written = write_frames(open_scenario(scenario, settings or [], seed, images), edge, out)
    typer.echo(
        f"{out}: {written.samples} samples of complex64 at {written.sample_rate_hz / 1e6:g} MS/s "
        f"({written.samples / written.sample_rate_hz:.3f} s): {written.pictures} pictures in {written.frames} frames"
    )
    typer.echo(f"rms {written.level_dbfs:.2f} dBFS where it is not silent, peak {written.peak:.3f} of 1.0")
