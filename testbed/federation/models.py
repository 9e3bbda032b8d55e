"""What a strategy asks of the models that are trained: functions of named weights. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol

import msgspec
import numpy as np

from testbed.codec.links import Link
from testbed.errors import ScenarioError
from testbed.federation.tensors import Tensors

ENTRY_POINTS = "semtb.federated_models"
MODELS = {"classifier": "testbed.federation.training:ClassifierModels"}


class Training(msgspec.Struct, frozen=True):
    """How models are trained. Values were chosen on validation parts, never on test parts."""

    steps: int = 800
    learning_rate: float = 3e-3
    link: Link | None = None  # over which pictures are sent; None: links of all kinds


class Models(Protocol):
    """Pairs of encoder and classifier for pictures [n, pixels], as weights by name."""

    def new(self, seed: int) -> Tensors:
        """Weights drawn from a seed, float32."""
        ...

    def fit(
        self,
        weights: Tensors,
        pictures: np.ndarray,
        targets: np.ndarray,
        training: Training,
        seed: int,
        should_stop: Callable[[], bool],
    ) -> Tensors:
        """Weights trained on from given ones.

        Parameters
        ----------
        weights : {name: array}
            To begin from; not changed.
        pictures : [n, pixels] float32
        targets : [n, classes] float32
            Rows of probabilities.
        training : Training
        seed : int
        should_stop : callable

        Returns
        -------
        {name: array}
            float32.
        """
        ...

    def logits(self, weights: Tensors, pictures: np.ndarray, no_eff: np.ndarray, seed: int) -> np.ndarray:
        """Logits of pictures sent over links of given error variances.

        Parameters
        ----------
        weights : {name: array}
        pictures : [n, pixels] float32
        no_eff : [n, k] float32
            Error variances.
        seed : int
            Of the noise.

        Returns
        -------
        [n, classes] float32
        """
        ...

    def export(self, weights: Tensors) -> tuple[bytes, bytes]:
        """Encoder and decoder as ONNX."""
        ...

    def first(self, public: np.ndarray) -> tuple[bytes, bytes]:
        """Encoder learned from pictures [m, pixels] without labels, and a decoder that knows nothing, as ONNX."""
        ...


def open_models(name: str, pixels: int, symbols: int, classes: int) -> Models:
    """The models of a name, for pictures of so many pixels, channel uses and classes.

    Parameters
    ----------
    name : str
    pixels, symbols, classes : int
        ``symbols``: complex channel uses of a picture.

    Returns
    -------
    Models

    Raises
    ------
    ScenarioError
        If none has this name; the message lists those that are known.
    """
    added = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in MODELS:
        module, _, attribute = MODELS[name].partition(":")
        return getattr(import_module(module), attribute)(pixels, symbols, classes)
    if name in added:
        return added[name].load()(pixels, symbols, classes)
    raise ScenarioError(f"codec = {name}: allowed: {', '.join(sorted({*MODELS, *added}))}")
