"""`semtb calibrate`: one procedure, or all, on a radio."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console

from testbed.cli.options import number

if TYPE_CHECKING:
    from calibration.record import Quantity, Record

EPILOG = (
    "Examples:  semtb calibrate all pluto:ip:192.168.2.1  (its TX over 30 dB of attenuation to its RX)  |  "
    "semtb calibrate oscillator pluto:ip:192.168.2.1 --reference-hz 2.4e9  |  "
    "semtb calibrate noise pluto:ip:192.168.2.1,rx_gain_db=60 --source-dbm -71.5"
)


def calibrate(
    name: Annotated[str, typer.Argument(help="A procedure, or all.")],
    uri: Annotated[
        str, typer.Argument(help="The radio, with LO and gains: pluto:ip:192.168.2.1,lo_hz=2.45e9,rx_gain_db=30")
    ],
    transmitter: Annotated[
        str, typer.Option("--transmitter", metavar="URI", help="Another radio that it hears; else it hears itself.")
    ] = "",
    reference_hz: Annotated[
        Optional[float],  # noqa: UP045
        number(float, 1e6, 1e11, "--reference-hz", help="Frequency of a generator's tone at the antenna."),
    ] = None,
    beacon: Annotated[bool, typer.Option("--beacon", help="A server of this testbed sends its beacon there.")] = False,
    transmitter_ppm: Annotated[
        Optional[float],  # noqa: UP045
        number(float, -200, 200, "--transmitter-ppm", help="By how much that oscillator is high, or the server's."),
    ] = None,
    source_dbm: Annotated[
        Optional[float],  # noqa: UP045
        number(float, -200, 50, "--source-dbm", help="Level at the antenna of that tone, or of the transmitter."),
    ] = None,
    output_dbm: Annotated[
        Optional[float],  # noqa: UP045
        number(float, -200, 50, "--output-dbm", help="Output of the transmitter for a tone of -20 dBFS."),
    ] = None,
    rate: Annotated[float, number(float, 1e5, 61.44e6, "--rate", help="Samples a second.")] = 1.92e6,
    antennas: Annotated[int, number(int, 1, 2, "--antennas", help="Of the receiver that hear the transmitter.")] = 1,
    store: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--store", metavar="DIR", help="Of the records; else ~/.local/share/semtb/calibration."),
    ] = None,
) -> None:
    """Find out what is not ideal about a radio, and keep it: runs correct it from then on.

    Procedures: oscillator, receive-iq, transmit-iq, gain-table, noise, compression, delay, antennas. A record that
    would need a reference from outside and had none says that it is relative.
    """
    from calibration.bench import Given, Station
    from calibration.registry import calibrate as measured
    from calibration.registry import find_procedure, procedures
    from calibration.session import calibrate_all
    from calibration.store import save, store_folder
    from testbed.files import write_aside
    from testbed.report.calibration import calibration_page

    console = Console(markup=False)
    wanted = list(procedures().values()) if name == "all" else [find_procedure(name)]
    folder = store if store is not None else store_folder()
    given = Given(
        reference_hz=reference_hz,
        beacon=beacon,
        transmitter_ppm=transmitter_ppm,
        source_dbm=source_dbm,
        output_dbm=output_dbm,
    )
    station = Station(uri, rate, transmitter or None, given, antennas)
    if name == "all":
        left_out: list[str] = []
        done = calibrate_all(wanted, station, folder, left_out.append)
    else:
        left_out = []
        done = ((record, save(record, folder)) for record in [measured(wanted[0], station)])
    for record, path in done:
        page = path.with_suffix(".html")
        write_aside(page, calibration_page(record).encode())
        console.print(f"{record.procedure}: {'; '.join(told(record)) or 'nothing'}", soft_wrap=True)
        for note in record.notes:
            console.print(f"  {note}", soft_wrap=True)
        console.print(f"  {path}\n  {page}", soft_wrap=True)
    for reason in left_out:
        console.print(f"left out: {reason}", soft_wrap=True)


def told(record: Record) -> list[str]:
    """Its figures, one after another; of a table, the largest."""
    tables: dict[str, list[Quantity]] = {}
    for quantity in record.quantities:
        tables.setdefault(quantity.name, []).append(quantity)
    lines = []
    for quantities in tables.values():
        q = max(quantities, key=lambda one: abs(one.complex))
        value = f"{q.value:.4g}" if not q.imag else f"|{abs(q.complex):.3g}|"
        largest = f" at {q.at:g}, the largest of {len(quantities)}" if len(quantities) > 1 else ""
        small = "" if q.significant or not q.correction else ", not applied"
        lines.append(f"{q.name} {value} ± {q.standard_error:.2g} {q.unit}{largest}{small}")
    return lines if record.absolute else [*lines, f"relative to {record.reference}"]
