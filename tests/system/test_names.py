"""A run of files whose names no terminal shows: folder, pictures and run folder in Latin-1."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from testbed.record.folder import RunFolder
from testbed.record.schema import read_result

pytestmark = pytest.mark.timeout(240)


def test_a_run_of_names_that_are_not_utf8(start_run: Callable[..., Any], tmp_path: Path):
    """It is done like any other; result and page show the names printable. What was sent is composed on white."""
    images = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    images.mkdir()
    for name in (b"a\xff.png", b"b\xe9.png"):
        pixels = np.zeros((64, 64, 4), np.uint8)
        pixels[..., 0] = 200
        pixels[32:, :, 3] = 255
        with open(os.path.join(os.fsencode(images), name), "wb") as file:
            Image.fromarray(pixels).save(file, "png")
    out = Path(os.fsdecode(os.fsencode(tmp_path) + b"/out\xe9"))
    run = start_run("--images", str(images), "--out", str(out))
    assert run.finish() == 0, run.errors
    folder = RunFolder(out)
    names = [p.name for user in read_result(folder).metrics.users for p in user.pictures]
    assert names == ["a\\xff", "b\\xe9"]
    assert r"caf\xe9" in read_result(folder).command
    assert "b\\xe9" in folder.read_text("report.html")
    sent = folder.read_png("sent/edge-1/000.png")
    assert (sent[:32] == 255).all() and (sent[32:] == [200, 0, 0]).all()
