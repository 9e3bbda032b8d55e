"""`semtb air`: the emulated air, of a run or on its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Optional

import typer

from testbed.cli.groups import ShorthandGroup
from testbed.cli.options import Seed, Settings, number
from testbed.cli.process import NodeProcess
from testbed.errors import ScenarioError

EPILOG_AIR = (
    "Examples:  semtb air --pluto 127.0.0.2  then  iio_info -u ip:127.0.0.2  |  "
    "semtb air --pluto 127.0.0.2 --pluto 127.0.0.3 --scenario two-users --set air.snr_db=15  |  "
    "semtb air --pluto 127.0.0.2 --pluto 127.0.0.3 --cable A.tx1=B.rx1,40 --cable B.tx1=A.rx1,40"
)

air_app = typer.Typer(
    cls=ShorthandGroup,
    no_args_is_help=True,
    help="The emulated air: the [air] of a scenario between radios. `semtb air nodes/air.toml` and "
    "`semtb air --pluto ...` are short for `semtb air serve ...`.",
)


@air_app.command(epilog=EPILOG_AIR)
def serve(
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
    pace: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--pace",
            help="Of --pluto. lockstep: time waits for clients; realtime: the clock goes on, and who is late loses. "
            "Left out: as the scenario says; realtime with --cable.",
        ),
    ] = None,
    cable: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--cable",
            metavar="A.tx1=B.rx1,DB",
            help="A cable from a port to a port with so much loss, in place of the usual ones; A and B are addresses, "
            "or places in the list of --pluto. May be repeated.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Once a second a line of JSON that says how each port stands (realtime).")
    ] = False,
    settings: Settings = None,
    seed: Seed = None,
) -> None:
    """Start the emulated air: of a run (CONFIG), or virtual Plutos for any client of libiio (--pluto), until Ctrl-C."""
    from testbed.config import AirConfig, load_node
    from testbed.config.air import PACES

    if (config is None) == (not pluto):
        raise ScenarioError("semtb air: give either CONFIG or --pluto ADDRESS, for example --pluto 127.0.0.2")
    if pace not in (None, *PACES):
        raise ScenarioError(f"semtb air: --pace {pace}: allowed: {', '.join(PACES)}")
    if not pluto and (pace or cable):
        raise ScenarioError("semtb air: --pace and --cable are of --pluto; a run's air has its pace in its own file")
    if pluto:
        with NodeProcess("air") as should_stop:
            from testbed.experiments.plutos import present_until

            present_until(
                pluto,
                channels,
                scenario,
                settings or [],
                seed,
                should_stop,
                partial(typer.echo, err=as_json),
                pace or "",
                cable or [],
                as_json,
            )
        return
    assert config is not None
    node = load_node(config, AirConfig)
    with NodeProcess(node.air.name) as should_stop:
        from testbed.control.bus import await_server

        await_server(node.control, node.air.name, should_stop)
        from testbed.air.node import run_air

        run_air(node, should_stop)
