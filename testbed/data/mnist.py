"""MNIST from its original files, below SEMTB_DATA. Only the evaluator imports this file, as it does `digits`.

References
----------
Y. LeCun, C. Cortes, C. Burges, *The MNIST database of handwritten digits*: the IDX format, four big-endian integers
before pixels and two before labels.
"""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np

from testbed.data.cifar10 import data_root
from testbed.data.partition import Labelled
from testbed.data.split import Parts
from testbed.errors import DataError

SIDE = 28  # pixels
CLASSES = 10
PARTS = Parts(test=1000, validation=500, public=400, private=4000)  # drawn from the 60,000 training pictures
KEY = 0x3157
PICTURES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
MD5 = {PICTURES: "f68b3c2dcbeaaa9fbdd348bbdeb94873", LABELS: "d53e105ee54ea40749a09fcbcd1e9432"}
HEADER = {PICTURES: 16, LABELS: 8}  # bytes


def load() -> Labelled:
    """The 60,000 training pictures, pixels in 0..1.

    Returns
    -------
    Labelled
        [60000, 784].

    Raises
    ------
    DataError
        If SEMTB_DATA is not set, or a file is missing or not the original one.
    """
    folder = data_root() / "mnist"
    pictures, labels = (content(folder / name) for name in (PICTURES, LABELS))
    return Labelled(pictures.reshape(-1, SIDE * SIDE).astype(np.float32) / 255, labels)


def content(path: Path) -> np.ndarray:
    """The bytes behind the header of one original file.

    Raises
    ------
    DataError
        If it is missing or its md5 is not the original's; nothing is unpacked then.
    """
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. MNIST is read in its original files below SEMTB_DATA") from error
    digest = hashlib.md5(packed, usedforsecurity=False).hexdigest()
    if digest != MD5[path.name]:
        raise DataError(f"{path}: md5 {digest}, the original has {MD5[path.name]}: not read")
    return np.frombuffer(gzip.decompress(packed), np.uint8, offset=HEADER[path.name])
