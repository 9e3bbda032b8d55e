"""Child processes of a run: started, watched, and all gone when the family is closed. Knows no node's business."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from rich.progress import Progress as ProgressBar

from testbed.experiments.stopping import ONE_THREAD, SUPERVISED
from testbed.record.events import Bound, EventTail, Progress
from testbed.record.folder import RunFolder

TERM_GRACE_S = 1.5  # from SIGTERM to SIGKILL; a run ends within 3 s, the rest is for the result file
TAIL_BYTES = 8192


class Watch:
    """What the events of a run say, and the bar that shows it.

    ``waiting`` is shown once the server has bound; ``going`` may name ``{done}``, ``{total}``, ``{counted}``.
    """

    def __init__(self, folder: RunFolder, bar: ProgressBar, waiting: str, going: str) -> None:
        self.bound = False
        self._tail = EventTail(folder)
        self._bar = bar
        self._waiting, self._going = waiting, going
        self._task = bar.add_task("starting", total=None)

    def look(self) -> None:
        """Take in what has happened since the last call."""
        for event in self._tail.new():
            if isinstance(event, Bound):
                self.bound = True
                self._bar.update(self._task, description=self._waiting)
            elif isinstance(event, Progress):
                words = self._going.format(done=event.done, total=event.total, counted=event.counted)
                self._bar.update(self._task, total=event.total, completed=event.done, description=words)


class Ended(msgspec.Struct, frozen=True):
    """How a child ended."""

    name: str
    status: int  # as subprocess has it: negative for a signal
    last_line: str  # of its standard error
    called: str = ""  # what the process is, where it only stands for the node of that name

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than well."""
        return self.status != 0

    @property
    def rank(self) -> int:
        """Who is to blame when several end at once: the killed, then who reports an error of its own, then the rest."""
        return 0 if self.status < 0 else 1 if self.status == 2 else 2

    def describe(self) -> str:
        """One line for the person."""
        if self.status < 0:
            return f"{self.called or self.name} was ended by {signal_name(-self.status)}"
        return f"{self.name}: {self.last_line or f'ended with status {self.status}'}"


def signal_name(number: int) -> str:
    """SIGKILL for 9, and so on."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def node_command(*arguments: str) -> list[str]:
    """The command line of a node: the installed script, or the module where there is none."""
    script = Path(sys.executable).with_name("semtb")
    return [str(script), *arguments] if script.is_file() else [sys.executable, "-m", "testbed.cli.main", *arguments]


class Child:
    """One child. Its standard error goes to its log; its standard output comes line by line to ``on_line``."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        on_line: Callable[[str, str], None],
        debug: bool,
        called: str = "",
    ) -> None:
        self.name = name
        self.called = called
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = (
            os.environ | dict.fromkeys(ONE_THREAD, "1") | {SUPERVISED: "1"} | ({"SEMTB_DEBUG": "1"} if debug else {})
        )
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,  # never written; its end tells the child that this process is gone
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the children in order
            )
        self._reader = threading.Thread(target=self._relay, args=(on_line,), name=f"{name}-stdout", daemon=True)
        self._reader.start()

    def _relay(self, on_line: Callable[[str, str], None]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            on_line(self.name, line.decode(errors="replace").rstrip("\n"))

    def ended(self) -> Ended | None:
        """How it ended, or None while it lives."""
        status = self.process.poll()
        return None if status is None else Ended(self.name, status, last_line(self.log), self.called)

    def release(self) -> None:
        """Close the pipes of a child that has ended."""
        self._reader.join(1.0)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def last_line(log: Path) -> str:
    """The last line of a log that is not empty."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - TAIL_BYTES))
            lines = stream.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


class Family:
    """Children that live and end together. As a context manager it leaves none alive."""

    def __init__(self, on_line: Callable[[str, str], None] = lambda name, line: None, debug: bool = False) -> None:
        self.children: list[Child] = []
        self._on_line = on_line
        self._debug = debug

    def __enter__(self) -> Family:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    def start(self, name: str, command: Sequence[str], log: Path, called: str = "") -> None:
        """Start one child; ``called`` says what it is, where it is not the node of that name itself."""
        self.children.append(Child(name, command, log, self._on_line, self._debug, called))

    def ended(self) -> list[Ended]:
        """All that have ended so far."""
        return [ended for child in self.children if (ended := child.ended()) is not None]

    def alive(self) -> list[str]:
        """Names of those that live."""
        return [child.name for child in self.children if child.process.poll() is None]

    def wait(self, limit_s: float) -> bool:
        """Wait until all have ended by themselves; False if some have not."""
        end = time.monotonic() + limit_s
        while self.alive():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def end(self) -> None:
        """SIGTERM to all, SIGKILL to those that are still there ``TERM_GRACE_S`` later; returns when none is left."""
        for number, grace_s in ((signal.SIGTERM, TERM_GRACE_S), (signal.SIGKILL, 10.0)):
            for child in self.children:
                if child.process.poll() is None:
                    child.process.send_signal(number)
            if self.wait(grace_s):
                break
        for child in self.children:
            child.release()
