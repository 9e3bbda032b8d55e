"""Compiled kernels and lists of fonts have a place whatever can be written, or one line says that there is none."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from testbed.cli import caches
from testbed.errors import DataError

NOWHERE = "/dev/null/home"  # which nobody can make, root included


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (caches.KERNELS, caches.FONTS, "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", NOWHERE)
    monkeypatch.setattr(caches, "beside_the_code", lambda: False)
    monkeypatch.setattr(caches.atexit, "register", lambda *_: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in (caches.KERNELS, caches.FONTS):
        monkeypatch.setenv(name, "")  # so that what is set is undone


def test_without_a_home_kernels_have_a_private_folder_and_a_line_says_so(no_home: None, tmp_path: Path):
    line = caches.keep_caches()
    assert "for this command alone" in line and caches.KERNELS in line
    folder = Path(os.environ[caches.KERNELS]).parent
    assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
    assert os.environ[caches.FONTS].startswith(str(folder))


def test_a_user_whom_the_system_does_not_know_has_no_home_either(no_home: None, monkeypatch: pytest.MonkeyPatch):
    """Path.home() raises where HOME is not set and the user has no entry."""

    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    assert "for this command alone" in caches.keep_caches()


def test_no_place_at_all_is_one_error_that_says_what_to_do(no_home: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", NOWHERE)
    with pytest.raises(DataError, match="export NUMBA_CACHE_DIR=DIR"):
        caches.keep_caches()


def test_kernels_compile_where_neither_code_nor_home_can_be_written(tmp_path: Path):
    """Numba itself, in a fresh process, told of a folder as a command is: it defines and runs a kernel."""
    code = "from testbed.cli import caches; caches.beside_the_code = lambda: False; print(caches.keep_caches())"
    code += "; from testbed.phy import _kernels; import os; print(os.environ['NUMBA_CACHE_DIR'])"
    environment = {k: v for k, v in os.environ.items() if k not in (caches.KERNELS, caches.FONTS, "XDG_CACHE_HOME")}
    environment |= {"HOME": NOWHERE, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, env=environment)
    line, folder = done.stdout.splitlines()
    assert "for this command alone" in line, done.stderr
    assert Path(folder).is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == [], "the folder goes with its process"
