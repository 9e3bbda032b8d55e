"""A Pluto's radio where pyadi-iio, libiio's binding or the C library is missing: the command that installs it."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from testbed.errors import MissingExtra
from testbed.radio.base import RadioSettings
from testbed.radio.registry import open_radio
from tests.hidden.sitecustomize import Hiding

SETTINGS = RadioSettings(1.92e6, rx_channels=1)


@pytest.mark.parametrize("module", ["adi", "iio"])
def test_without_the_extra_its_name_is_said(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With one of the two there, the other is named."""
    for name in ("adi", "iio"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(Hiding, "hidden", frozenset({module}))
    monkeypatch.setattr(sys, "meta_path", [Hiding if f is PathFinder else f for f in sys.meta_path])
    with pytest.raises(MissingExtra, match=rf"\({module} is missing\): pip install 'semcom-testbed\[pluto\]'"):
        open_radio("pluto:ip:127.0.0.2", SETTINGS)


@pytest.mark.parametrize(
    "fails",
    ["import ctypes; ctypes.CDLL(None).iio_get_backends_count", "import ctypes; ctypes.CDLL('libno-such.so.0')"],
)
def test_without_the_c_library_its_package_is_said(fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """AttributeError, as the binding raises where no library is found, and OSError, where it cannot be loaded."""
    for name, text in (("adi", "import iio\n"), ("iio", f"{fails}\n")):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match="sudo apt-get install libiio0"):
        open_radio("pluto:ip:127.0.0.2", SETTINGS)
