"""Points that are finished, a line each in a file beside the result: what a sweep that was cut off goes on from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from testbed.errors import DataError
from testbed.experiments.sweep.axes import Point
from testbed.files import ensure_folder, written

SUFFIX = ".points.jsonl"


class Line(msgspec.Struct):
    """One finished point."""

    identity: str
    at: dict[str, Any]
    figures: dict[str, Any]


class Journal:
    """The file of a sweep's finished points.

    A point is found again by its identity alone, so that a line made by other code, from another scenario or with other
    pictures is passed over, and more values on an axis cost only themselves. A process that is killed while it writes
    leaves at most one torn line, which the next one removes.

    Parameters
    ----------
    path : Path
        Made with the first point.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def beside(cls, result: Path) -> Journal:
        """The journal of the result file ``result``."""
        return cls(result.with_name(result.stem + SUFFIX))

    def read(self) -> dict[str, dict[str, Any]]:
        """Figures by the identity of their point; a torn last line is removed.

        Returns
        -------
        dict
            Empty where there is no journal yet.

        Raises
        ------
        DataError
            If the file is not this user's own, or a whole line of it is none of a journal.
        """
        if not os.path.lexists(self.path):
            return {}
        with written(self.path), self._open(os.O_RDWR) as stream:
            content = stream.read()
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) < len(content):
                stream.truncate(len(whole))
        found = {}
        for number, text in enumerate(whole.splitlines(), start=1):
            try:
                line = msgspec.json.decode(text, type=Line)
            except msgspec.DecodeError as error:
                raise DataError(
                    f"{self.path}, line {number}: not a finished point of a sweep ({error}); remove the file"
                ) from error
            found[line.identity] = line.figures
        return found

    def add(self, point: Point, figures: dict[str, Any]) -> None:
        """Append a finished point, in one write; it outlives the process.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        line = msgspec.json.encode(Line(point.identity, point.at, figures)) + b"\n"
        ensure_folder(self.path.parent)
        with written(self.path), self._open(os.O_WRONLY | os.O_APPEND | os.O_CREAT) as stream:
            stream.write(line)

    def _open(self, flags: int) -> Any:
        """Never through a link, and never a file that another user made: its figures would be taken for ours."""
        number = os.open(self.path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        if os.fstat(number).st_uid != os.geteuid():
            os.close(number)
            raise DataError(f"{self.path}: belongs to another user; choose another name for the result file")
        return os.fdopen(number, "rb+" if flags & os.O_RDWR else "ab")
