"""Not a test: uploads of evidence about well separated clusters, whose labels are known to the tests alone."""

from __future__ import annotations

import numpy as np

from testbed.codec.evidence import Landmarks
from testbed.federation.base import Agreed, Released, ServerSide

CLASSES, PUBLIC, PRIVATE = 5, 200, 600


def released(name: str, value: np.ndarray, std: float, tensor: str = "evidence") -> Released:
    return Released(name, {tensor: value.astype(np.float32)}, std)


def value(upload: Released) -> np.ndarray:
    return upload.tensors["evidence"]


class World:
    """Symbols of well separated classes: public samples, and the exact evidence of private records of three clients."""

    def __init__(self, rng: np.random.Generator) -> None:
        centres = 2.0 * (rng.standard_normal((CLASSES, 6, 2)) @ np.array([1, 1j]))

        def draw(labels: np.ndarray) -> np.ndarray:
            noise = rng.standard_normal((len(labels), 6, 2)) @ np.array([1, 1j])
            return (centres[labels] + 0.4 * noise).astype(np.complex64)

        self.labels = rng.integers(0, CLASSES, PUBLIC)
        self.symbols = draw(self.labels)
        marks = Landmarks(self.symbols)
        self.own = marks.own()
        private = np.sort(rng.integers(0, CLASSES, PRIVATE))
        rows = marks.describe(draw(private))
        self.uploads = [
            released(f"edge-{k}", part.T @ np.eye(CLASSES)[of], 0.0)
            for k, (part, of) in enumerate(zip(np.array_split(rows, 3), np.array_split(private, 3), strict=True))
        ]

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """In place of the encoder of round 0."""
        return self.symbols

    def side(self) -> ServerSide:
        agreed = Agreed(samples=PUBLIC, pixels=1, symbols=6, classes=CLASSES, records_at_most=PRIVATE, weights={})
        return ServerSide(agreed, np.zeros((PUBLIC, 1)), 1, None, self)  # type: ignore[arg-type]

    def right(self, probabilities: np.ndarray) -> float:
        return float(np.mean(probabilities.argmax(axis=1) == self.labels))
