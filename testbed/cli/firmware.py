"""The command group `semtb firmware`: what each option means, what is shown and asked."""

from __future__ import annotations

import difflib
import getpass
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from rich.table import Table

from testbed.cli.options import number

HELP = """Compare a Pluto or a Linux board with profiles, apply them, read them back, and take them back, over SSH.

HOST is a Pluto's address (192.168.2.1 or ip:192.168.2.1, user root), user@board[:port], or local: (this machine).
PROFILE is a name of `semtb firmware list` or a TOML file; several are applied together.
"""
EPILOG = (
    "Examples:  semtb firmware diff 192.168.2.1 2r2t --stock  |  semtb firmware apply 192.168.2.1 2r2t unit-3 --stock  "
    "|  semtb firmware verify 192.168.4.1 2r2t unit-3 --stock  |  semtb firmware restore 192.168.4.1 --stock  |  "
    "semtb firmware apply user@jetson jetson-max"
)

firmware_app = typer.Typer(no_args_is_help=True, help=HELP, epilog=EPILOG)

# typer reads these at runtime, and Python 3.10's typer wants Optional for options that may be left out.
Host = Annotated[str, typer.Argument(metavar="HOST", help="A Pluto's address, user@board[:port], or local:")]
Profiles = Annotated[list[str], typer.Argument(metavar="PROFILE...", help="Names of `semtb firmware list`, or files.")]
Stock = Annotated[
    bool,
    typer.Option(
        "--stock", help="A Pluto as it is sold: its password is the maker's, and its host key a new one at each boot."
    ),
]
AskPassword = Annotated[bool, typer.Option("--ask-password", help="Ask for the password, where no key is installed.")]
Identity = Annotated[str, typer.Option("--identity", metavar="FILE", help="The private key, as ssh -i takes it.")]
Port = Annotated[Optional[int], number(int, 1, 65_535, "--port", help="Of the SSH server there.")]  # noqa: UP045
SshOptions = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--ssh-option", metavar="KEY=VALUE", help="As ssh -o takes it; may be repeated."),
]
Backups = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--backups", metavar="DIR", help="Where old values are kept; else ~/.local/share/semtb/firmware."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
Reboot = Annotated[bool, typer.Option("--reboot", help="Reboot it afterwards: a Pluto reads its settings at boot.")]


def open_shell(
    host: str, stock: bool, ask_password: bool, identity: str, port: int | None, ssh_options: list[str] | None
) -> Any:
    """The shell that these options lead to."""
    from testbed.deploy.firmware.shell import ANY_KEY, STOCK_PASSWORD, Shell, parse_host
    from testbed.deploy.ssh import Target

    name, of_host = parse_host(host)
    password = STOCK_PASSWORD if stock else getpass.getpass(f"password for {name}: ") if ask_password else ""
    options = (*(ssh_options or ()), *(ANY_KEY if stock else ()))
    options = (*options, "NumberOfPasswordPrompts=1", *(() if stock else ("StrictHostKeyChecking=yes",)))
    return Shell(Target(name, port or of_host, identity, options, asks=bool(password)), password)


@firmware_app.command("list")
def list_profiles() -> None:
    """List the profiles and FIR filters that come with the package."""
    from testbed.experiments.tables import print_table
    from testbed.firmware.fir import shipped_filters
    from testbed.firmware.profiles import load_profile, profile_files

    table = Table("profile", "for", "what it makes of it")
    for name, path in profile_files().items():
        profile = load_profile(path)
        table.add_row(name, profile.kind, profile.purpose)
    print_table(Console(markup=False), table)
    filters = Table("FIR filter", "for")
    filters.add_column("file", overflow="fold")
    for one in shipped_filters().values():
        filters.add_row(one.name, one.purpose, str(one.file))
    print_table(Console(markup=False), filters)


@firmware_app.command()
def show(
    host: Host,
    stock: Stock = False,
    ask_password: AskPassword = False,
    identity: Identity = "",
    port: Port = None,
    ssh_options: SshOptions = None,
) -> None:
    """Tell what a device is, and the settings that profiles know as it has them. Changes nothing."""
    from testbed.deploy.firmware.changes import connect

    device = connect(open_shell(host, stock, ask_password, identity, port, ssh_options))
    typer.echo(printable(f"{device.shell.name}: {device.described}, serial {device.serial or '(none)'}"))
    print_states(device.state(device.known()), None)


@firmware_app.command()
def diff(
    host: Host,
    profiles: Profiles,
    stock: Stock = False,
    ask_password: AskPassword = False,
    identity: Identity = "",
    port: Port = None,
    ssh_options: SshOptions = None,
) -> None:
    """Tell what `apply` would change. Changes nothing; status 1 if something would."""
    from testbed.deploy.firmware.changes import connect, differences, wanted_of
    from testbed.firmware.profiles import open_profiles

    profile = open_profiles(profiles)
    device = connect(open_shell(host, stock, ask_password, identity, port, ssh_options))
    wanted = wanted_of(device, profile)
    if tell_changes(device, differences(device, wanted), wanted):
        raise typer.Exit(1)


