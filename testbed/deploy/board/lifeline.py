"""Children of the board's side, and the connection that they must not outlive. Standard library alone."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from .place import Failure


class Processes:
    """What this program starts. When who asked is gone, all of it ends, and what was begun is removed."""

    def __init__(self) -> None:
        self.child: subprocess.Popen | None = None
        self.begun: Path | None = None
        self.tidy: Callable[[], object] = lambda: None
        self.cut_off = threading.Event()

    def watch(self) -> None:
        """From now on the end of standard input counts."""
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while os.read(0, 4096):
            pass
        self.cut_off.set()
        if self.begun is not None:
            if self.child is not None and self.child.poll() is None:
                os.killpg(self.child.pid, signal.SIGKILL)
                self.child.wait()
            shutil.rmtree(self.begun, ignore_errors=True)
            self.tidy()
            os._exit(1)

    def run(self, command: list[str], kind: str, what: str) -> str:
        """Run a command to its end and return what it printed; Failure with its own last words."""
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd="/",
        )
        out, err = self.child.communicate()
        if self.child.returncode:
            if "No space left on device" in out + err:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            lines = [line.strip() for line in (err + "\n" + out).splitlines() if line.strip()]
            errors = [line for line in lines if line.lower().startswith("error")] or lines[-1:]
            raise Failure(kind, f"{what}: {errors[0] if errors else f'status {self.child.returncode}'}")
        return out
