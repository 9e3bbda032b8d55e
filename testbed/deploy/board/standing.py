"""The edge that waits on a board for a server: a systemd user service, or a process. Standard library alone."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import time

from .place import THREADS, Failure, Place, Request, alive, began, end, last_line

LOG_LIMIT = 1_000_000  # bytes; a longer log is put by when the edge starts, the one before it is dropped
ALIVE_S = 1.5  # what a newly started edge must survive


def systemd() -> bool:
    """Whether a systemd of this user answers."""
    runtime = f"/run/user/{os.getuid()}"
    if not os.environ.get("XDG_RUNTIME_DIR") and os.path.isdir(runtime):
        os.environ["XDG_RUNTIME_DIR"] = runtime
    return shutil.which("systemctl") is not None and systemctl("show-environment").returncode == 0


def systemctl(*arguments: str) -> subprocess.CompletedProcess:
    """systemctl --user, quietly."""
    return subprocess.run(["systemctl", "--user", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)


def start(place: Place, request: Request) -> Request:
    """Start the standing edge; Failure if it ends at once."""
    launch(place)
    limit = time.monotonic() + ALIVE_S
    while time.monotonic() < limit:
        if not state(place)["running"]:
            raise Failure("start", f"it ended at once: {last_line(place.log)}")
        time.sleep(0.1)
    return state(place)


def launch(place: Place) -> None:
    """Have it started, as a service where that is possible."""
    place.required()
    if state(place)["running"]:
        return
    if place.log.exists() and place.log.stat().st_size > LOG_LIMIT:
        os.replace(place.log, place.log.with_suffix(".log.1"))
    if systemd():
        place.unit.parent.mkdir(parents=True, exist_ok=True)
        aside = place.unit.with_suffix(".tmp")
        shutil.copyfile(place.current / "semtb-edge.service", aside)
        os.replace(aside, place.unit)
        subprocess.run(["loginctl", "enable-linger"], capture_output=True, stdin=subprocess.DEVNULL, check=False)
        for order in (["daemon-reload"], ["reset-failed", place.unit.name], ["enable", place.unit.name]):
            systemctl(*order)
        done = systemctl("start", place.unit.name)
        if done.returncode:
            raise Failure("start", f"systemctl --user start {place.unit.name}: {done.stderr.strip()}")
    else:
        command = [str(place.current / "venv/bin/semtb"), "edge", "--keep", str(place.current / "edge.toml")]
        with place.log.open("ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | dict.fromkeys(THREADS, "1"),
                start_new_session=True,
                cwd="/",
            )
        place.pid.write_text(f"{child.pid} {began(child.pid)}")


def state(place: Place) -> Request:
    """How the standing edge is: as what it was started, whether it runs, its pid."""
    if place.unit.exists() and systemd():
        shown = dict(
            line.partition("=")[::2]
            for line in systemctl("show", place.unit.name, "-p", "ActiveState,MainPID").stdout.splitlines()
        )
        lingers = os.path.exists(f"/var/lib/systemd/linger/{user()}")
        running = shown.get("ActiveState") in ("active", "activating", "reloading")
        return {"kind": "systemd", "running": running, "pid": int(shown.get("MainPID") or 0), "lingers": lingers}
    pid = alive(place.pid)
    return {"kind": "process", "running": pid > 0, "pid": pid, "lingers": True}


def user() -> str:
    """This user's name."""
    return pwd.getpwuid(os.getuid()).pw_name


def stop(place: Place, request: Request) -> Request:
    """End the standing edge; it is started neither at the next boot nor by itself."""
    was = state(place)
    if was["kind"] == "systemd":
        systemctl("disable", "--now", place.unit.name)
    end(place.pid)
    return was


def pause(place: Place, standing: Request) -> None:
    """Let the standing edge free its radio; a service stays enabled."""
    if standing["kind"] == "systemd":
        systemctl("stop", place.unit.name)
    else:
        end(place.pid)


def resume(place: Place) -> None:
    """Start the standing edge again after a run."""
    try:
        launch(place)
    except Failure as error:
        print(f"{place.name}: {error}", file=sys.stderr)