@firmware_app.command(epilog=EPILOG)
def apply(
    host: Host,
    profiles: Profiles,
    yes: Yes = False,
    reboot: Reboot = False,
    backup_folder: Backups = None,
    stock: Stock = False,
    ask_password: AskPassword = False,
    identity: Identity = "",
    port: Port = None,
    ssh_options: SshOptions = None,
) -> None:
    """Say what will change, ask, keep the old values, change them, and read them back."""
    from testbed.deploy.firmware import backups, changes
    from testbed.firmware.profiles import open_profiles

    profile = open_profiles(profiles)
    device = changes.connect(open_shell(host, stock, ask_password, identity, port, ssh_options))
    wanted = changes.wanted_of(device, profile)
    if not tell_changes(device, changes.differences(device, wanted), wanted):
        tell_effects(device, wanted)
        return
    agree(yes, f"Change this on {device.shell.name}?")
    path = changes.apply(device, wanted, profiles, backup_folder or backups.default_folder())
    typer.echo(f"changed and read back; what it had is in {path}: semtb firmware restore {host}")
    finish(device, wanted, reboot)


@firmware_app.command()
def verify(
    host: Host,
    profiles: Profiles,
    stock: Stock = False,
    ask_password: AskPassword = False,
    identity: Identity = "",
    port: Port = None,
    ssh_options: SshOptions = None,
) -> None:
    """Tell whether a device has what profiles want, and whether that is in force. Changes nothing."""
    from testbed.deploy.firmware.changes import connect, differences, shown, wanted_of
    from testbed.errors import FirmwareError
    from testbed.firmware.profiles import open_profiles

    profile = open_profiles(profiles)
    device = connect(open_shell(host, stock, ask_password, identity, port, ssh_options))
    wanted = wanted_of(device, profile)
    wrong = [
        f"{name} = {shown(name, has)}, wanted {shown(name, wanted[name])}"
        for name, has in differences(device, wanted).items()
    ]
    wrong = wrong or [*device.effects(wanted), *device.warnings(wanted)]
    if wrong:
        raise FirmwareError(f"{device.shell.name}: {'; '.join(wrong)}")
    typer.echo(f"{device.shell.name}: {' '.join(profiles)}: written and in force ({len(wanted)} settings)")


@firmware_app.command()
def restore(
    host: Host,
    backup: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--backup", metavar="FILE", help="Which; else the newest of this device not yet taken back."),
    ] = None,
    yes: Yes = False,
    reboot: Reboot = False,
    backup_folder: Backups = None,
    stock: Stock = False,
    ask_password: AskPassword = False,
    identity: Identity = "",
    port: Port = None,
    ssh_options: SshOptions = None,
) -> None:
    """Give a device back what it had before the last `apply`; once more: before the one before that."""
    from testbed.deploy.firmware import backups, changes

    device = changes.connect(open_shell(host, stock, ask_password, identity, port, ssh_options))
    folder = backup_folder or backups.default_folder()
    path = backup or backups.newest(folder, device.serial, device.shell.target.host)
    kept = backups.read(path)
    changes.check_owner(device, kept, path)
    typer.echo(f"before {' '.join(kept.profiles)} of {kept.written}:")
    if tell_changes(device, changes.differences(device, kept.before), kept.before):
        agree(yes, f"Give this back to {device.shell.name}?")
    changes.restore(device, path)
    typer.echo("given back and read back")
    finish(device, kept.before, reboot)


def printable(text: str) -> str:
    """What a device prints, without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def tell_changes(device: Any, before: dict[str, str | None], wanted: dict[str, str | None]) -> bool:
    """Show what would change, and what would not come of it; whether anything would."""
    for warning in device.warnings(wanted):
        typer.echo(f"note: {printable(warning)}")
    if not before:
        typer.echo(f"{device.shell.name}: nothing to change, {len(wanted)} settings are as wanted")
        return False
    typer.echo(printable(f"{device.shell.name}: {device.described}"))
    print_states(before, wanted)
    for name, has in before.items():
        if name.startswith("file.") and has is not None:
            new = (wanted[name] or "").splitlines()
            lines = difflib.unified_diff(has.splitlines(), new, "there", "wanted", lineterm="", n=1)
            typer.echo(printable("\n".join(lines)))
    return True


def print_states(has: dict[str, str | None], wanted: dict[str, str | None] | None) -> None:
    """A table of settings."""
    from testbed.deploy.firmware.changes import shown
    from testbed.experiments.tables import print_table

    table = Table()
    table.add_column("setting", overflow="fold")
    table.add_column("now", overflow="fold")
    if wanted is not None:
        table.add_column("then", overflow="fold")
    for name, value in has.items():
        then = [] if wanted is None else [shown(name, wanted[name])]
        table.add_row(name, printable(shown(name, value)), *then)
    print_table(Console(markup=False), table)


def agree(yes: bool, question: str) -> None:
    """Ask, unless ``yes``; ends the command where the answer is no."""
    if not yes and not typer.confirm(question):
        typer.echo("nothing was changed")
        raise typer.Exit(1)


def finish(device: Any, wanted: dict[str, str | None], reboot: bool) -> None:
    """Reboot if wanted; else say what waits for it."""
    if reboot:
        device.reboot()
        typer.echo(
            "it reboots; after 20 s `semtb firmware verify` tells what came of it, at its new address if it has one"
        )
    elif device.kind == "pluto":
        typer.echo("in force after a reboot: --reboot, or unplug it and plug it in again")
    else:
        tell_effects(device, wanted)


def tell_effects(device: Any, wanted: dict[str, str | None]) -> None:
    """What is written and not in force."""
    for effect in device.effects(wanted):
        typer.echo(f"note: {printable(effect)}")
