"""What a device had before a profile was applied: one file each time, found again by its serial number."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import msgspec

from testbed.config.strict import Strict
from testbed.errors import FirmwareError
from testbed.files import ensure_folder, write_aside
from testbed.firmware.profiles import is_setting

DONE = ".restored"  # suffix of a file that has been taken back


class Backup(Strict, frozen=True):
    """One application of profiles, as it can be taken back."""

    written: str  # UTC
    host: str
    kind: str
    serial: str
    device: str  # in words
    profiles: list[str]
    before: dict[str, str | None]
    after: dict[str, str | None]


def default_folder() -> Path:
    """Where this user's data lie."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "semtb" / "firmware"


def folder_of(root: Path, serial: str, host: str) -> Path:
    """The device's folder; a name that comes from the device becomes no path."""
    return root / (re.sub(r"[^A-Za-z0-9_-]", "_", serial or host)[:80] or "device")


def save(root: Path, backup: Backup) -> Path:
    """Write it, on the disk before anything is changed on the device.

    Raises
    ------
    DataError
        If the file system does not take it.
    """
    folder = ensure_folder(folder_of(root, backup.serial, backup.host))
    now_ns = time.time_ns()
    name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now_ns // 10**9))}.{now_ns % 10**9:09d}Z.json"
    return write_aside(folder / name, msgspec.json.format(msgspec.json.encode(backup), indent=2) + b"\n")


def read(path: Path) -> Backup:
    """One file.

    Raises
    ------
    FirmwareError
        If it is missing or none of these.
    """
    try:
        backup = msgspec.json.decode(path.read_bytes(), type=Backup)
    except OSError as error:
        raise FirmwareError(f"{path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise FirmwareError(f"{path}: no backup of `semtb firmware apply`: {error}") from error
    for name, value in backup.before.items():
        if not is_setting(name, value):
            raise FirmwareError(f"{path}: {name} = {str(value)[:40]!r}: no setting that `semtb firmware` changes")
    return backup


def newest(root: Path, serial: str, host: str) -> Path:
    """The last that has not been taken back.

    Raises
    ------
    FirmwareError
        If there is none.
    """
    folder = folder_of(root, serial, host)
    found = sorted(folder.glob("*.json"))  # by time
    if not found:
        raise FirmwareError(f"{host}: nothing to take back: no backup in {folder}; --backup FILE names one elsewhere")
    return found[-1]


def taken_back(path: Path) -> None:
    """The next `restore` goes one step further."""
    path.replace(path.with_name(path.name + DONE))
