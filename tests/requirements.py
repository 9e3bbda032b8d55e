"""What some tests want and not every machine has: how it is looked for, and what installs it. Nowhere else.

A test says `@pytest.mark.needs("libiio")`, a file that imports torch `pytest.importorskip("torch", reason=TRAINING)`.
On a person's machine it then skips with the command that installs the part; in CI it fails, where the part is not
hidden on purpose.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from testbed.cli import doctor, probes
from tests.hidden.sitecustomize import wanted as hidden

SYSTEM = "make deps-system"
OF_THE_KERNEL = "this machine has no "  # begins a reason that no package mends, as a kernel without IPv6
TRAINING = f"needs training: {doctor.TRAIN}"


def absent_packages(*names: str) -> str:
    return ", ".join(name for name in names if importlib.util.find_spec(name) is None)


def libiio() -> str:
    tools = [tool for tool in ("iio_info", "iio_attr", "iio_readdev") if shutil.which(tool) is None]
    return probes.libiio()[1] or probes.iio_binding() or ", ".join(tools)


def data() -> str:
    root = Path(os.environ.get("SEMTB_DATA") or "/dev/null")
    return "" if all((root / name).is_dir() for name in ("cifar10", "mnist")) else "no folder of data sets"


@dataclass(frozen=True)
class Part:
    """Its name for people, the command that installs it, and why it cannot be used (empty: it can)."""

    name: str
    install: str
    missing: Callable[[], str]


PARTS = {
    "pluto": Part("pyadi-iio", doctor.PLUTO, lambda: absent_packages("adi", "iio")),
    "libiio": Part("libiio with its tools", f"{doctor.LIBIIO} (or: {SYSTEM})", libiio),
    "gnuradio": Part("GNU Radio", SYSTEM, lambda: "" if all(probes.gnu_radio()) else "no python3 on PATH has it"),
    "chromium": Part("Chromium and its driver", SYSTEM, lambda: "" if all(probes.browser()) else "not on PATH"),
    "sshd": Part("sshd and ssh", SYSTEM, lambda: "" if probes.ssh_server() else "not on PATH"),
    "systemd": Part("systemd-analyze", SYSTEM, lambda: "" if shutil.which("systemd-analyze") else "not on PATH"),
    "torch": Part("training", doctor.TRAIN, lambda: absent_packages(*doctor.FOR_TRAINING.values())),
    "data": Part(
        "CIFAR-10 and MNIST in their original files", "export SEMTB_DATA=/folder/that/holds/cifar10/and/mnist", data
    ),
}
NO_TEST_NEEDS = {"compiler", "home"}  # they can be hidden, too, and then every test still passes


@cache
def why_missing(part: str) -> str:
    """Looked for once a session; empty if it is there."""
    return PARTS[part].missing()


def require(*parts: str) -> None:
    """Skip, or in CI fail, where one of ``parts`` is missing."""
    for part in parts:
        if why := why_missing(part):
            reason = f"needs {PARTS[part].name}: {PARTS[part].install}"
            if os.environ.get("CI") and part not in hidden():
                pytest.fail(f"in CI nothing may be missing: {reason}  ({why})", pytrace=False)
            pytest.skip(reason)


def still_there() -> list[str]:
    """Parts that were to be hidden and can be used nevertheless."""
    return sorted(part for part in hidden() - NO_TEST_NEEDS if not why_missing(part))


def gnuradio_python() -> str:
    """The Python that has GNU Radio: the system's, and never that of these tests."""
    return probes.gnu_radio()[1]
