"""What a client learns alone before anybody asks: weights trained without protection, which never leave its disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from testbed.codec.links import Link
from testbed.data.partition import Labelled, read_arrays, write_arrays
from testbed.federation.models import Models, Training
from testbed.federation.tensors import Tensors

OWN = "own.npz"  # in the client's folder, for the evaluator of an experiment; no message carries it
OWN_STEPS = 250  # some 80 records of two classes need no more


def own_training(link: Link) -> Training:
    """Training over the link that a client has and no other."""
    return Training(steps=OWN_STEPS, link=link)


def learn_alone(
    models: Models, records: Labelled, classes: int, link: Link, seed: int, should_stop: Callable[[], bool]
) -> Tensors:
    """Weights learned from one client's own records over its own link.

    Parameters
    ----------
    models : Models
    records : Labelled
    classes : int
    link : Link
    seed : int
    should_stop : callable

    Returns
    -------
    dict of str to [...] float32

    Raises
    ------
    RunIncomplete
        If ``should_stop`` says so.
    """
    targets = np.eye(classes, dtype=np.float32)[records.labels]
    return models.fit(models.new(seed), records.pictures, targets, own_training(link), seed, should_stop)


def write_own(folder: Path, weights: Tensors) -> Path:
    """Keep a client's weights in its folder.

    Parameters
    ----------
    folder : Path
    weights : {name: array}

    Returns
    -------
    Path
        Of the file.
    """
    return write_arrays(folder / OWN, **weights)


def read_own(folder: Path, names: tuple[str, ...]) -> Tensors:
    """Read them from there.

    Parameters
    ----------
    folder : Path
    names : tuple of str

    Returns
    -------
    {name: array}

    Raises
    ------
    DataError
        If they are missing or others.
    """
    return read_arrays(folder / OWN, names)
