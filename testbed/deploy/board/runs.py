"""A deployed edge in one run: told, run while the connection holds, gone. Standard library alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

from .install import receive
from .lifeline import Processes
from .place import STOP_S, THREADS, Place, Request, alive, began, end
from .standing import pause, resume, state


def place_run(place: Place, request: Request) -> Request:
    """Take what one run tells this edge. Leavings of runs that nobody carries on are removed."""
    place.required()
    place.require_idle()
    for old in place.runs.glob("*"):
        if not alive(old / "pid") and time.time() - old.stat().st_mtime > 60:
            shutil.rmtree(old, ignore_errors=True)
    folder = place.runs / request["run"]
    try:
        folder.mkdir(parents=True)
        receive(request, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return {}


def run(place: Place, request: Request) -> int:
    """Be this edge's process for one run: it ends with standard input. The standing edge gives way meanwhile."""
    folder = place.runs / request["run"]
    processes = Processes()
    processes.watch()
    signal.signal(signal.SIGTERM, lambda number, frame: processes.cut_off.set())
    (folder / "pid").write_text(f"{os.getpid()} {began(os.getpid())}")
    standing = state(place)
    pause(place, standing)
    environment = os.environ | dict.fromkeys(THREADS, "1") | {"SEMTB_SUPERVISED": "1"} | request["environment"]
    command = [str(place.current / "venv/bin/semtb"), "edge", str(folder / "edge.toml")]
    try:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, cwd="/")
        (folder / "edge.pid").write_text(f"{child.pid} {began(child.pid)}")
        while child.poll() is None and not processes.cut_off.wait(0.05):
            pass
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
        status = child.wait()
        return status if status >= 0 else 128 - status  # as shells have it
    finally:
        if standing["running"]:
            resume(place)
        shutil.rmtree(folder, ignore_errors=True)


def settle(place: Place, request: Request) -> Request:
    """After a run: see to it that nothing of it is left."""
    folder = place.runs / request["run"]
    limit = time.monotonic() + STOP_S
    while alive(folder / "pid") and time.monotonic() < limit:
        time.sleep(0.03)
    for file in ("edge.pid", "pid"):
        end(folder / file)
    shutil.rmtree(folder, ignore_errors=True)
    return {}
