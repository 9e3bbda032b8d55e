"""What an edge sent, as the evaluator knows it."""

from __future__ import annotations

import msgspec
import numpy as np

from testbed.codec.base import Codec
from testbed.data.pictures import Picture


class Sent(msgspec.Struct):
    """One edge's pictures and their symbols, in the order in which they left."""

    node: str
    user: int
    pictures: list[Picture]
    symbols: list[np.ndarray]  # [k] complex64 each
    codecs: list[Codec]  # that made them
    labels: list[int] | None = None  # what the pictures show, of a task with labels
