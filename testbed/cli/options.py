"""Arguments and options that several commands of `semtb` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional, TypeVar

import typer

T = TypeVar("T", int, float)
MAX_SEED = 2**32 - 1  # what every generator in use takes


def number(kind: type[T], low: T, high: T, *names: str, help: str = "") -> Any:
    """An option whose value is a number between two limits, each allowed; what is not finite lies outside.

    Parameters
    ----------
    kind : int or float
    low, high
    *names : str
        As typer.Option takes them.
    help : str
    """
    parse = within(kind, low, high)
    return typer.Option(*names, parser=parse, metavar=parse.allowed, help=help)


def number_argument(kind: type[T], low: T, high: T, help: str = "") -> Any:
    """The same as an argument, which has a place and no name."""
    parse = within(kind, low, high)
    return typer.Argument(parser=parse, metavar=parse.allowed, help=help)


def within(kind: type[T], low: T, high: T) -> Any:
    """A parser that refuses what is no number between two limits; ``allowed`` says which they are."""
    allowed = f"{low:_}..{high:_}" if kind is int else f"{low:g}..{high:g}"

    def parse(text: str) -> T:
        try:
            value = kind(text)
        except ValueError:
            raise typer.BadParameter(f"{text}: allowed: {allowed}") from None
        if not low <= value <= high:
            raise typer.BadParameter(f"{text}: allowed: {allowed}")
        return value

    parse.allowed = allowed  # type: ignore[attr-defined]
    return parse


# typer reads these at runtime, and Python 3.10's typer wants Optional for options that may be left out.
ScenarioName = Annotated[str, typer.Argument(help="A shipped scenario (`semtb scenarios` lists them) or a .toml file.")]
Settings = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, for example air.snr_db=10; may be repeated."),
]
Seed = Annotated[Optional[int], number(int, 0, 2**63 - 1, "--seed", help="Decides the channel, noise and offsets.")]  # noqa: UP045
Images = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--images",
        metavar="DIR",
        help="A folder of PNG or JPEG files, dealt to the edges in turn; composed on white where transparent.",
    ),
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
Externals = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--external",
        metavar="NODE[:PATTERN]",
        help="Leave an edge, the air or the server to another program, such as GNU Radio; says what to wire. "
        "PATTERN: req-rep (else), pub-sub or push-pull; may be repeated.",
    ),
]
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
Over = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--over",
        metavar="KEY=FIRST:LAST:STEP",
        help="Vary a key, for example air.snr_db=-10:25:5, or over values: air.doppler_hz=0,50,200; may be repeated.",
    ),
]
Jobs = Annotated[int, number(int, 1, 1024, "--jobs", help="Processes at once; the result does not depend on it.")]
