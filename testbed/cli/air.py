"""`semtb air`: the emulated air, of a run or on its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Optional

import typer

from testbed.cli.groups import ShorthandGroup
from testbed.cli.options import Seed, Settings, number, number_argument
from testbed.cli.process import NodeProcess
from testbed.errors import ScenarioError

EPILOG_AIR = (
    "Examples:  semtb air --pluto 127.0.0.2  then  iio_info -u ip:127.0.0.2  |  "
    "semtb air --pluto 127.0.0.2 --pluto 127.0.0.3 --scenario two-users --set air.snr_db=15  |  "
    "semtb air --zmq tx=47001,rx=47002 --scenario two-users  |  "
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
        typer.Argument(help="The air's own file, as `semtb resolve` writes it; or give --pluto or --zmq instead."),
    ] = None,
    pluto: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--pluto", metavar="ADDRESS", help="Present a virtual Pluto there; may be repeated."),
    ] = None,
    zmq: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--zmq",
            metavar="tx=PORT,rx=PORT",
            help="Serve ZeroMQ ports for any programs, such as GNU Radio: they transmit at tx, receive at rx. "
            "PORT:PATTERN where it is pub-sub or push-pull instead of req-rep. May be repeated.",
        ),
    ] = None,
    channels: Annotated[int, number(int, 1, 2, help="1 as a Pluto is sold, 2 for 2R2T.")] = 1,
    scenario: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--scenario",
            help="Whose [air] lies between them; left out, cables with 40 dB of SNR: one for each channel of Plutos "
            "(TX1 to RX1, TX2 to RX2), one from every tx to every rx of --zmq.",
        ),
    ] = None,
    pace: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--pace",
            help="lockstep: time waits for clients; realtime: the clock goes on, and who is late loses. "
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
        bool, typer.Option("--json", help="Once a second a line of JSON that says how each port stands.")
    ] = False,
    settings: Settings = None,
    seed: Seed = None,
) -> None:
    """Start the emulated air until Ctrl-C: of a run (CONFIG), or on its own.

    On its own it has virtual Plutos for any client of libiio (--pluto), or ZeroMQ ports for any program (--zmq).
    """
    from testbed.config import AirConfig, load_node
    from testbed.config.air import PACES

    if [config is not None, bool(pluto), bool(zmq)].count(True) != 1:
        raise ScenarioError(
            "semtb air: give either CONFIG, --pluto ADDRESS or --zmq tx=PORT,rx=PORT, for example --pluto 127.0.0.2"
        )
    if pace not in (None, *PACES):
        raise ScenarioError(f"semtb air: --pace {pace}: allowed: {', '.join(PACES)}")
    if (config is not None and pace) or (cable and not pluto):
        raise ScenarioError(
            "semtb air: --cable is of --pluto, --pace of --pluto and --zmq: a run's air has its pace in its own file"
        )
    if zmq:
        with NodeProcess("air") as should_stop:
            from testbed.experiments.zmq_air import serve_until

            say = partial(typer.echo, err=as_json)
            serve_until(zmq, scenario, settings or [], seed, pace or "", as_json, should_stop, say)
        return
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


AirName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--air", metavar="NAME", help="Which, where several run; the error that asks for it lists them."),
]


@air_app.command(
    "set",
    epilog="Example:  semtb air set edge-1.server.path_loss_db 80",
    context_settings={"ignore_unknown_options": True},  # -3 is a number
)
def set_link(
    key: Annotated[str, typer.Argument(metavar="EDGE.SERVER.KEY", help="KEY: path_loss_db or gain_db.")],
    value: Annotated[float, number_argument(float, -100, 130, help="In dB.")],
    air: AirName = None,
) -> None:
    """Change a link of an air that runs on this machine, from its next sample on; say which that is."""
    from testbed.experiments.air_orders import set_link as order

    order(key, value, air, typer.echo)


@air_app.command(epilog="Example:  semtb air status --json | jq .ports")
def status(
    air: AirName = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False,
) -> None:
    """Tell how each port of an air that runs stands: rate, level, samples clipped, lost and late."""
    from testbed.experiments.air_orders import show_status

    show_status(air, as_json, typer.echo)
