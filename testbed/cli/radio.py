"""`semtb radio`: what radios there are, what they can do, and where this lab may transmit."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from testbed.experiments.tables import print_table

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
