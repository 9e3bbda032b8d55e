"""Procedures one after another, each kept as it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from calibration.base import Procedure
from calibration.bench import Station
from calibration.record import Record
from calibration.registry import calibrate, obstacle
from calibration.store import save
from testbed.errors import RadioError, RadioNotFound


def calibrate_all(
    wanted: Iterable[Procedure], station: Station, folder: Path, leave_out: Callable[[str], None]
) -> Iterator[tuple[Record, Path]]:
    """Do procedures one after another; one that cannot be done is left out.

    Parameters
    ----------
    wanted : iterable of Procedure
    station : Station
    folder : Path
        The store.
    leave_out : callable
        Told why one is left out.

    Yields
    ------
    Record
    Path
        Where it lies.

    Raises
    ------
    RadioNotFound
        If the radio is not there.
    DataError
        If a record cannot be written.
    """
    for procedure in wanted:
        if reason := obstacle(procedure, station):
            leave_out(reason)
            continue
        try:
            record = calibrate(procedure, station)
        except RadioNotFound:
            raise
        except RadioError as error:
            leave_out(f"{procedure.name}: {error}")
            continue
        yield record, save(record, folder)
