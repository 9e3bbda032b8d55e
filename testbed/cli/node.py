"""`semtb server`, `air`, `edge`, `radio`: one node of a run in this process, from its own file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

from testbed.cli.options import ConfigFile, Seed, Settings, number
from testbed.cli.process import NodeProcess
from testbed.errors import ScenarioError
from testbed.experiments.tables import print_table

EPILOG_AIR = (
    "Examples:  semtb air --pluto 127.0.0.2  then  iio_info -u ip:127.0.0.2  |  "
    "semtb air --pluto 127.0.0.2 --pluto 127.0.0.3 --scenario two-users --set air.snr_db=15"
)

radio_app = typer.Typer(no_args_is_help=True, help="Radios that are there.")


def server(
    config: ConfigFile,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="DIR", help="The run folder; left out, one below runs/ is made."),
    ] = None,
) -> None:
    """Start the server of a run. It waits for the other nodes, receives, decodes and ends."""
    from testbed.config import ServerConfig
    from testbed.federation.config import TeacherConfig, load_node_or_federated
    from testbed.record.folder import RunFolder

    node = load_node_or_federated(config, ServerConfig, TeacherConfig)
    if isinstance(node, TeacherConfig):
        folder = out if out is not None else RunFolder.create("runs", node.name).path
        with NodeProcess(node.name, lambda: RunFolder(folder).discard_partials()) as should_stop:
            from server.federation.rounds import run_rounds

            run_rounds(node, folder, should_stop)
        return
    folder = out if out is not None else RunFolder.create("runs", node.server.name).path
    with NodeProcess(node.server.name, lambda: RunFolder(folder).discard_partials()) as should_stop:
        from server.node import run_server

        run_server(node, folder, should_stop)
    if out is None:
        typer.echo(f"received: {folder}")


def air(
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(help="The air's own file, as `semtb resolve` writes it; or give --pluto instead."),
    ] = None,
    pluto: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--pluto", metavar="ADDRESS", help="Present a virtual Pluto there; may be repeated."),
    ] = None,
    channels: Annotated[int, number(int, 1, 2, help="1 as a Pluto is sold, 2 for 2R2T.")] = 1,
    scenario: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--scenario",
            help="Whose [air] lies between the Plutos; left out, a cable for each channel (TX1 to RX1, TX2 to RX2), "
            "40 dB of SNR.",
        ),
    ] = None,
    settings: Settings = None,
    seed: Seed = None,
) -> None:
    """Start the emulated air: of a run (CONFIG), or virtual Plutos for any client of libiio (--pluto), until Ctrl-C."""
    from testbed.config import AirConfig, load_node

    if (config is None) == (not pluto):
        raise ScenarioError("semtb air: give either CONFIG or --pluto ADDRESS, for example --pluto 127.0.0.2")
    if pluto:
        with NodeProcess("air") as should_stop:
            from testbed.experiments.plutos import present_until

            present_until(pluto, channels, scenario, settings or [], seed, should_stop, typer.echo)
        return
    assert config is not None
    node = load_node(config, AirConfig)
    with NodeProcess(node.air.name) as should_stop:
        from testbed.control.bus import await_server

        await_server(node.control, node.air.name, should_stop)
        from testbed.air.node import run_air

        run_air(node, should_stop)


@radio_app.command("list")
def list_radios() -> None:
    """Plutos that answer: on USB, on the network, and virtual ones of this machine."""
    from testbed.experiments.plutos import found

    answers = found()
    console = Console(markup=False)
    if not answers:
        console.print("no Pluto answers; without hardware: semtb air --pluto 127.0.0.2", soft_wrap=True)
        return
    table = Table("radio", "what it says of itself")
    for uri, what in answers.items():
        table.add_row(uri, what)
    print_table(console, table)


def edge(
    config: ConfigFile,
    keep: Annotated[
        bool, typer.Option("--keep", help="Wait for a server as long as it takes, and after each run for the next.")
    ] = False,
) -> None:
    """Start one edge: it transmits its pictures when the server says so or, in a federated run, learns and releases."""
    from testbed.config import EdgeConfig
    from testbed.federation.config import LearnerConfig, load_node_or_federated

    node = load_node_or_federated(config, EdgeConfig, LearnerConfig)
    name = node.name if isinstance(node, LearnerConfig) else node.edge.name
    with NodeProcess(name) as should_stop:
        if keep and isinstance(node, EdgeConfig):
            from edge.standing import stand_by

            stand_by(node, should_stop)
            return
        from testbed.control.bus import await_server

        await_server(node.control, name, should_stop)
        if isinstance(node, LearnerConfig):
            from edge.learner import run_learner

            run_learner(node, should_stop)
            return
        from edge.node import run_edge

        run_edge(node, should_stop, config.absolute().with_name(f"{name}-codecs"))
