"""Arguments and options that several commands of `semtb` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

# typer reads these at runtime, and Python 3.10's typer wants Optional for options that may be left out.
ScenarioName = Annotated[str, typer.Argument(help="A shipped scenario (`semtb scenarios` lists them) or a .toml file.")]
Settings = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, for example air.snr_db=10; may be repeated."),
]
Seed = Annotated[Optional[int], typer.Option("--seed", help="Decides the channel, noise and offsets.")]  # noqa: UP045
Images = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--images", metavar="DIR", help="A folder of PNG or JPEG files, dealt to the edges in turn."),
]
Radios = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--radio",
        metavar="NODE=URI",
        help="A node's radio, for example edge-1=pluto:ip:192.168.2.1; a Pluto at 127.0.0.2 and up is made here.",
    ),
]
Remotes = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--remote",
        metavar="EDGE=USER@HOST[:PORT]",
        help="This edge runs where `semtb deploy` put it, reached over SSH.",
    ),
]
SshOptions = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--ssh-option", metavar="KEY=VALUE", help="As ssh -o takes it; may be repeated."),
]
RemoteDir = Annotated[str, typer.Option("--remote-dir", metavar="DIR", help="The --dir that it was deployed with.")]
Switches = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--switch",
        metavar="[EDGE:]CODEC@FRAME",
        help="While the run goes on, send EDGE, or every edge, another codec for what it sends from FRAME on.",
    ),
]
ConfigFile = Annotated[Path, typer.Argument(help="This node's own file, as `semtb resolve` writes it.")]
JsonFile = Annotated[Optional[Path], typer.Option("--json", metavar="FILE", help="Write a result file.")]  # noqa: UP045
