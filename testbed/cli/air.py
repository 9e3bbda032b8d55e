"""`semtb air`: the emulated air, of a run or on its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from testbed.cli.groups import ShorthandGroup
from testbed.cli.options import Seed, Settings, number
from testbed.cli.process import NodeProcess
from testbed.errors import ScenarioError

EPILOG_AIR = (
    "Examples:  semtb air --pluto 127.0.0.2  then  iio_info -u ip:127.0.0.2  |  "
    "semtb air --pluto 127.0.0.2 --pluto 127.0.0.3 --scenario two-users --set air.snr_db=15"
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
