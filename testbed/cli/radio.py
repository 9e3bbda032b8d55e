"""`semtb radio`: what radios there are, what they can do, and where this lab may transmit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

from testbed.cli.options import number
from testbed.cli.process import NodeProcess
from testbed.experiments.tables import print_table

Uri = Annotated[str, typer.Argument(help="The radio, for example pluto:ip:192.168.2.1; `semtb radio list` shows them.")]
Rate = Annotated[float, number(float, 1e3, 61.44e6, "--rate", help="Samples a second.")]
LoHz = Annotated[float, number(float, 46.875e6, 6e9, "--lo-hz", help="Carrier, of a radio that has one.")]
Channels = Annotated[int, number(int, 1, 16, "--channels", help="Antennas.")]

radio_app = typer.Typer(no_args_is_help=True, help="Radios: what answers, what it can do, where it may transmit.")


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


@radio_app.command(
    epilog="Begin with:  semtb radio lab --example > lab.toml  then write into it what your licence allows"
)
def lab(
    example: Annotated[bool, typer.Option("--example", help="Print a lab.toml to begin with.")] = False,
) -> None:
    """Tell where this lab may transmit, as its lab.toml says: outside of that Plutos only receive."""
    from testbed.config.lab import EXAMPLE, FILE, VARIABLE, lab_file, load_lab

    if example:
        typer.echo(EXAMPLE, nl=False)
        return
    path = lab_file()
    if path is None:
        typer.echo(f"no {FILE} here, in ~/.config/semtb or at ${VARIABLE}: Plutos receive, virtual ones transmit, too")
        typer.echo(f"write one:  semtb radio lab --example > {FILE}")
        return
    found = load_lab(path)
    typer.echo(f"{path}: {'every Pluto' if found.virtual else 'every Pluto but virtual ones'} may transmit in")
    for band in found.bands:
        typer.echo(f"  {band.words}: tx_gain_db <= {found.most_gain_db(band):g}")


@radio_app.command(
    epilog="Example:  semtb radio probe pluto:ip:192.168.2.1    Nobody else may use the Pluto meanwhile; it stays mute."
)
def probe(
    uri: Uri,
    seconds: Annotated[
        float, number(float, 0.0, 60.0, "--seconds", help="For each sample rate; 0: none is tried.")
    ] = 1.0,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--json", metavar="FILE", help="All of it as JSON."),
    ] = None,
) -> None:
    """Tell what a Pluto is, what it can do, and at which rate this machine gets every sample of it.

    A counter goes through the digital loopback: every sample says which it is, so that none can be lost unseen.
    """
    with NodeProcess("probe") as should_stop:
        from testbed.experiments.radios import probe as run

        run(uri, seconds, out, should_stop, Console(markup=False))


@radio_app.command(
    epilog="Example:  semtb radio tone pluto:ip:192.168.2.1 --lo-hz 2.45e9 --gain -30 --offset-hz 100e3    "
    "Where a Pluto may transmit, lab.toml says: semtb radio lab"
)
def tone(
    uri: Uri,
    lo_hz: LoHz = 2.45e9,
    offset_hz: Annotated[
        float, number(float, -31e6, 31e6, "--offset-hz", help="Of the tone from the carrier.")
    ] = 100e3,
    gain: Annotated[float, number(float, -89.75, 0.0, "--gain", help="dB below the strongest output.")] = -40.0,
    level: Annotated[float, number(float, -80.0, 0.0, "--level", help="dB of full scale.")] = -6.0,
    seconds: Annotated[
        Optional[float],  # noqa: UP045
        number(float, 1e-3, 1e6, "--seconds", help="Left out: until Ctrl-C."),
    ] = None,
    rate: Rate = 1.92e6,
    channels: Channels = 1,
) -> None:
    """Transmit a tone until Ctrl-C; however this ends, the transmitter is mute afterwards."""
    with NodeProcess("tone") as should_stop:
        from testbed.experiments.radios import tone as run
        from testbed.radio.base import RadioSettings

        settings = RadioSettings(rate, tx_channels=channels, lo_hz=lo_hz, tx_gain_db=gain)
        run(uri, settings, offset_hz, level, seconds or math.inf, should_stop, typer.echo)


@radio_app.command(
    epilog="Example:  semtb radio spectrum pluto:ip:192.168.2.1 --lo-hz 868e6 --rate 3.84e6 --out band.svg"
)
def spectrum(
    uri: Uri,
    lo_hz: LoHz = 2.45e9,
    rate: Rate = 1.92e6,
    gain: Annotated[float, number(float, -10, 90, "--gain", help="Of the receiver in dB.")] = 30.0,
    seconds: Annotated[float, number(float, 1e-3, 60.0, "--seconds", help="To average over.")] = 0.1,
    channels: Channels = 1,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="FILE", help="Draw it, too: a name that ends in .svg or .png."),
    ] = None,
) -> None:
    """Receive for a moment and draw what is on the band: power by frequency, in the terminal and as a figure."""
    with NodeProcess("spectrum") as should_stop:
        from testbed.experiments.radios import spectrum as run
        from testbed.radio.base import RadioSettings

        settings = RadioSettings(rate, rx_channels=channels, lo_hz=lo_hz, rx_gain_db=gain)
        run(uri, settings, seconds, out, should_stop, Console(markup=False))


@radio_app.command(
    epilog="Example:  semtb radio selftest pluto:ip:192.168.2.1    Nobody else may use the Pluto meanwhile. Nothing is "
    "radiated but in one check, at -80 dB, and only where lab.toml allows it."
)
def selftest(
    uri: Uri,
    seconds: Annotated[float, number(float, 0.0, 60.0, "--seconds", help="For each sample rate; 0: none.")] = 1.0,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--json", metavar="FILE", help="The report; left out, selftest-SERIAL.json here."),
    ] = None,
) -> None:
    """Try on a Pluto, through its digital loopback, what every radio must do, and write a report to send in."""
    with NodeProcess("selftest") as should_stop:
        from testbed.experiments.selftest import selftest as run

        passed = run(uri, seconds, out, should_stop, Console(markup=False)).passed
    if not passed or should_stop():
        raise typer.Exit(1)
