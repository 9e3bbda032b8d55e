"""CIFAR-10 is read from original files only, and a pickle can build nothing but arrays."""

from __future__ import annotations

import hashlib
import io
import os
import pickle

import numpy as np
import pytest

from testbed.data import cifar10
from testbed.errors import DataError


class Payload:
    """A pickle that would run a command when loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.path,)


def test_a_changed_file_is_refused_before_anything_is_unpickled(tmp_path):
    """One changed file whose pickle would act: the checksum stops it, and the act does not happen."""
    trap = tmp_path / "made-by-the-pickle"
    path = tmp_path / "test_batch"
    path.write_bytes(pickle.dumps(Payload(str(trap))))
    with pytest.raises(DataError, match="md5"):
        cifar10.read_batch(path)
    assert not trap.exists()


def test_the_unpickler_refuses_what_no_original_file_holds(tmp_path, monkeypatch):
    """Even with a checksum that matches: a name outside arrays is refused, and not called."""
    trap = tmp_path / "made-by-the-pickle"
    content = pickle.dumps(Payload(str(trap)))
    path = tmp_path / "test_batch"
    path.write_bytes(content)
    monkeypatch.setitem(cifar10.MD5, "test_batch", hashlib.md5(content).hexdigest())
    with pytest.raises(DataError, match="mkdir"):
        cifar10.read_batch(path)
    assert not trap.exists()


def test_the_unpickler_builds_arrays():
    """A dictionary of an array and a list, which is all that the original files hold."""
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = pickle.dumps({b"data": array, b"labels": [1, 2]}, protocol=4)
    read = cifar10.ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    assert np.array_equal(read[b"data"], array)


def test_the_message_says_what_to_set(monkeypatch):
    """Unset variable, and a folder that is none."""
    monkeypatch.delenv("SEMTB_DATA", raising=False)
    with pytest.raises(DataError, match="SEMTB_DATA is not set"):
        cifar10.data_root()
    monkeypatch.setenv("SEMTB_DATA", "/nowhere/at/all")
    with pytest.raises(DataError, match="/nowhere/at/all"):
        cifar10.data_root()


@pytest.mark.needs("data")
def test_the_test_set_is_the_one_that_papers_use():
    """10,000 pictures whose channel means are the published ones (0.4942, 0.4851, 0.4504) to four digits."""
    planes = cifar10.load_test()
    assert planes.shape == (10_000, 3, 32, 32)
    assert planes.mean(axis=(0, 2, 3)) / 255 == pytest.approx([0.4942, 0.4851, 0.4504], abs=1e-4)
