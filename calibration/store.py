"""Records on disk, one file each, found again by the nearest valid conditions.

::

    ~/.local/share/semtb/calibration/      or $SEMTB_CALIBRATION
      104473dc599300131200210082672a4170/  serial number
        receive-iq-20261125T101500Z.json
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from calibration.base import Procedure
from calibration.record import Conditions, Record
from testbed.errors import DataError
from testbed.files import write_aside

FOLDER = "SEMTB_CALIBRATION"
WARN_FROM = 0.5  # of what is allowed


def store_folder() -> Path:
    """Where records lie: $SEMTB_CALIBRATION, else in the user's data folder."""
    if named := os.environ.get(FOLDER, ""):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME", "") or str(Path.home() / ".local" / "share")
    return Path(data) / "semtb" / "calibration"


def folder_of(serial: str, folder: Path) -> Path:
    """Where the records of one radio lie.

    Parameters
    ----------
    serial : str
        What a file's name may not hold of it becomes an underscore.
    folder : Path

    Returns
    -------
    Path
    """
    return folder / (re.sub(r"[^A-Za-z0-9._-]", "_", serial).strip(".") or "_")


def save(record: Record, folder: Path) -> Path:
    """Write a record, whole or not at all; where one of that name lies, it is replaced.

    Parameters
    ----------
    record : Record
    folder : Path
        The store.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    content = msgspec.json.format(msgspec.json.encode(record, enc_hook=_scalar), indent=2) + b"\n"
    return write_aside(folder_of(record.serial, folder) / f"{record.name}.json", content)


def read(path: Path) -> Record:
    """Read one record.

    Raises
    ------
    DataError
        If it is missing or not a record; says where.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise DataError(f"{path}: not a calibration record ({error}): calibrate anew, or delete it") from error


def records_of(serial: str, folder: Path) -> list[Record]:
    """All of one radio, the newest first; those of another radio that lie there are not among them.

    Parameters
    ----------
    serial : str
    folder : Path
        The store.

    Returns
    -------
    list of Record

    Raises
    ------
    DataError
        As `read` has it.
    """
    if not serial:
        return []
    found = [read(path) for path in sorted(folder_of(serial, folder).glob("*.json"))]
    return sorted((r for r in found if r.serial == serial), key=lambda record: record.taken, reverse=True)


@dataclass(frozen=True)
class Found:
    """A record that fits, and what speaks against it nevertheless."""

    record: Record
    warnings: list[str]


def differences(record: Record, procedure: Procedure, conditions: Conditions, now: datetime) -> dict[str, tuple]:
    """How far conditions are from those of a record, in all that matters and is known of both.

    Parameters
    ----------
    record : Record
    procedure : Procedure
    conditions : Conditions
    now : datetime

    Returns
    -------
    {str: (difference, allowed, unit)}
    """
    validity, then = procedure.validity, record.conditions
    compared = {"age": (record.age(now).total_seconds() / 86_400, validity.days, "days")}
    for name, allowed, unit in (
        ("lo_hz", validity.lo_hz, "Hz"),
        ("temperature_c", validity.temperature_c, "°C"),
        *((f"{side}_gain_db", validity.gain_db, "dB") for side in validity.gains),
        ("sample_rate_hz", 0.5 if validity.same_rate else None, "S/s"),
    ):
        a, b = getattr(then, name), getattr(conditions, name)
        if allowed is not None and a is not None and b is not None:
            compared[name] = (abs(a - b), allowed, unit)
    return compared


def find(
    records: Sequence[Record], procedure: Procedure, conditions: Conditions, now: datetime
) -> tuple[Found | None, str]:
    """The record of a procedure whose conditions are nearest.

    The distance is the sum of the squares of all differences, each over what is allowed of it.

    Parameters
    ----------
    records : sequence of Record
        Of one radio.
    procedure : Procedure
    conditions : Conditions
        In force.
    now : datetime

    Returns
    -------
    found : Found or None
    reason : str
        Why there is none, although there are records; else empty.
    """
    nearest: tuple[float, Found] | None = None
    reason = ""
    for record in records:
        if record.procedure != procedure.name:
            continue
        compared = differences(record, procedure, conditions, now)
        beyond = [_said(name, *values) for name, values in compared.items() if values[0] > values[1]]
        if beyond:
            reason = reason or f"{record.name} is not valid here: {', '.join(beyond)}: calibrate anew"
            continue
        distance = sum((difference / allowed) ** 2 for difference, allowed, _ in compared.values())
        near = [_said(n, *v) for n, v in compared.items() if n != "sample_rate_hz" and v[0] > WARN_FROM * v[1]]
        warnings = [f"{record.name} hardly fits: {', '.join(near)}"] if near else []
        if nearest is None or distance < nearest[0]:
            nearest = distance, Found(record, warnings)
    return (nearest[1], "") if nearest is not None else (None, reason)


def _scalar(value: Any) -> Any:
    """NumPy's scalars as Python's."""
    return value.item()


def _said(name: str, difference: float, allowed: float, unit: str) -> str:
    what = {"lo_hz": "LO", "temperature_c": "temperature", "sample_rate_hz": "rate"}.get(name, name.replace("_db", ""))
    return (
        f"{what.replace('_', ' ')} {difference:.3g} {unit} off ({allowed:.3g} allowed)"
        if what != "age"
        else (f"{difference:.0f} days old ({allowed:.0f} allowed)")
    )
