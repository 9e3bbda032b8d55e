"""Calibration procedures by name."""

from __future__ import annotations

from datetime import datetime, timezone
from importlib.metadata import entry_points

from calibration import antennas, compression, delay, gain_table, noise, oscillator, receive_iq, transmit_iq
from calibration.base import Procedure
from calibration.bench import Conditions, Station
from calibration.record import Record, utc
from testbed.errors import RadioError

ENTRY_POINTS = "semtb.calibrations"  # a distribution adds a Procedure by an entry point of this group
PROCEDURES: dict[str, Procedure] = {
    module.PROCEDURE.name: module.PROCEDURE
    for module in (oscillator, receive_iq, transmit_iq, gain_table, noise, compression, delay, antennas)
}


def procedures() -> dict[str, Procedure]:
    """All that are known here, in the order in which `semtb calibrate all` does them."""
    added = [point.load() for point in entry_points(group=ENTRY_POINTS)]
    return PROCEDURES | {procedure.name: procedure for procedure in added}


def find_procedure(name: str) -> Procedure:
    """The procedure of that name.

    Raises
    ------
    RadioError
        If there is none; names those that there are.
    """
    known = procedures()
    if name not in known:
        raise RadioError(f"calibration procedure {name!r}: unknown. Known here: {', '.join(known)}, or all")
    return known[name]


def obstacle(procedure: Procedure, station: Station) -> str:
    """Why a procedure cannot be done at a station.

    Parameters
    ----------
    procedure : Procedure
    station : Station

    Returns
    -------
    str
        Empty if it can.
    """
    if procedure.rx_channels > station.antennas:
        return f"{procedure.name}: needs {procedure.rx_channels} antennas: give --antennas {procedure.rx_channels}"
    return procedure.needs_outside(station)


def calibrate(procedure: Procedure, station: Station, now: datetime | None = None) -> Record:
    """Do one procedure.

    Parameters
    ----------
    procedure : Procedure
    station : Station
    now : datetime, optional
        For the record; else that of this machine.

    Returns
    -------
    Record

    Raises
    ------
    RadioError
        If it cannot be done there, or the radio does not say who it is, or as the procedure and the radios have it.
    """
    if reason := obstacle(procedure, station):
        raise RadioError(reason)
    findings = procedure.measure(station)
    identity, conditions = station.identity, station.conditions
    if identity is None or not identity.serial:
        raise RadioError(f"{station.uri}: it has no serial number: its records could not be told from another radio's")
    return Record(
        procedure=procedure.name,
        serial=identity.serial,
        model=identity.model,
        date=utc(now or datetime.now(timezone.utc)),
        conditions=conditions or Conditions(station.rate_hz),
        quantities=findings.quantities,
        absolute=findings.absolute,
        reference=findings.reference,
        notes=findings.notes,
        plots=findings.plots,
    )
