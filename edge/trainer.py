"""An edge's own small classifier, trained on its own records over its own link. The one file of the edge with torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from testbed.codec.links import Link
from testbed.codec.train.classifier import Recipe, fit, logits_over, new_pair, weights
from testbed.data.partition import Labelled, write_arrays

OWN = "own.npz"  # weights, in the edge's folder; they are trained without protection and never leave it
OWN_STEPS = 250  # some 80 records of two classes need no more


def own_recipe(link: Link) -> Recipe:
    """Training over the link that this edge has and no other."""
    return Recipe(steps=OWN_STEPS, snr_db=(link.snr_db, link.snr_db), fading_share=float(link.kind == "Rayleigh"))


class OwnClassifier:
    """What an edge learns alone.

    Parameters
    ----------
    records : Labelled
    link : Link
    symbols, classes : int
    seed : int
    should_stop : callable
    """

    def __init__(
        self,
        records: Labelled,
        link: Link,
        symbols: int,
        classes: int,
        seed: int,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._records, self._link, self._seed = records, link, seed
        self._targets = np.eye(classes, dtype=np.float32)[records.labels]
        self._should_stop = should_stop
        self.pair = new_pair(records.pictures.shape[1], symbols, classes, seed)
        fit(self.pair, records.pictures, self._targets, own_recipe(link), seed, should_stop)

    def study(self, public: np.ndarray, probabilities: np.ndarray, number: int) -> None:
        """Learn on: its own records again, and what the installed classifier says of the public pictures."""
        pictures = np.concatenate([self._records.pictures, public])
        targets = np.concatenate([self._targets, probabilities.astype(np.float32)])
        fit(self.pair, pictures, targets, own_recipe(self._link), self._seed + number, self._should_stop)

    def logits(self, public: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """[m, classes] float32: what it says of public pictures that come over its own link."""
        _, no_eff = self._link.receive(np.zeros((len(public), self.pair.symbols), np.complex64), rng)
        return logits_over(self.pair, public, no_eff, int(rng.integers(2**31)))

    def write(self, folder: Path) -> Path:
        """Its weights, for the evaluator of an experiment; no message carries them."""
        return write_arrays(folder / OWN, **weights(self.pair))
