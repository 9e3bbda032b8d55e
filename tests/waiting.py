"""How a test waits for what another thread or process does, with a deadline that only liveness needs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from testbed.record.events import AnyEvent, EventTail
from testbed.record.folder import RunFolder

DEADLINE_S = 60.0
LOOK_S = 0.05


def await_event(folder: Path, kind: type[AnyEvent], process: subprocess.Popen[str]) -> None:
    """Return once the run in ``folder`` has come to an event of this kind; fail if its process ends before."""
    tail, deadline = EventTail(RunFolder(folder)), time.monotonic() + DEADLINE_S
    while not any(isinstance(event, kind) for event in tail.new()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"no {kind.__name__} within {DEADLINE_S} s"
        time.sleep(LOOK_S)


def wait_until(is_so: Callable[[], object], deadline_s: float = DEADLINE_S, look_s: float = LOOK_S) -> None:
    """Return once it is so; fail if it is not by then."""
    deadline = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < deadline, f"not so within {deadline_s} s"
        time.sleep(look_s)
