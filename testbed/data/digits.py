"""The 1,797 handwritten digits of UCI that scikit-learn carries.

Only the evaluator imports this file: a contract of import-linter keeps edge and server from it.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from testbed.data.partition import Labelled
from testbed.data.split import Parts, Split, cut

SIDE = 8  # pixels
CLASSES = 10
PARTS = Parts(test=400, validation=197, public=400, private=800)  # all of them
KEY = 0xD161


def load() -> Labelled:
    """All digits, pixels in 0..1."""
    pictures, labels = load_digits(return_X_y=True)
    return Labelled((pictures / 16.0).astype(np.float32), labels)


def split(seed: int, clients: int = 10, slices_each: int = 2) -> Split:
    """The clients' parts of scikit-learn's digits; see `testbed.data.split.cut`.

    Parameters
    ----------
    seed : int
    clients : int
    slices_each : int
        Slices of like labels that each client gets.

    Returns
    -------
    Split
    """
    return cut(load, PARTS, KEY, seed, clients, slices_each)
