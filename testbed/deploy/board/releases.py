"""Which release is the one: switched by one rename, taken away, described. Standard library alone."""

from __future__ import annotations

import json
import os
import shutil
import sys

from .lifeline import Processes
from .place import Failure, Place, Request, alive, end, free_ports, last_line, tail
from .standing import start, state, stop, systemctl


def activate(place: Place, request: Request) -> Request:
    """Switch to a release that is complete, and start it; the one before comes back if this one does not stay."""
    place.require_idle()
    release = place.releases / request["release"]
    before = os.readlink(place.current) if place.current.is_symlink() else ""
    (release / "manifest.json").write_text(json.dumps(request["manifest"], indent=1))
    was_running = bool(before) and state(place)["running"]
    stop(place, request)
    point(place, f"releases/{release.name}")
    try:
        started = start(place, request) if request["start"] else state(place)
    except Failure:
        point(place, before)
        if was_running:
            start(place, request)
        shutil.rmtree(release, ignore_errors=True)
        raise
    for other in place.releases.iterdir():
        if other.name != release.name:
            shutil.rmtree(other, ignore_errors=True)
    return started


def discard(place: Place, request: Request) -> Request:
    """Remove a release that is not to be used; the one in use stays."""
    if place.current.is_symlink() and os.path.basename(os.readlink(place.current)) == request["release"]:
        return {}
    shutil.rmtree(place.releases / request["release"], ignore_errors=True)
    place.tidy()
    return {}


def point(place: Place, target: str) -> None:
    """Let ``current`` be ``target``; empty: nothing is deployed."""
    if not target:
        place.current.unlink(missing_ok=True)
        return
    aside = place.root / "current.tmp"
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    os.replace(aside, place.current)


def remove(place: Place, request: Request) -> Request:
    """End all that runs of this edge and leave nothing of it."""
    place.required()
    stop(place, request)
    for run in place.runs.glob("*"):
        end(run / "pid")
    if place.unit.exists():
        place.unit.unlink()
        systemctl("daemon-reload")
    shutil.rmtree(place.root)
    place.tidy()
    return {}


def status(place: Place, request: Request) -> Request:
    """What is deployed and how it is."""
    size = sum(f.lstat().st_size for f in place.root.rglob("*")) if request.get("size") else 0
    runs = [run.name for run in place.runs.glob("*") if alive(run / "pid")]
    manifest = place.required()
    ports = free_ports(request.get("ports", 0), request.get("avoid", []))
    return {
        "manifest": manifest, "state": state(place), "last": last_line(place.log), "bytes": size, "runs": runs,
        "ports": ports, "root": str(place.root),
    }  # fmt: skip


def show_log(place: Place, request: Request) -> None:
    """Print the end of the log, and what is added to it until who asked is gone."""
    place.required()
    position = place.log.stat().st_size if place.log.exists() else 0
    for line in tail(place.log, request["lines"]):
        print(line, flush=True)
    processes = Processes()
    processes.watch()
    while request["follow"] and not processes.cut_off.wait(0.2):
        size = place.log.stat().st_size if place.log.exists() else 0
        if size != position:
            with place.log.open("rb") as stream:
                stream.seek(position if size > position else 0)
                sys.stdout.buffer.write(stream.read())
                sys.stdout.buffer.flush()
                position = stream.tell()
