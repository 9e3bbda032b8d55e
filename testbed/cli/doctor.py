"""`semtb doctor`: what this machine can do, and what to install for what it cannot. It changes nothing."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from testbed.cli import caches, probes
from testbed.experiments.tables import print_table
from testbed.record.provenance import machine

TRAIN, PLUTO = "pip install 'semcom-testbed[train]'", "pip install 'semcom-testbed[pluto]'"
LIBIIO = "sudo apt-get install libiio0 libiio-utils"
FOR_TRAINING = {"torch": "torch", "dp-accounting": "dp_accounting"}
DATA_SETS = ("cifar10", "kodak", "mnist")


class Finding(msgspec.Struct, frozen=True):
    """One part: what for, what was found, and the command that installs it where it is missing."""

    part: str
    purpose: str
    found: str  # empty: missing
    install: str = ""


def examine() -> list[Finding]:
    """Everything that the testbed can use, in the order: always needed, training, hardware, boards, optional."""
    return [
        Finding("Python", "everything", platform.python_version()),
        Finding("processor", "everything", machine()),
        package("numpy", "arrays", "pip install semcom-testbed"),
        package("numba", "detector and channel kernels", "pip install semcom-testbed"),
        onnx_runtime(),
        kernel_cache(),
        *(package(name, "training, federation", TRAIN, module) for name, module in FOR_TRAINING.items()),
        libiio(),
        iio_binding(),
        package("pyadi-iio", "Pluto radios", PLUTO, "adi"),
        Finding("ssh", "semtb deploy, --remote", shutil.which("ssh") or "", "sudo apt-get install openssh-client"),
        systemd(),
        *data_sets(),
        *for_tests(),
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


def libiio() -> Finding:
    """The C library that talks to Plutos."""
    found, why = probes.libiio()
    return Finding("libiio", "Pluto radios", found, f"{LIBIIO}  ({why})" if why else LIBIIO)


def iio_binding() -> Finding:
    """libiio's Python binding, which a wheel brings without the C library, and which is of no use without it."""
    finding = package("pylibiio", "Pluto radios", PLUTO, "iio")
    if not finding.found or not (why := probes.iio_binding()):
        return finding
    install = f"{LIBIIO}  (version {finding.found} is installed, and `import iio` says {why})"
    return Finding(finding.part, finding.purpose, "", install)


def for_tests() -> list[Finding]:
    """What only tests talk to."""
    version, python = probes.gnu_radio()
    browser = probes.browser()
    packages = {
        "GNU Radio": (f"{version} in {python}" if version else "", "--no-install-recommends gnuradio"),
        "Chromium and driver": (browser[0] if all(browser) else "", "chromium chromium-driver"),
        "sshd": (probes.ssh_server(), "openssh-server"),
    }
    return [
        Finding(part, "tests", found, f"sudo apt-get install {package}  (or: make deps-system)")
        for part, (found, package) in packages.items()
    ]


def systemd() -> Finding:
    """Without it nothing fails: an edge is then a process that its board does not start again."""
    found = shutil.which("systemctl") or ""
    return Finding("systemd", "an edge that outlives a reboot", found, "sudo apt-get install systemd  (on boards)")


def kernel_cache() -> Finding:
    """Where compiled kernels outlive a command."""
    install = f"export {caches.KERNELS}=DIR  (neither {caches.TOP} nor {caches.user_cache()} can be written)"
    return Finding("kernel cache", "commands that start at once", caches.kernel_cache(), install)


def onnx_runtime() -> Finding:
    """ONNX Runtime with the processors it can use."""
    purpose, install = "encoders and decoders", "pip install onnxruntime"
    try:
        runtime = importlib.import_module("onnxruntime")
        providers = ", ".join(p.removesuffix("ExecutionProvider") for p in runtime.get_available_providers())
    except Exception as error:  # a broken native library raises what it likes
        return Finding("ONNX Runtime", purpose, "", f"{install}  ({error})")
    return Finding("ONNX Runtime", purpose, f"{runtime.__version__}; providers: {providers}", install)


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
    for column in ("part", "needed for"):
        table.add_column(column)
    table.add_column("found", overflow="fold")
    for finding in findings:
        table.add_row(finding.part, finding.purpose, finding.found or Text("missing", style="yellow"))
    print_table(console, table)
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
    can += ["semtb train", "semtb federate"] if there.issuperset(FOR_TRAINING) else []
    can += ["Plutos"] if {"libiio", "pylibiio", "pyadi-iio"} <= there else []
    can += ["semtb deploy"] if "ssh" in there else []
    return f"ready for: {', '.join(can) or 'nothing yet'} ({sys.executable})"


def doctor(console: Console | None = None, look: Callable[[], list[Finding]] = examine) -> None:
    """Examine and show."""
    show(look(), console or Console(markup=False))
