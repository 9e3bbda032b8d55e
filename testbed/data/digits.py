"""The 1,797 handwritten digits of UCI that scikit-learn carries, cut into what each party may see.

Only the evaluator imports this file: clients get their own records, server and clients the public pictures, each as
files. A contract of import-linter keeps edge and server from it.
"""

from __future__ import annotations

import msgspec
import numpy as np
from sklearn.datasets import load_digits

from testbed.data.partition import Labelled, Unlabelled, slices_by_label

SIDE = 8  # pixels
CLASSES = 10
TEST, VALIDATION, PUBLIC = 400, 197, 400  # the rest, 800, is private: 20 slices of 40


class Split(msgspec.Struct, frozen=True):
    """Disjoint parts of one data set."""

    clients: list[Labelled]  # each client's own, seen by it alone
    public: Unlabelled  # seen by all
    public_labels: np.ndarray  # [n] int64, for the evaluator
    validation: Labelled  # for the evaluator: what hyperparameters were chosen on
    test: Labelled  # for the evaluator: what is reported


def load() -> Labelled:
    """All digits, pixels in 0..1."""
    pictures, labels = load_digits(return_X_y=True)
    return Labelled((pictures / 16.0).astype(np.float32), labels)


def split(seed: int, clients: int = 10, slices_each: int = 2) -> Split:
    """Cut at random, then deal the private part by label.

    Parameters
    ----------
    seed : int
    clients, slices_each : int
        The private part is sorted by label and cut into ``clients * slices_each`` slices.
    """
    data = load()
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0xD161,)))
    test, validation, public, private = np.split(rng.permutation(len(data)), np.cumsum([TEST, VALIDATION, PUBLIC]))
    own = data[private]
    dealt = slices_by_label(own.labels, clients, slices_each, rng)
    return Split(
        clients=[own[index] for index in dealt],
        public=data[public].without_labels(),
        public_labels=data.labels[public],
        validation=data[validation],
        test=data[test],
    )
