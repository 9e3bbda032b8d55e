"""The classifier's training as a strategy asks for it: the one file of federation with torch, imported when opened."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from testbed.codec.train import classifier
from testbed.federation.models import Training
from testbed.federation.tensors import Tensors


class ClassifierModels:
    """Joint source-channel classifiers of :mod:`testbed.codec.train.classifier`.

    Parameters
    ----------
    pixels, symbols, classes : int
        ``symbols``: complex channel uses of a picture.
    """

    def __init__(self, pixels: int, symbols: int, classes: int) -> None:
        self.pixels, self.symbols, self.classes = pixels, symbols, classes

    def new(self, seed: int) -> Tensors:
        return classifier.weights(classifier.new_pair(self.pixels, self.symbols, self.classes, seed))

    def fit(
        self,
        weights: Tensors,
        pictures: np.ndarray,
        targets: np.ndarray,
        training: Training,
        seed: int,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Tensors:
        recipe = classifier.Recipe(steps=training.steps, learning_rate=training.learning_rate)
        if training.link is not None:
            recipe = classifier.Recipe(
                steps=training.steps,
                learning_rate=training.learning_rate,
                snr_db=(training.link.snr_db, training.link.snr_db),
                fading_share=float(training.link.kind == "Rayleigh"),
            )
        pair = classifier.fit(self._pair(weights), pictures, targets, recipe, seed, should_stop)
        return classifier.weights(pair)

    def logits(self, weights: Tensors, pictures: np.ndarray, no_eff: np.ndarray, seed: int) -> np.ndarray:
        return classifier.logits_over(self._pair(weights), pictures, no_eff, seed)

    def export(self, weights: Tensors) -> tuple[bytes, bytes]:
        return classifier.export(self._pair(weights))

    def first(self, public: np.ndarray) -> tuple[bytes, bytes]:
        return classifier.export(classifier.first_pair(public, self.symbols, self.classes))

    def _pair(self, weights: Tensors) -> classifier.Pair:
        pair = classifier.new_pair(self.pixels, self.symbols, self.classes, 0)
        return classifier.with_weights(pair, {name: value.copy() for name, value in weights.items()})
