"""Wheels for a board that has no network: those of its machine and its Python, fetched here. Installs nothing."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from testbed.errors import BoardError

OLDEST_GLIBC = 17  # manylinux2014
ROUNDS = 5  # markers of what was fetched may ask for more, which may ask for more


def platforms(machine: str, glibc: str) -> list[str]:
    """Platform tags that a board with this machine and glibc takes, the newest first."""
    minor = int(glibc.partition(".")[2] or OLDEST_GLIBC) if glibc.startswith("2.") else OLDEST_GLIBC
    newest_first = range(max(minor, OLDEST_GLIBC), OLDEST_GLIBC - 1, -1)
    return [f"manylinux_2_{i}_{machine}" for i in newest_first] + [f"manylinux2014_{machine}", f"linux_{machine}"]


def download_command(folder: Path, python: str, machine: str, glibc: str, requirements: Sequence[str]) -> list[str]:
    """pip's command that fetches wheels for CPython ``python`` (as 3.10) on another machine."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", str(folder)]
    command += [
        "--find-links",
        str(folder),
        "--only-binary=:all:",
        "--implementation",
        "cp",
        "--python-version",
        python,
    ]
    for platform in platforms(machine, glibc):
        command += ["--platform", platform]
    return [*command, *requirements]


def applying(requirements: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """Requirements whose markers hold in ``environment``, their markers taken off.

    pip evaluates markers for the interpreter that runs it, whatever machine it downloads for.
    """
    from packaging.requirements import Requirement

    markers = {"extra": "", **environment}
    parsed = [Requirement(text) for text in requirements]
    held = [r for r in parsed if r.marker is None or r.marker.evaluate(markers)]
    return [f"{r.name}{'[' + ','.join(sorted(r.extras)) + ']' if r.extras else ''}{r.specifier}" for r in held]


def fill(folder: Path, requirements: Sequence[str], environment: Mapping[str, str], glibc: str) -> list[Path]:
    """Fetch wheels that satisfy ``requirements`` in the board's ``environment`` (PEP 508), and all that these need.

    Raises
    ------
    BoardError
        If there is no wheel of something.
    """
    from packaging.utils import canonicalize_name

    folder.mkdir(parents=True, exist_ok=True)
    wanted = applying(requirements, environment)
    for _ in range(ROUNDS):
        version = environment["python_version"]
        command = download_command(folder, version, environment["platform_machine"], glibc, wanted)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            words = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip download failed"]
            raise BoardError(
                f"--wheelhouse {folder}: {words[-1].removeprefix('ERROR: ').rstrip('.')}. Wheels are wanted for Python "
                f"{version} on {environment['platform_machine']}, glibc {glibc or 'unknown'}"
            )
        wheels = sorted(folder.glob("*.whl"))
        there = {canonicalize_name(wheel.name.split("-")[0]) for wheel in wheels}
        asked = [need for wheel in wheels for need in applying(needs(wheel), environment)]
        missing = [need for need in asked if canonicalize_name(re.split(r"[\[<>=!~ ;]", need)[0]) not in there]
        if not missing:
            return wheels
        wanted = [*wanted, *sorted(set(missing))]
    raise BoardError(f"--wheelhouse {folder}: {', '.join(missing)} are still missing; fetch them by hand")


def needs(wheel: Path) -> list[str]:
    """What a wheel requires, as its metadata has it."""
    with zipfile.ZipFile(wheel) as files:
        name = next(n for n in files.namelist() if n.endswith(".dist-info/METADATA"))
        head = files.read(name).decode(errors="replace").partition("\n\n")[0]
    return [line.partition(":")[2].strip() for line in head.splitlines() if line.startswith("Requires-Dist:")]
