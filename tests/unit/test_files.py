"""Files in folders where others may write, too: what somebody laid there is never followed, never overwritten."""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path

import pytest

from testbed.errors import DataError
from testbed.files import ASIDE, write_aside


@pytest.mark.parametrize("target", ["there", "missing"])
def test_a_planted_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str):
    """Even if the name aside is guessed: the link's target is neither truncated nor made, the link itself stays."""
    victim = tmp_path / "victim"
    if target == "there":
        victim.write_text("precious")
    monkeypatch.setattr(secrets, "token_hex", lambda n: "0" * 2 * n)
    link = tmp_path / f"result.json.{'0' * 16}{ASIDE}"
    link.symlink_to(victim)
    with pytest.raises(DataError, match=r"result\.json: cannot be written: File exists"):
        write_aside(tmp_path / "result.json", b"new")
    assert link.is_symlink()
    assert victim.exists() == (target == "there")
    if target == "there":
        assert victim.read_text() == "precious"


def test_the_name_aside_cannot_be_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two writes of one file go through two names, each with 64 random bits."""
    seen = []
    real = os.replace

    def note(aside: Path, path: Path) -> None:
        seen.append(Path(aside).name)
        real(aside, path)

    monkeypatch.setattr(os, "replace", note)
    for _ in range(2):
        write_aside(tmp_path / "x", b"")
    assert len(set(seen)) == 2
    assert all(len(name) == len(f"x.{'0' * 16}{ASIDE}") for name in seen)


def test_a_link_in_place_of_the_file_itself_is_replaced_not_followed(tmp_path: Path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "x").symlink_to(victim)
    write_aside(tmp_path / "x", b"new")
    assert victim.read_text() == "precious"
    assert (tmp_path / "x").read_bytes() == b"new"
    assert not (tmp_path / "x").is_symlink()


def test_two_who_write_one_file_at_a_time_leave_one_of_the_two_whole(tmp_path: Path):
    """200 writes by two threads, none of which fails; nothing is left aside."""
    failed: list[Exception] = []

    def write(fill: bytes) -> None:
        try:
            for _ in range(100):
                write_aside(tmp_path / "x", fill * 50_000)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(fill,)) for fill in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert (tmp_path / "x").read_bytes() in (b"a" * 50_000, b"b" * 50_000)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
