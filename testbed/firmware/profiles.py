"""Profiles: the settings that make a Pluto or a board what a scenario expects, as data, checked before it is used."""

from __future__ import annotations

import ipaddress
import re
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec

from testbed.config.load import read_toml
from testbed.config.strict import Strict, check
from testbed.errors import FirmwareError, ScenarioError
from testbed.firmware.data import data_folder

KINDS = {"pluto": "a Pluto", "linux": "a Linux machine"}
ADDRESSES = ("ipaddr", "ipaddr_host", "netmask")
# What each variable of a Pluto's boot environment may hold; empty takes the variable out. Another value can leave a
# Pluto without USB, or its boot script puts it back: plutosdr-fw's adi_loadvals_pluto, S40network and S23udc.
VARIABLES = {
    "attr_name": r"(compatible)?",
    "attr_val": r"(ad9361|ad9363a|ad9364)?",
    "compatible": r"(ad9361|ad9363a|ad9364)?",
    "mode": r"1r1t|2r2t",
    "maxcpus": r"[12]?",
    "hostname": r"[a-z][a-z0-9-]{0,31}",
    "ipaddr": r"[0-9.]+",
    "ipaddr_host": r"[0-9.]+",
    "netmask": r"[0-9.]+",
    "udc_handle_suspend": r"[01]",
    "usb_ethernet_mode": r"rndis|ncm|ecm",
}
# Where files may be written; what is not among them is none of a radio's business.
FOLDERS = ("/etc/udev/rules.d", "/etc/tmpfiles.d", "/etc/systemd/system")
SERVICE = r"[a-z0-9@-]{1,60}\.service"
PATH = rf"({'|'.join(FOLDERS)})/[a-z0-9-]{{1,60}}\.(rules|conf|service)"

State = dict[str, "str | None"]  # settings by name, as `environment.mode` or `file./etc/…`; None: not there


class Profile(Strict, frozen=True, dict=True):
    """One file of `firmware_configs/`, or several together."""

    kind: Literal["pluto", "linux"]
    purpose: str
    environment: dict[str, str] = msgspec.field(default_factory=dict)  # of u-boot, on a Pluto
    power_modes: list[str] = msgspec.field(default_factory=list)  # of a Jetson: the first that the board has
    files: dict[str, str] = msgspec.field(default_factory=dict)  # path there: path below firmware_configs
    services: dict[str, bool] = msgspec.field(default_factory=dict)  # of systemd: whether it is enabled and runs

    def __post_init__(self) -> None:
        for name, value in self.environment.items():
            check(name in VARIABLES, "environment", name, ", ".join(VARIABLES))
            check(bool(re.fullmatch(VARIABLES[name], value)), f"environment.{name}", value, VARIABLES[name])
        if any(name in self.environment for name in ADDRESSES):
            self._check_addresses()
        two = self.environment.get("mode") == "2r2t"
        check(
            not two or self.environment.get("attr_val") != "ad9364", "environment.mode", "2r2t", "1r1t with an AD9364"
        )
        for path in self.files:
            check(bool(re.fullmatch(PATH, path)), "files", path, f"a name in {', '.join(FOLDERS)}")
        for service in self.services:
            check(bool(re.fullmatch(SERVICE, service)), "services", service, SERVICE)
        for mode in self.power_modes:
            check(bool(re.fullmatch(r"\w{1,32}", mode)), "power_modes", mode, "a name of nvpmodel.conf")
        foreign = self.environment if self.kind == "linux" else (self.files or self.services or self.power_modes)
        check(not foreign, "kind", self.kind, "environment on pluto; power_modes, files and services on linux")

    def _check_addresses(self) -> None:
        """A Pluto and its host are two addresses of one network."""
        values = {name: self.environment.get(name, "") for name in ADDRESSES}
        try:
            own, host = (ipaddress.IPv4Interface(f"{values[n]}/{values['netmask']}") for n in ADDRESSES[:2])
        except ValueError as error:
            raise ScenarioError(f"environment: ipaddr, ipaddr_host and netmask belong together: {error}") from None
        same = own.network == host.network and own.ip != host.ip
        check(same, "environment.ipaddr_host", values["ipaddr_host"], f"another address of {own.network}")

    @cached_property
    def wanted(self) -> State:
        """What a device has once the profile is applied; ``power_mode`` is left to the board, which knows its modes."""
        state: State = {f"environment.{name}": value or None for name, value in self.environment.items()}
        for path, source in self.files.items():
            state[f"file.{path}"] = (data_folder() / source).read_text(encoding="utf-8")
        for service, runs in self.services.items():
            state[f"service.{service}"] = "on" if runs else "off"
        return state


def is_setting(name: str, value: str | None) -> bool:
    """Whether a device may be given this back: a setting that profiles know, with a value that had once been there."""
    kind, _, rest = name.partition(".")
    if kind == "environment":
        return rest in VARIABLES and (value is None or (value.isprintable() and len(value) <= 256))
    if kind == "file":
        return bool(re.fullmatch(PATH, rest))
    if kind == "service":
        return bool(re.fullmatch(SERVICE, rest)) and value in ("on", "off")
    return name == "power_mode" and value is not None and bool(re.fullmatch(r"\w{1,32}", value))


def profile_files() -> dict[str, Path]:
    """Profiles that ship, by name."""
    found = [path for folder in ("pluto", "jetson", "host") for path in sorted((data_folder() / folder).glob("*.toml"))]
    return {path.stem: path for path in found}


def load_profile(path: Path) -> Profile:
    """Read and check one file.

    Raises
    ------
    FirmwareError
        Which key is wrong, and what is allowed; or the file is not there.
    """
    try:
        profile = msgspec.convert(read_toml(path), Profile)
        _ = profile.wanted  # its files are there
    except OSError as error:
        raise FirmwareError(f"{path}: {error.filename or path}: {error.strerror}") from error
    except (ValueError, ScenarioError) as error:
        raise FirmwareError(f"{path}: {error}") from error
    return profile


def open_profiles(names: list[str]) -> Profile:
    """Several profiles as one: a name that ships or the path of a file, each.

    Raises
    ------
    FirmwareError
        If one is not known or wrong, or two of them want different things.
    """
    known = profile_files()
    merged: dict[str, dict[str, object]] = {"environment": {}, "files": {}, "services": {}}
    kinds: dict[str, str] = {}
    modes: list[str] = []
    purposes = []
    for name in names:
        if name not in known and not name.endswith(".toml"):
            raise FirmwareError(f"{name}: no such profile. `semtb firmware list` names: {', '.join(known)}")
        profile = load_profile(known.get(name, Path(name)))
        kinds[profile.kind] = name
        purposes.append(profile.purpose)
        if modes and profile.power_modes and profile.power_modes != modes:
            raise FirmwareError(f"{name}: wants another power mode than a profile before it: name one of the two")
        modes = modes or profile.power_modes
        for section, values in merged.items():
            for key, value in getattr(profile, section).items():
                if values.setdefault(key, value) != value:
                    raise FirmwareError(
                        f"{name}: {section}.{key} = {value!r}, and a profile before it has {values[key]!r}"
                    )
    if len(kinds) > 1:
        raise FirmwareError(f"{' and '.join(kinds.values())}: profiles for {' and '.join(KINDS[k] for k in kinds)}")
    tree = {"kind": next(iter(kinds)), "purpose": "; ".join(purposes), "power_modes": modes, **merged}
    try:
        return msgspec.convert(tree, Profile)
    except (ValueError, ScenarioError) as error:
        raise FirmwareError(f"{', '.join(names)} together: {error}") from error
