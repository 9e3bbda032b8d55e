"""Which optional parts of this machine can be used, found by trying them; nothing is installed or changed."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ASK_S = 20.0  # for another program to print its version; the first import of GNU Radio is slow
LIBIIO_0 = "iio_get_backends_count"  # a function that libiio 0.x has and 1.x has not


def ask(command: list[str], limit_s: float = ASK_S) -> str:
    """What a program prints; empty if it is missing, fails or takes too long."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=True, env=clean)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def libiio() -> tuple[str, str]:
    """The C library that talks to Plutos, with its version; if it cannot be used: empty, and why."""
    name = ctypes.util.find_library("iio")
    if name is None:
        return "", "no libiio.so"
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        return "", str(error)
    if not hasattr(library, LIBIIO_0):
        return "", f"{name} is not of version 0.x"
    major, minor, tag = ctypes.c_uint(), ctypes.c_uint(), ctypes.create_string_buffer(8)
    library.iio_library_get_version(ctypes.byref(major), ctypes.byref(minor), tag)
    return f"{name}, {major.value}.{minor.value} ({tag.value.decode(errors='replace')})", ""


def iio_binding() -> str:
    """Why libiio's Python binding cannot be imported, which needs the C library at once; empty if it can."""
    try:
        import iio  # noqa: F401
    except (ImportError, OSError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def gnu_radio() -> tuple[str, str]:
    """Version of GNU Radio and the Python that has it: the first on PATH that imports it; both empty if none does.

    It comes with the system's Python and is never in an environment of pip's, so this Python is not asked.
    """
    own = Path(sys.executable).absolute().parent
    for folder in dict.fromkeys(os.environ.get("PATH", os.defpath).split(os.pathsep)):
        python = shutil.which("python3", path=folder)
        if python and Path(python).absolute().parent != own:
            version = ask([python, "-c", "from gnuradio import gr, zeromq; print(gr.version())"])
            if version:
                return version, python
    return "", ""


def browser() -> tuple[str, str]:
    """Chromium and its driver; empty where one is missing."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return chromium or "", shutil.which("chromedriver") or ""


def ssh_server() -> str:
    """sshd, which often lies where only root's PATH leads; empty if it or the client beside it is missing."""
    where = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return (shutil.which("sshd", path=where) or "") if shutil.which("ssh") else ""


def can_write_below(folder: Path) -> bool:
    """Whether ``folder`` is there and can be written, or could be made."""
    while not folder.exists() and not folder.is_symlink() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
