"""The run folder: all that one run leaves behind, every file written whole or not at all.

::

    runs/20261122T011500Z-two-users-3fa9c1/
      scenario.toml  nodes/<node>.toml  logs/<node>.log
      result.json                      schema.Result
      events.jsonl                     one event a line, appended while the run goes on (testbed.record.events)
      events.address                   where the same events are published, while it does
      data/<node>/<nnnn>.png           what a task deals an edge of its own data
      sent/<node>/<nnn>.png, .npy      the pictures as they were encoded, and the symbols that were sent for each
      codecs/<name>-<hash>.*           codecs that came into use while the run went on
      recording/rx.sigmf-collection    the samples that the server received, where they were recorded (SigMF)
      received/<node>-<nnn>.png        what the server made of them; .json: logits, of a codec of labels
      bound/<node>-<nnn>.png           the same over a known channel without the other user
      figures/data.npz                 arrays for the figures (see testbed.report.figures)
      figures/*.svg, *.png  report.html
"""

from __future__ import annotations

import io
import os
import re
import secrets
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile

import msgspec
import numpy as np
from PIL import Image

from testbed.errors import DataError
from testbed.files import ASIDE, write_aside, written
from testbed.text import printable

RESULT = "result.json"
SCENARIO = "scenario.toml"
EVENTS = "events.jsonl"
EVENTS_ADDRESS = "events.address"
DIARY = "rounds.jsonl"  # in a federated edge's own folder: what it installed, and what its ledger held by then
FIGURE_DATA = "figures/data.npz"
REPORT = "report.html"
CODECS = "codecs"
SUMMARY = "received/server.json"  # what the server counted, and what each node measured
IQ = "received/iq.npz"  # the first samples as they came
RECORDING = "recording"  # folder of the SigMF recording
FRAMES = "received", "frame-*.npz"  # folder and pattern of ``frame_name``


def node_name(node: str) -> str:
    """Where a node's own configuration lies."""
    return f"nodes/{node}.toml"


def log_name(node: str) -> str:
    """Where a node's log lies."""
    return f"logs/{node}.log"


def frame_name(number: int) -> str:
    """Where a received frame's symbols lie."""
    return f"received/frame-{number:05d}.npz"


def figure_name(key: str, suffix: str) -> str:
    """Where a figure lies, as ``svg`` or ``png``."""
    return f"figures/{key}.{suffix}"


def pair_name(number: int, half: str) -> str:
    """Where the encoder or decoder of a round of a federation lies."""
    return f"rounds/{number:02d}/{half}.onnx"


def learner_folder(edge: str) -> str:
    """Where a federated edge keeps what is its own: records, ledger, installed pair."""
    return f"edges/{edge}"


def sample_name(index: int) -> str:
    """Where a picture of a federation's blindly chosen sample lies."""
    return f"sample/{index:03d}.png"


def sent_folder(node: str) -> str:
    """Where all lies that an edge handed in of what it sent."""
    return f"sent/{node}"


def may_hand_in(node: str, name: str) -> bool:
    """Whether a node may have its file kept under this name: directly in its own folder, plain, with a suffix."""
    return re.fullmatch(rf"{re.escape(sent_folder(node))}/[A-Za-z0-9_-]+\.[a-z0-9]+", name) is not None


def sent_name(node: str, index: int) -> str:
    """Where the ``index``-th picture of an edge lies as it was encoded."""
    return f"{sent_folder(node)}/{index:03d}.png"


def data_folder(node: str) -> str:
    """Where the pictures of an edge lie that its task deals it."""
    return f"data/{node}"


def symbols_name(node: str, index: int) -> str:
    """Where the symbols lie that an edge sent for that picture, [k] complex64 in the order in which they left."""
    return f"{sent_folder(node)}/{index:03d}.npy"


def received_name(node: str, index: int) -> str:
    """Where the server's reconstruction of that picture lies."""
    return f"received/{node}-{index:03d}.png"


def logits_name(node: str, index: int) -> str:
    """Where the server's logits of that picture lie, for a codec of labels."""
    return f"received/{node}-{index:03d}.json"


def bound_name(node: str, index: int) -> str:
    """Where its reconstruction over a known channel without other users lies."""
    return f"bound/{node}-{index:03d}.png"


