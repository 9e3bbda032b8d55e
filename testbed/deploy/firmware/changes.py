"""A profile and a device: what differs, how it is changed and read back, and how it becomes what it was."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from testbed.deploy.firmware import backups, linux, pluto
from testbed.deploy.firmware.backups import Backup
from testbed.deploy.firmware.shell import Shell
from testbed.errors import FirmwareError
from testbed.firmware.profiles import KINDS, Profile, State

ASK = f"""
if command -v fw_printenv > /dev/null && ! command -v systemctl > /dev/null; then
    echo pluto
    {pluto.READ}
else
    echo linux
    {linux.READ}
fi
"""


class Device(Protocol):
    """What can be asked of a machine, and done to it."""

    kind: str
    shell: Shell

    @property
    def serial(self) -> str: ...

    @property
    def described(self) -> str: ...

    def known(self) -> list[str]: ...

    def state(self, names: list[str]) -> State: ...

    def resolve(self, modes: list[str]) -> State: ...

    def write(self, changes: State) -> None: ...

    def reboot(self) -> None: ...

    def warnings(self, wanted: State) -> list[str]: ...

    def effects(self, wanted: State) -> list[str]: ...


def connect(shell: Shell) -> Device:
    """Ask a machine what it is.

    Raises
    ------
    FirmwareError
        If it cannot be reached, or a Pluto has no environment that could be changed.
    """
    kind, _, printed = shell.run(ASK).partition("\n")
    return pluto.Pluto(shell, printed) if kind == "pluto" else linux.Linux(shell, printed)


def wanted_of(device: Device, profile: Profile) -> State:
    """All that the profile wants of this device.

    Raises
    ------
    FirmwareError
        If it is for another kind of device.
    """
    if device.kind != profile.kind:
        raise FirmwareError(f"{device.shell.name} is {KINDS[device.kind]}; the profile is for {KINDS[profile.kind]}")
    return {**device.resolve(profile.power_modes), **profile.wanted}


def differences(device: Device, wanted: State) -> State:
    """The settings that would change, as they are now."""
    return {name: value for name, value in device.state(list(wanted)).items() if value != wanted[name]}


def apply(device: Device, wanted: State, profiles: list[str], folder: Path) -> Path | None:
    """Keep what the device has, change it, and read it back.

    Returns
    -------
    Path or None
        The backup; None where nothing had to be changed.

    Raises
    ------
    FirmwareError
        If the device does not take it; says whether it is as it was.
    """
    before = differences(device, wanted)
    if not before:
        return None
    after = {name: wanted[name] for name in before}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    host = device.shell.target.host
    kept = Backup(
        written=now,
        host=host,
        kind=device.kind,
        serial=device.serial,
        device=device.described,
        profiles=profiles,
        before=before,
        after=after,
    )
    path = backups.save(folder, kept)
    write_and_read_back(device, before, after, f"what it had is in {path}")
    return path


def write_and_read_back(device: Device, before: State, after: State, kept: str) -> None:
    """Change ``before`` into ``after``; where that fails half way, change it back.

    Raises
    ------
    FirmwareError
        If it fails, or other values are read than were written.
    """
    try:
        device.write(after)
    except FirmwareError as error:
        raise FirmwareError(f"{error}; {undo(device.shell, before)}; {kept}") from error
    fresh = connect(device.shell)
    wrong = differences(fresh, after)
    if wrong:
        read = ", ".join(f"{name} = {shown(name, value)}" for name, value in wrong.items())
        raise FirmwareError(f"{device.shell.name}: written, but read back: {read}; {kept}")


def undo(shell: Shell, before: State) -> str:
    """Put back what a failed change has left, and say whether that worked."""
    try:
        device = connect(shell)
        changed = differences(device, before)
        if changed:
            device.write({name: before[name] for name in changed})
        left = differences(connect(shell), before)
    except FirmwareError as error:
        return f"whether it is as it was is not known ({error})"
    return f"it still has other values of {', '.join(left)}" if left else "it is as it was"


def restore(device: Device, path: Path) -> State:
    """Give the device back what a backup holds, and mark the backup as taken back.

    Returns
    -------
    State
        The settings that were changed, as they are now.

    Raises
    ------
    FirmwareError
        If the backup is another device's, or the device does not take it.
    """
    backup = backups.read(path)
    check_owner(device, backup, path)
    now = differences(device, backup.before)
    after = {name: backup.before[name] for name in now}
    if now:
        write_and_read_back(device, now, after, f"what it is to have is in {path}")
    backups.taken_back(path)
    return after


def check_owner(device: Device, backup: Backup, path: Path) -> None:
    """Raise FirmwareError if a backup is another device's."""
    if (backup.kind, backup.serial) != (device.kind, device.serial):
        raise FirmwareError(
            f"{path}: of {backup.device} {backup.serial}, and {device.shell.name} is {device.described} {device.serial}"
        )


def shown(name: str, value: str | None) -> str:
    """A value in one line: of a file only its length."""
    if value is None:
        return "(none)"
    return f"{len(value.splitlines())} lines" if name.startswith("file.") else value
