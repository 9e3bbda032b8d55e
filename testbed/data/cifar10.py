"""CIFAR-10 from its original files: checksums first, then an unpickler that builds arrays and nothing else."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from pathlib import Path

import numpy as np

from testbed.errors import DataError

# md5 of the files inside cifar-10-python.tar.gz, https://www.cs.toronto.edu/~kriz/cifar.html
MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
FOLDER = Path("cifar10") / "cifar-10-batches-py"
PICTURES_A_FILE = 10_000


class ArrayUnpickler(pickle.Unpickler):
    """Knows the three names that a pickled NumPy array is made of, and refuses every other."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}:
            return np.ndarray(0).__reduce__()[0]  # where NumPy keeps it now: the module moved in NumPy 2
        if module == "numpy" and name in {"ndarray", "dtype"}:
            return getattr(np, name)
        raise DataError(f"a CIFAR-10 file holds {module}.{name}, which no original file does: not read")


def data_root() -> Path:
    """The folder named by SEMTB_DATA.

    Raises
    ------
    DataError
        If the variable is not set or names no folder.
    """
    value = os.environ.get("SEMTB_DATA", "")
    if not value:
        raise DataError(
            "SEMTB_DATA is not set: point it at the folder that holds cifar10/ and mnist/ in original files"
        )
    root = Path(value)
    if not root.is_dir():
        raise DataError(f"SEMTB_DATA = {value}: no such folder")
    return root


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and labels of one original file.

    Returns
    -------
    pictures : [10000, 3, 32, 32] uint8
    labels : [10000] uint8

    Raises
    ------
    DataError
        If the file is missing or its md5 is not the original's; nothing is unpickled then.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror}. CIFAR-10 is read in its original layout below SEMTB_DATA"
        ) from error
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != MD5.get(path.name):
        raise DataError(f"{path}: md5 {digest}, the original has {MD5.get(path.name, 'no such file')}: not read")
    batch = ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    pictures = np.asarray(batch[b"data"], dtype=np.uint8).reshape(PICTURES_A_FILE, 3, 32, 32)
    return pictures, np.asarray(batch[b"labels"], dtype=np.uint8)


def load_test() -> np.ndarray:
    """[10000, 3, 32, 32] uint8: the test pictures."""
    return read_batch(data_root() / FOLDER / "test_batch")[0]


def load_training() -> np.ndarray:
    """[P, 3, 32, 32] uint8: the training pictures of every original file that is there, in the files' order.

    Raises
    ------
    DataError
        If none is there.
    """
    folder = data_root() / FOLDER
    present = [folder / name for name in sorted(MD5) if name.startswith("data_batch") and (folder / name).exists()]
    if not present:
        raise DataError(f"{folder}: no data_batch_1 ... data_batch_5; CIFAR-10 is read in its original files")
    return np.concatenate([read_batch(path)[0] for path in present])