class RunFolder:
    """A folder of one run. Names are relative, with ``/`` between parts; a name that leads outside is refused.

    Parameters
    ----------
    path : Path
        An existing folder.

    Raises
    ------
    DataError
        If ``path`` is not a folder.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise DataError(f"{path}: no such run folder. `semtb run SCENARIO` makes one and prints its path")

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @classmethod
    def create(cls, root: Path | str, name: str) -> RunFolder:
        """Make ``root/<UTC>-<name>-<6 hex>/``, a folder that was not there before."""
        now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        while True:
            path = Path(root) / f"{now}-{name}-{secrets.token_hex(3)}"
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                if path.parent.is_dir():
                    continue
                raise DataError(
                    f"{root}: is a file, so no run folder can be made in it; choose another --out"
                ) from None
            except OSError as error:
                raise DataError(f"{root}: cannot make a run folder: {error.strerror}; choose another --out") from error
            return cls(path)

    def file(self, name: str) -> Path:
        """The path of ``name``; it need not exist.

        Raises
        ------
        DataError
            If the name is empty, absolute, has ``..`` or a backslash, ends in ``.tmp`` or follows a link outside.
        """
        parts = PurePosixPath(name)
        plain = bool(parts.parts) and not parts.is_absolute() and ".." not in parts.parts
        if not plain or any(c in name for c in "\\\0") or name.endswith(ASIDE):
            raise self._refusal(name)
        path = self.path / parts
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise self._refusal(name)
        return path

    def has(self, name: str) -> bool:
        """Whether the file is there."""
        return self.file(name).is_file()

    def names(self, folder: str, pattern: str = "*") -> list[str]:
        """Relative names of the files in ``folder`` that match, numbers in them in order; empty without it."""
        found = (self.path if folder == "." else self.file(folder)).glob(pattern)
        names = [p.relative_to(self.path).as_posix() for p in found if p.is_file() and p.suffix != ASIDE]
        return sorted(names, key=in_order)

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Write beside the file, then rename: a reader sees the old file or the new one, never a part."""
        return write_aside(self.file(name), data)

    def write_text(self, name: str, text: str) -> Path:
        """UTF-8, lines ended by \\n on every system; what is not UTF-8 in a path is made printable."""
        return self.write_bytes(name, printable(text).encode())

    def write_json(self, name: str, value: Any) -> Path:
        """Indented JSON of plain values, msgspec structs and NumPy values. What is not finite becomes null."""
        return self.write_bytes(name, msgspec.json.format(encode(value), indent=2) + b"\n")

    def write_png(self, name: str, picture: np.ndarray) -> Path:
        """[H, W] or [H, W, 3] uint8, lossless."""
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(picture, dtype=np.uint8)).save(buffer, format="png")
        return self.write_bytes(name, buffer.getvalue())

    def write_npz(self, name: str, **arrays: np.ndarray) -> Path:
        """Compressed arrays by name; the same arrays give the same bytes."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        return self.write_bytes(name, buffer.getvalue())

    def write_npz_plain(self, name: str, **arrays: np.ndarray) -> Path:
        """As `write_npz`, uncompressed: noise hardly becomes smaller, and compressing takes most of the time."""
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        return self.write_bytes(name, buffer.getvalue())

    def append_line(self, name: str, value: Any) -> None:
        """Append one line of JSON in one write call, so that a reader of the growing file sees whole lines."""
        path = self.file(name)
        with written(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab", buffering=0) as stream:
                stream.write(encode(value) + b"\n")

    def read_bytes(self, name: str) -> bytes:
        """The whole file. DataError names it if it is not there."""
        try:
            return self.file(name).read_bytes()
        except OSError as error:
            raise DataError(f"{self.path / name}: {error.strerror or error}") from error

    def read_text(self, name: str) -> str:
        """The whole file as UTF-8; bytes that are not are shown as U+FFFD (a log may hold anything)."""
        return self.read_bytes(name).decode(errors="replace")

    def read_json(self, name: str) -> Any:
        """Plain values."""
        return self._decode(name, self.read_bytes(name))

    def read_lines(self, name: str) -> list[Any]:
        """The values that ``append_line`` wrote. An unfinished last line, left by a killed process, is passed over."""
        lines = self.read_bytes(name).split(b"\n")[:-1]
        return [self._decode(name, line) for line in lines if line.strip()]

    def read_png(self, name: str) -> np.ndarray:
        """[H, W, 3] uint8."""
        try:
            with Image.open(io.BytesIO(self.read_bytes(name))) as picture:
                return np.asarray(picture.convert("RGB"))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{self.path / name}: not a picture that can be read: {error}") from error

    def read_npz(self, name: str) -> dict[str, np.ndarray]:
        """All arrays by name. Pickled objects are refused."""
        try:
            with np.load(io.BytesIO(self.read_bytes(name)), allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
        except (ValueError, OSError, EOFError, BadZipFile) as error:
            raise DataError(f"{self.path / name}: not an archive of arrays: {error}") from error

    def discard_partials(self) -> list[str]:
        """Remove what killed writers left aside. Call it when no process of the run is alive; returns the names."""
        left = sorted(p for p in self.path.rglob("*" + ASIDE) if p.is_file())
        for path in left:
            path.unlink(missing_ok=True)
        return [p.relative_to(self.path).as_posix() for p in left]

    def read_npy(self, name: str) -> np.ndarray:
        """One array. Pickled objects are refused."""
        try:
            array = np.load(io.BytesIO(self.read_bytes(name)), allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise DataError(f"{self.path / name}: not an array: {error}") from error
        if not isinstance(array, np.ndarray):
            raise DataError(f"{self.path / name}: an archive of arrays where one is wanted")
        return array

    def _refusal(self, name: str) -> DataError:
        return DataError(
            f"{name!r}: not a name inside the run folder; allowed: relative names without '..', not ending in {ASIDE}"
        )

    def _decode(self, name: str, data: bytes) -> Any:
        try:
            return msgspec.json.decode(data)
        except msgspec.DecodeError as error:
            raise DataError(f"{self.path / name}: not JSON: {error}") from error


def in_order(name: str) -> list[tuple[int, str]]:
    """Sorting key by which ``999.png`` comes before ``1000.png``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def encode(value: Any) -> bytes:
    """Compact JSON; NumPy scalars and arrays become numbers and lists, what is not finite becomes null."""
    return msgspec.json.encode(value, enc_hook=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
