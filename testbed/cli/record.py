"""`semtb record`: what a radio receives, as a SigMF recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from testbed.cli.options import number
from testbed.cli.process import keep_to_one_thread
from testbed.experiments.stopping import StopRequest

EPILOG_RECORD = (
    "Examples:  semtb record pluto:ip:192.168.2.1 --seconds 10 --lo-hz 868.3e6 --out first  |  "
    "semtb record zmq:rx_port=tcp://127.0.0.1:47020 --seconds 1"
)


def record(
    uri: Annotated[str, typer.Argument(help="The radio, for example pluto:ip:192.168.2.1.")],
    seconds: Annotated[
        Optional[float],  # noqa: UP045
        number(float, 1e-3, 1e6, "--seconds", help="Left out: until Ctrl-C."),
    ] = None,
    lo_hz: Annotated[float, number(float, 46.875e6, 6e9, "--lo-hz", help="Carrier, of a radio that has one.")] = 2.4e9,
    rate: Annotated[float, number(float, 1e3, 61.44e6, "--rate", help="Samples a second.")] = 1.92e6,
    gain: Annotated[float, number(float, -10, 90, "--gain", help="dB, of a radio that has one.")] = 30.0,
    channels: Annotated[int, number(int, 1, 16, "--channels", help="Antennas.")] = 1,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="DIR", help="The recording's folder; else one below recordings/ is made."),
    ] = None,
) -> None:
    """Keep what a radio receives as a SigMF recording; Ctrl-C ends it and keeps what has come."""
    keep_to_one_thread()
    stop = StopRequest()
    from testbed.experiments.record import record as receive
    from testbed.radio.base import RadioSettings

    settings = RadioSettings(rate, rx_channels=channels, lo_hz=lo_hz, rx_gain_db=gain)
    raise typer.Exit(receive(uri, settings, seconds, out, stop, Console(markup=False)))
