"""The run folder: whole files or none, and nothing outside it."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
from pathlib import Path

import numpy as np
import pytest

from testbed.errors import DataError
from testbed.record.folder import RunFolder, sent_name


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A fresh run folder."""
    return RunFolder.create(tmp_path / "runs", "two-users")


def test_folder_is_named_by_time_scenario_and_id(folder: RunFolder):
    """The form that the README promises; two of the same second differ."""
    assert re.fullmatch(r"20\d{6}T\d{6}Z-two-users-[0-9a-f]{6}", folder.path.name)
    assert RunFolder.create(folder.path.parent, "two-users").path != folder.path


def test_root_that_is_a_file_is_refused_in_one_line(tmp_path: Path):
    """The message names the path and the option."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file.*--out"):
        RunFolder.create(tmp_path / "file", "x")
    with pytest.raises(DataError, match="no such run folder"):
        RunFolder(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", ".", "a\\..\\x", "a\0b", "x.tmp", "link/x"])
def test_name_that_leads_outside_is_refused(folder: RunFolder, name: str):
    """Names come from other processes: none of these writes a byte anywhere."""
    (folder.path / "link").symlink_to(folder.path.parent)
    before = sorted(folder.path.parent.rglob("*"))
    with pytest.raises(DataError, match="not a name inside"):
        folder.write_text(name, "x")
    with pytest.raises(DataError, match="not a name inside"):
        folder.append_line(name, {})
    with pytest.raises(DataError, match="not a name inside"):
        folder.read_bytes(name)
    assert sorted(folder.path.parent.rglob("*")) == before


def test_failed_write_keeps_the_old_file_and_leaves_nothing_aside(folder: RunFolder):
    """The system takes two bytes and no more."""
    folder.write_text("a/result.json", "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, hard))
    try:
        with pytest.raises(DataError, match=r"result\.json: cannot be written: File too large"):
            folder.write_text("a/result.json", "new, and longer")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert folder.read_text("a/result.json") == "old"
    assert sorted(p.name for p in (folder.path / "a").iterdir()) == ["result.json"]


def _write_until_killed(path: str, started: object) -> None:
    folder = RunFolder(path)
    for k in range(10**9):
        folder.write_bytes("big", bytes([k % 251]) * 2_000_000)
        started.set()  # type: ignore[attr-defined]


def test_killed_writer_leaves_a_whole_file(folder: RunFolder):
    """kill -9 in the middle of writing, five times: what is under the name is whole; what lies aside can be removed."""
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        started = context.Event()
        writer = context.Process(target=_write_until_killed, args=(str(folder.path), started))
        writer.start()
        assert started.wait(20)
        writer.kill()
        writer.join()
        data = folder.read_bytes("big")
        assert len(data) == 2_000_000
        assert data == data[:1] * len(data)
    folder.discard_partials()
    assert folder.names(".") == ["big"]
    assert not list(folder.path.rglob("*.tmp"))


def test_lines_are_appended_whole_and_a_torn_last_one_is_passed_over(folder: RunFolder):
    """Each line by one write call; NumPy values are plain numbers, what is not finite is null."""
    folder.append_line("events.jsonl", {"frame": np.int64(1), "sinr_db": np.float32(1.5)})
    folder.append_line("events.jsonl", {"frame": 2, "sinr_db": float("nan")})
    with folder.file("events.jsonl").open("ab") as stream:
        stream.write(b'{"frame": 3, "sin')
    assert folder.read_lines("events.jsonl") == [{"frame": 1, "sinr_db": 1.5}, {"frame": 2, "sinr_db": None}]


def test_one_write_call_a_line(folder: RunFolder, monkeypatch: pytest.MonkeyPatch):
    """A reader of the growing file never sees half a line, however long it is."""
    sizes = []
    real = Path.open

    def spy(self: Path, *args: object, **kwargs: object):
        stream = real(self, *args, **kwargs)
        assert kwargs.get("buffering") == 0
        write = stream.write

        class Counting:
            def __enter__(self):
                return self

            def __exit__(self, *exc: object) -> None:
                stream.close()

            def write(self, data: bytes) -> int:
                sizes.append(len(data))
                return write(data)

        return Counting()

    monkeypatch.setattr(Path, "open", spy)
    folder.append_line("events.jsonl", list(range(50_000)))
    assert len(sizes) == 1
    assert sizes[0] > 200_000


def test_arrays_and_pictures_come_back_as_they_were(folder: RunFolder, rng: np.random.Generator):
    """Bit by bit, and the same arrays give the same bytes."""
    picture = rng.integers(0, 256, (13, 7, 3), dtype=np.uint8)
    folder.write_png("sent/edge-1/000.png", picture)
    assert np.array_equal(folder.read_png("sent/edge-1/000.png"), picture)
    arrays = {"a": rng.normal(size=(3, 4)), "b": np.zeros(0, np.complex64)}
    first = folder.write_npz("x.npz", **arrays).read_bytes()
    assert folder.write_npz("y.npz", **arrays).read_bytes() == first
    back = folder.read_npz("x.npz")
    assert back["b"].dtype == np.complex64
    assert np.array_equal(back["a"], arrays["a"])
    folder.write_json("x.json", {"k": arrays["b"], "p": folder.path})
    assert json.loads(folder.read_text("x.json")) == {"k": [], "p": os.fspath(folder.path)}


@pytest.mark.parametrize("read", ["read_bytes", "read_json", "read_png", "read_npz", "read_lines"])
def test_missing_and_damaged_files_are_named(folder: RunFolder, read: str):
    """One error class, with the path; never a traceback of a library."""
    with pytest.raises(DataError, match="thing"):
        getattr(folder, read)("thing")
    folder.write_bytes("thing", b"PK\x03\x04 no\n")
    if read != "read_bytes":
        with pytest.raises(DataError, match="thing"):
            getattr(folder, read)("thing")


def test_pickled_objects_are_not_loaded(folder: RunFolder):
    """An archive from elsewhere must not run code."""
    np.savez(folder.path / "evil.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="evil"):
        folder.read_npz("evil.npz")


def test_names_come_in_the_order_of_their_numbers(folder: RunFolder):
    """999 before 1000, so that the k-th file is the k-th picture however many there are."""
    for index in (1000, 2, 999, 10_000):
        folder.write_text(sent_name("edge-1", index), "")
    names = folder.names("sent/edge-1", "*.png")
    assert names == [sent_name("edge-1", index) for index in (2, 999, 1000, 10_000)]
    assert folder.names("sent/nobody") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_a_line_that_does_not_fit_names_its_file(folder: RunFolder, monkeypatch: pytest.MonkeyPatch):
    """A disk that is full: the error is ours and names the file, not the caller's colleague."""
    monkeypatch.setattr(folder, "file", lambda name: Path("/dev/full"))
    with pytest.raises(DataError, match="/dev/full: cannot be written: No space left"):
        folder.append_line("events.jsonl", {})
