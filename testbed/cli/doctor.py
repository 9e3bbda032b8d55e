"""`semtb doctor`: what this machine can do, and what to install for what it cannot. It changes nothing."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from ctypes.util import find_library
from importlib import metadata
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from testbed.record.provenance import machine

SYSTEM_PYTHON = "/usr/bin/python3"  # GNU Radio lives there and never in this environment
ASK_S = 20.0  # for another program to tell its version; the first import of GNU Radio is slow
DATA_SETS = ("cifar10", "kodak", "mnist")


class Finding(msgspec.Struct, frozen=True):
    """One part: what for, what was found, and the command that installs it where it is missing."""

    part: str
    purpose: str
    found: str  # empty: missing
    install: str = ""


def examine() -> list[Finding]:
    """Everything that the testbed can use, in the order: always needed, hardware, optional."""
    return [
        Finding("Python", "everything", platform.python_version()),
        Finding("processor", "everything", machine()),
        package("numpy", "arrays", "pip install semcom-testbed"),
        package("numba", "detector and channel kernels", "pip install semcom-testbed"),
        onnx_runtime(),
        package("torch", "training codecs", "pip install 'semcom-testbed[train]'"),
        Finding("libiio", "Pluto radios", libiio(), "sudo apt-get install libiio0 libiio-utils"),
        package("pylibiio", "Pluto radios", "pip install 'semcom-testbed[pluto]'", module="iio"),
        package("pyadi-iio", "Pluto radios", "pip install 'semcom-testbed[pluto]'", module="adi"),
        Finding(
            "GNU Radio",
            "interop tests",
            gnu_radio(),
            "sudo apt-get install --no-install-recommends gnuradio  (or: make deps-system)",
        ),
        *data_sets(),
    ]


def package(name: str, purpose: str, install: str, module: str = "") -> Finding:
    """A distribution of this environment; said to be broken if it is installed and its module is not found."""
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, purpose, "", install)
    if importlib.util.find_spec(module or name) is None:
        return Finding(name, purpose, "", f"{install}  (installed, but `import {module or name}` finds nothing)")
    return Finding(name, purpose, found, install)


def onnx_runtime() -> Finding:
    """ONNX Runtime with the processors it can use."""
    purpose, install = "encoders and decoders", "pip install onnxruntime"
    try:
        runtime = importlib.import_module("onnxruntime")
        providers = ", ".join(p.removesuffix("ExecutionProvider") for p in runtime.get_available_providers())
    except Exception as error:  # a broken native library raises what it likes
        return Finding("ONNX Runtime", purpose, "", f"{install}  ({error})")
    return Finding("ONNX Runtime", purpose, f"{runtime.__version__}; providers: {providers}", install)


def libiio() -> str:
    """The C library that talks to Plutos, with the version of its tools where they are installed."""
    library = find_library("iio")
    if library is None:
        return ""
    tool = shutil.which("iio_info")
    version = ask([tool, "--version"]) if tool else ""
    return f"{library}{'; ' + version.splitlines()[0] if version else ''}"


def gnu_radio(python: str = SYSTEM_PYTHON) -> str:
    """Its version, as the system's Python tells it; empty if it is not there."""
    return ask([python, "-c", "from gnuradio import gr; print(gr.version())"])


def ask(command: list[str], limit_s: float = ASK_S) -> str:
    """What a program prints; empty if it is missing, fails or takes too long."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=True, env=clean)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def data_sets() -> list[Finding]:
    """Data sets below SEMTB_DATA."""
    place = os.environ.get("SEMTB_DATA", "")
    if not place or not Path(place).is_dir():
        where = f"SEMTB_DATA = {place}: no such folder" if place else "SEMTB_DATA is not set"
        install = f"export SEMTB_DATA=DIR, with {', '.join(DATA_SETS)} in it  ({where})"
        return [Finding("data sets", "training and evaluation", "", install)]
    found = [name for name in DATA_SETS if (Path(place) / name).is_dir() and any((Path(place) / name).iterdir())]
    missing = [name for name in DATA_SETS if name not in found]
    findings = [Finding("data sets", "training and evaluation", f"{', '.join(found)} in {place}")] if found else []
    if missing:
        install = f"put the original files into {place}/{{{','.join(missing)}}}"
        findings.append(Finding("data sets", f"evaluation on {', '.join(missing)}", "", install))
    return findings


def show(findings: list[Finding], console: Console) -> None:
    """A table of what is there, then a line for each missing part."""
    table = Table(title="what this machine can do", title_justify="left")
    for column in ("part", "needed for", "found"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        table.add_row(finding.part, finding.purpose, finding.found or Text("missing", style="yellow"))
    console.print(table)
    missing = [finding for finding in findings if not finding.found]
    for finding in missing:
        console.print(
            f"{finding.part} ({finding.purpose}): {finding.install}", soft_wrap=True, markup=False, highlight=False
        )
    if not missing:
        console.print("nothing is missing")
    console.print(verdict(findings), soft_wrap=True, highlight=False)


def verdict(findings: list[Finding]) -> str:
    """Which ways in are open, in one line."""
    there = {finding.part for finding in findings if finding.found}
    can = ["semtb run two-users"] if {"numba", "ONNX Runtime"} <= there else []
    can += ["semtb train"] if "torch" in there else []
    can += ["Plutos"] if {"libiio", "pyadi-iio"} <= there else []
    return f"ready for: {', '.join(can) or 'nothing yet'} ({sys.executable})"


def doctor(console: Console | None = None, look: Callable[[], list[Finding]] = examine) -> None:
    """Examine and show."""
    show(look(), console or Console(markup=False))
