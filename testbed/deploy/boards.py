"""What boards are asked over SSH, and how their answers are read. What they do stands in `testbed.deploy.board`."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shlex
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import IO, Any

from testbed.config import NODE_NAME
from testbed.deploy.ssh import OLD_PYTHON, OLDEST, Target, explain, require_ssh
from testbed.errors import BoardError

ANSWER_S = 90.0  # for anything but an installation
REFUSED = 44  # of the board's program where its output is a log
# The program and its request go in first; then standard input stays open, and its end tells that we are gone.
BOOT = (
    "import json, sys, tempfile;"
    f" sys.version_info < {OLDEST} and (print(sys.version.split()[0]), sys.exit({OLD_PYTHON}));"
    " f = sys.stdin.buffer; r = json.loads(f.readline()); t = tempfile.NamedTemporaryFile(suffix='.pyz');"
    " t.write(f.read(r['program'])); t.flush(); sys.path.insert(0, t.name);"
    " from semtb_board.answer import answer; t.close(); sys.exit(answer(r))"
)
BOARD_PROGRAM = "board.pyz"
MAIN = "import json, sys\nfrom semtb_board.answer import answer\nsys.exit(answer(json.loads(sys.argv[1])))\n"
HINTS = {
    "busy": "Wait until it is over, or end it",
    "copy": "The copy did not arrive whole. Try again; what was deployed before is as it was",
    "disk": "Its disk is full. Free some space there (`df -h`) and try again; what was deployed before is as it was",
    "venv": "Debian and Ubuntu keep it in a package of its own: sudo apt-get install python3-venv, on the board",
    "pip": "Without network on the board: --wheelhouse DIR --download-wheels. A bound on a version: --with 'NAME<2'",
    "reuse": "It names a Python on the board whose packages the edge may use, for example /usr/bin/python3",
    "check": "What was deployed before is as it was",
    "start": "What was deployed before is as it was",
    "absent": "Deploy it first: semtb deploy {name} --to {target}",
    "system": "See to it on the board, or choose another folder there with --dir",
}


@lru_cache
def board_program() -> bytes:
    """`testbed.deploy.board` as one file that Python runs: what is sent, and what stays beside a release."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as program:
        for file in sorted(resources.files("testbed.deploy.board").iterdir(), key=lambda f: f.name):
            if file.name.endswith(".py"):
                program.writestr(f"semtb_board/{file.name}", file.read_bytes())
        program.writestr("__main__.py", MAIN)
    return packed.getvalue()


def ask(
    target: Target,
    name: str,
    do: str,
    payload: Path | None = None,
    on_progress: Callable[[str], object] = lambda words: None,
    limit_s: float = ANSWER_S,
    **more: object,
) -> dict[str, Any]:
    """Have the board's Python do one thing for the edge ``name`` and return what it answers.

    Parameters
    ----------
    payload : Path, optional
        A file that is sent with the request; the board checks its length and SHA-256.
    on_progress : callable
        Told what the board is doing.

    Raises
    ------
    BoardError
        One line: what, where, and what to do.
    """
    if payload is not None:
        digest = hashlib.sha256(payload.read_bytes()).hexdigest()
        more |= {"payload": payload.stat().st_size, "sha256": digest}
    call = Call(target, message(target, name, do, **more), payload, on_progress)
    status = call.finish(limit_s)
    reply = call.reply()
    if status or reply is None:
        raise BoardError(explain(target, status, call.errors, "".join(call.output)))
    if "failed" in reply:
        raise failure(target, name, reply)
    return reply["done"]


def message(target: Target, name: str, do: str, **more: object) -> list[bytes]:
    """What goes in first: the request, one line of JSON, and the program that answers it.

    Raises
    ------
    BoardError
        If ``name`` is none that an edge can have: it becomes a folder's there.
    """
    if not re.fullmatch(NODE_NAME, name):
        raise BoardError(f"{name!r}: no edge has such a name: lower-case letters, digits and '-', 32 in all")
    program = board_program()
    request = {"do": do, "name": name, "base": target.base, "program": len(program), **more}
    return [json.dumps(request).encode() + b"\n", program]


def follow_log(
    target: Target,
    name: str,
    lines: int,
    follow: bool,
    show: Callable[[str], object] = lambda line: print(line, end="", flush=True),
) -> None:
    """Show the end of an edge's log and, if ``follow``, what is added, until this is interrupted."""
    call = Call(target, message(target, name, "log", lines=lines, follow=follow), None, on_line=show)
    status = call.finish(None if follow else ANSWER_S)
    if status == REFUSED:
        raise failure(target, name, json.loads(call.errors[-1]))
    if status:
        raise BoardError(explain(target, status, call.errors, "".join(call.output)))


def failure(target: Target, name: str, reply: dict[str, Any]) -> BoardError:
    """What the board says it cannot do, with what to do about it."""
    hint = HINTS.get(reply["failed"], "").format(name=name, target=target.host)
    return BoardError(f"{target.host}: {reply['words'].rstrip('.')}. {hint}".rstrip())


class Call:
    """One ssh process: what goes in, and both streams that come out. Ended with this object's use, however it goes."""

    def __init__(
        self,
        target: Target,
        first: list[bytes],
        payload: Path | None,
        on_progress: Callable[[str], object] = lambda words: None,
        on_line: Callable[[str], object] | None = None,
    ) -> None:
        self.output: list[str] = []
        self.errors: list[str] = []
        self._target = target
        self._on_progress = on_progress
        require_ssh()
        command = target.command(f"{shlex.quote(target.python)} -c {shlex.quote(BOOT)}")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self._threads = [
            threading.Thread(target=self._read, args=(self.process.stdout, on_line or self.output.append), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self._on_error), daemon=True),
            threading.Thread(target=self._write, args=(self.process.stdin, first, payload), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _read(stream: IO[bytes], take: Callable[[str], object]) -> None:
        for line in stream:
            take(line.decode(errors="replace"))

    @staticmethod
    def _write(stream: IO[bytes], first: list[bytes], payload: Path | None) -> None:
        try:
            stream.write(b"".join(first))
            if payload is not None:
                with payload.open("rb") as source:
                    shutil.copyfileobj(source, stream, 1 << 20)
            stream.flush()  # and left open: it tells the board that we are there
        except OSError:
            pass  # it ended early, and says why

    def _on_error(self, line: str) -> None:
        if line.startswith("semtb: "):
            self._on_progress(line[7:].strip())
        else:
            self.errors.append(line)

    def finish(self, limit_s: float | None) -> int:
        """Wait for its end; its status."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise BoardError(
                f"{self._target.host}: no answer within {limit_s:.0f} s; look there with `{self._target.by_hand}`"
            ) from None
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            for thread in self._threads:
                thread.join(5.0)

    def reply(self) -> dict[str, Any] | None:
        """The last line of standard output, if it is the board's answer."""
        try:
            reply = json.loads(self.output[-1])
        except (IndexError, ValueError):
            return None
        return reply if isinstance(reply, dict) and {"done", "failed"} & set(reply) else None
