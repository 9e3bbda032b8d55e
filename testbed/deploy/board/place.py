"""Where one edge lives on a board, and which of its processes live. Standard library alone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

STOP_S = 4.0  # from SIGTERM to SIGKILL; a node ends by itself, or by its own last resort, within 1.5 s
PORTS = range(20_000, 32_000)  # below the range of ephemeral ports
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

NAME = r"[a-z0-9][a-z0-9-]{0,31}"  # testbed.config.NODE_NAME, which is not here

Request = dict[str, Any]  # what is asked, and what is answered: JSON objects


class Failure(Exception):
    """What cannot be done, and a word by which the other side knows what to advise."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind = kind


class Place:
    """Where one edge lives on this board; Failure if its name is none, for it becomes a folder's and a service's."""

    def __init__(self, base: str, name: str) -> None:
        if not re.fullmatch(NAME, name):
            raise Failure("name", f"{name!r}: no edge has such a name: lower-case letters, digits and '-', 32 in all")
        self.name = name
        self.base = Path(base).expanduser().absolute()
        self.root = self.base / name
        self.current = self.root / "current"
        self.releases = self.root / "releases"
        self.runs = self.root / "runs"
        self.log = self.root / "edge.log"
        self.pid = self.root / "pid"
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        self.unit = config / "systemd" / "user" / f"semtb-{name}.service"

    def require_idle(self) -> None:
        """Failure if this edge takes part in a run just now."""
        if [run for run in self.runs.glob("*") if alive(run / "pid")]:
            raise Failure("busy", f"{self.name} takes part in a run just now")

    def tidy(self) -> None:
        """Remove the folders of this edge that nothing is in."""
        for folder in (self.runs, self.releases, self.root, self.base):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def manifest(self) -> Request | None:
        """What is deployed, or None."""
        try:
            return json.loads((self.current / "manifest.json").read_text())
        except (OSError, ValueError):
            return None

    def required(self) -> Request:
        """What is deployed; Failure if nothing is."""
        manifest = self.manifest()
        if manifest is None:
            raise Failure("absent", f"{self.name} is not deployed in {self.base}")
        return manifest


def say(words: str) -> None:
    """Progress, for the person at the other side."""
    print(f"semtb: {words}", file=sys.stderr, flush=True)


def began(pid: int) -> str:
    """When a process began, in the kernel's ticks: with the pid it names one process for ever. Empty: there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def alive(file: Path) -> int:
    """The pid that a file names, if that very process lives; else 0."""
    try:
        pid, ticks = file.read_text().split()
    except (OSError, ValueError):
        return 0
    return int(pid) if began(int(pid)) == ticks else 0


def end(file: Path) -> None:
    """End the process that a file names, and remove the file."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        limit = time.monotonic() + STOP_S
        pid = alive(file)
        if pid:
            os.kill(pid, number)
        while alive(file) and time.monotonic() < limit:
            time.sleep(0.03)
    file.unlink(missing_ok=True)


def free_ports(count: int, avoid: list[int]) -> list[int]:
    """Ports of this board's loopback that nobody holds."""
    found: list[int] = []
    seed = int.from_bytes(os.urandom(4), "little")
    for i in range(len(PORTS)):
        if len(found) == count:
            break
        port = PORTS[(seed + i) % len(PORTS)]
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in avoid:
            found.append(port)
    return found


def last_line(log: Path) -> str:
    """The last line of a log that is not empty."""
    lines = tail(log, 5)
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def tail(log: Path, count: int) -> list[str]:
    """The last lines of a log."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 400 * count))
            return stream.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []
