"""Hides optional parts of this machine from a test session and from every Python that it starts.

Python imports a module of this name when it starts, where its folder is in PYTHONPATH. What is hidden is then missing
as on a machine that never had it: programs are not on PATH, packages are neither imported nor found by their metadata,
and ctypes finds no such library, so that a binding fails in its own way. Standard library alone.
"""

from __future__ import annotations

import ctypes.util
import fnmatch
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, MutableMapping
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

WITHOUT = "SEMTB_TEST_WITHOUT"  # names of parts with commas between, or `all`
HERE = Path(__file__).resolve().parent
NO_HOME = "/dev/null/home"  # which nobody can make, root included

# By part: patterns of programs, of Python's packages, and the names by which libraries are asked for.
PROGRAMS = {
    "libiio": ("iio_*",),
    "gnuradio": ("gnuradio-*", "python3*"),  # its packages are those of the system's Python
    "chromium": ("chromium*", "chromedriver*", "google-chrome*"),
    "sshd": ("sshd", "ssh", "ssh-*", "scp", "sftp"),
    "systemd": ("systemctl", "systemd-*", "loginctl"),
    "compiler": ("cc", "c++", "c[89]9-*", "gcc*", "g++*", "cpp*", "clang*", "*-linux-gnu-g*", "ld", "ld.*", "as"),
}
PACKAGES = {
    "torch": ("torch", "dp_accounting"),
    "pluto": ("adi", "iio", "pyadi_iio", "pylibiio"),
}
LIBRARIES = {"libiio": ("iio",)}
HIDDEN_WITH_ALL = ("libiio", "gnuradio", "chromium", "sshd", "systemd", "data", "torch", "compiler", "home")
PARTS = (*HIDDEN_WITH_ALL, "pluto")  # with the binding there and its library not, more can go wrong than without both


def wanted() -> frozenset[str]:
    """The parts that the environment says are hidden.

    Raises
    ------
    ValueError
        If one of them is none.
    """
    text = os.environ.get(WITHOUT, "")
    named = frozenset(HIDDEN_WITH_ALL if text == "all" else filter(None, text.split(",")))
    if unknown := named - set(PARTS):
        raise ValueError(f"{WITHOUT}: {', '.join(sorted(unknown))}: allowed: all, {', '.join(PARTS)}")
    return named


def canonical(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


class Hiding(PathFinder):
    """Finds what is on the path, save packages that are hidden."""

    hidden: frozenset[str] = frozenset()

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] in cls.hidden:
            return None
        return super().find_spec(fullname, path, target)

    @classmethod
    def find_distributions(cls, *arguments: Any, **keywords: Any) -> Iterator[Distribution]:
        for found in super().find_distributions(*arguments, **keywords):
            if canonical(found.metadata["Name"] or "") not in cls.hidden:
                yield found


def hide_in_this_process(parts: Iterable[str]) -> None:
    """Packages and libraries: from now on they are not found here."""
    parts = list(parts)
    Hiding.hidden = frozenset(name for part in parts for name in PACKAGES.get(part, ()))
    if Hiding.hidden:
        sys.meta_path[:] = [Hiding if finder in (PathFinder, Hiding) else finder for finder in sys.meta_path]
    libraries = {name for part in parts for name in LIBRARIES.get(part, ())}
    find = getattr(ctypes.util.find_library, "real", ctypes.util.find_library)

    def find_library(name: str) -> str | None:
        return None if name in libraries else find(name)

    find_library.real = find  # type: ignore[attr-defined]
    ctypes.util.find_library = find_library


def hide_in_environment(parts: Iterable[str], folder: Path, environ: MutableMapping[str, str]) -> None:
    """Programs, data and home, in the environment of a process; ``folder`` takes links to all other programs."""
    parts = set(parts)
    patterns = [pattern for part in parts for pattern in PROGRAMS.get(part, ())]
    own = Path(sys.prefix) / "bin"
    kept = []
    for number, name in enumerate(environ.get("PATH", os.defpath).split(os.pathsep)):
        place = Path(name)
        if not place.is_dir():
            continue
        programs = {entry.name for entry in os.scandir(place)}
        away = {p for p in programs if any(fnmatch.fnmatch(p, pattern) for pattern in patterns)}
        if away and place.resolve() != own.resolve():
            place = folder / str(number)
            place.mkdir(parents=True)
            for program in programs - away:
                (place / program).symlink_to(Path(name).absolute() / program)
        kept.append(str(place))
    environ["PATH"] = os.pathsep.join(kept)
    environ[WITHOUT] = ",".join(sorted(parts))
    searched = environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(HERE) not in searched:
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), *searched]))
    if "data" in parts:
        environ["SEMTB_DATA"] = ""
    if "home" in parts:
        environ["HOME"] = NO_HOME
        for name in [name for name in environ if name.startswith("XDG_")]:
            del environ[name]


def hide(parts: Iterable[str]) -> tempfile.TemporaryDirectory[str] | None:
    """All of it; what is returned must live as long as the session."""
    parts = list(parts)
    if not parts:
        return None
    folder = tempfile.TemporaryDirectory(prefix="semtb-without-")
    hide_in_environment(parts, Path(folder.name), os.environ)
    hide_in_this_process(parts)
    return folder


if __name__ == "sitecustomize":
    hide_in_this_process(wanted())
