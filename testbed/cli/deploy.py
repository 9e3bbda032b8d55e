"""The command group `semtb deploy`: what each option means, and a line or two that call `testbed.deploy.edges`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from typer.core import TyperGroup

from testbed.cli.options import number

HELP = """Put one edge of a scenario onto a board, over SSH, and look after it there.

`semtb deploy edge-1 --to pi@10.0.0.7` packs what that edge needs (no torch), installs it into an environment of its
own, checks that its encoder gives what this machine's gives, and only then lets it take the place of what was there.
It waits there for a server, as a systemd user service where there is systemd.
"""
EPILOG = (
    "Examples:  semtb deploy edge-1 --to pi@10.0.0.7  |  semtb deploy log edge-1 --to pi@10.0.0.7 -f  |  "
    "semtb run two-users --remote edge-1=pi@10.0.0.7  |  semtb deploy remove edge-1 --to pi@10.0.0.7"
)
DEFAULT = "put"
LOOKED_AFTER = {
    "status": "Tell what is deployed, on what, and whether it runs.",
    "start": "Let it wait for a server again.",
    "stop": "End it; it stays deployed, and is not started at the next boot.",
    "remove": "End it and leave nothing of it on the board.",
}


class DeployGroup(TyperGroup):
    """`semtb deploy edge-1 …` is short for `semtb deploy put edge-1 …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


deploy_app = typer.Typer(cls=DeployGroup, no_args_is_help=True, help=HELP, epilog=EPILOG)

# typer reads these at runtime, and Python 3.10's typer wants Optional for options that may be left out.
Edge = Annotated[str, typer.Argument(metavar="EDGE", help="Its name in the scenario, for example edge-1.")]
To = Annotated[
    str, typer.Option("--to", metavar="USER@HOST[:PORT]", help="The board; a Host of ~/.ssh/config works, too.")
]
Port = Annotated[Optional[int], number(int, 1, 65_535, "--port", help="Of the board's SSH server.")]  # noqa: UP045
Identity = Annotated[str, typer.Option("--identity", metavar="FILE", help="The private key, as ssh -i takes it.")]
SshOptions = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--ssh-option", metavar="KEY=VALUE", help="As ssh -o takes it (ProxyJump=HOST); may be repeated."),
]
Python = Annotated[
    str, typer.Option("--python", metavar="PATH", help="The board's Python, 3.10 or newer, that the edge is to use.")
]
Base = Annotated[
    str, typer.Option("--dir", metavar="DIR", help="Where on the board; else ~/.local/share/semtb.", show_default=False)
]


def target_of(to: str, port: int | None, identity: str, options: list[str] | None, python: str, base: str) -> Any:
    """The board that these options name."""
    from testbed.deploy.ssh import BASE, Target, parse_target

    host, of_host = parse_target(to)
    return Target(host, port or of_host, identity, tuple(options or ()), python, base or BASE)


@deploy_app.command("put", epilog=EPILOG)
def put(
    edge: Edge,
    to: To,
    scenario: Annotated[str, typer.Option(help="The scenario that the edge belongs to.")] = "two-users",
    settings: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the scenario; may be repeated."),
    ] = None,
    images: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--images", metavar="DIR", help="Pictures of this machine; the edge's share travels along."),
    ] = None,
    board_images: Annotated[
        str, typer.Option("--board-images", metavar="DIR", help="Pictures that are on the board and stay there.")
    ] = "",
    port: Port = None,
    identity: Identity = "",
    ssh_options: SshOptions = None,
    python: Python = "python3",
    base: Base = "",
    reuse: Annotated[
        str,
        typer.Option(
            "--reuse-packages",
            metavar="PYTHON",
            help="A Python on the board whose packages the edge sees, as /usr/bin/python3 for JetPack's ONNX Runtime.",
        ),
    ] = "",
    more: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--with", metavar="REQUIREMENT", help="More for pip, or a bound: 'numpy<2'; may be repeated."),
    ] = None,
    wheelhouse: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--wheelhouse", metavar="DIR", help="Wheels to carry along, for a board without network."),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download-wheels", help="Fetch into the wheelhouse what this board needs.")
    ] = False,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Let it wait for a server at once.")] = True,
) -> None:
    """Pack, copy, install, check and start an edge (the default: `semtb deploy EDGE --to …`)."""
    from testbed.cli.process import keep_to_one_thread
    from testbed.errors import BoardError

    keep_to_one_thread()
    from testbed.deploy.edges import Wishes, deploy
    from testbed.experiments.scenario_files import open_scenario

    if download and wheelhouse is None:
        raise BoardError("--download-wheels: say where to: --wheelhouse DIR")
    wishes = Wishes(reuse, wheelhouse, download, tuple(more or ()), board_images, start)
    opened = open_scenario(scenario, settings or [], None, images)
    deploy(opened, edge, target_of(to, port, identity, ssh_options, python, base), wishes, Console(markup=False))


@deploy_app.command("log")
def log(
    edge: Edge,
    to: To,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, number(int, 1, 1_000_000, "-n", "--lines", help="How many of the last lines.")] = 30,
    port: Port = None,
    identity: Identity = "",
    ssh_options: SshOptions = None,
    python: Python = "python3",
    base: Base = "",
) -> None:
    """Show what the edge that waits on the board has to say."""
    from testbed.deploy.boards import follow_log

    follow_log(target_of(to, port, identity, ssh_options, python, base), edge, lines, follow)


def look_after(action: str) -> Callable[..., None]:
    """The command that does ``action`` of `testbed.deploy.edges` to a deployed edge."""

    def command(
        edge: Edge,
        to: To,
        port: Port = None,
        identity: Identity = "",
        ssh_options: SshOptions = None,
        python: Python = "python3",
        base: Base = "",
    ) -> None:
        from testbed.deploy import edges as deploy

        getattr(deploy, action)(edge, target_of(to, port, identity, ssh_options, python, base), Console(markup=False))

    return command


for name, help_text in LOOKED_AFTER.items():
    deploy_app.command(name, help=help_text)(look_after(name))
