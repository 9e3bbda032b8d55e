r"""Strategy ``mean-logits``: the plain mean of the clients' logits, distilled. Kept to show that it fails.

As in many papers, each client says what its own classifier thinks of the public pictures. One that saw two classes says
one of these two of everything, and says it with confidence, so the mean stays far behind however many clients there are
(at chance where each saw one class); and since one record may change a whole model, the sensitivity grows with the
number of public samples.
"""

from __future__ import annotations

import numpy as np

from testbed.codec.classifier import Classifier
from testbed.federation.alone import own_training
from testbed.federation.base import (
    Agreed,
    ClientSide,
    Release,
    Released,
    ServerSide,
    Strategy,
    distilled,
    softmax,
)
from testbed.federation.tensors import Spec, Tensors
from testbed.privacy.sensitivity import bounded_table_sensitivity, clip_rows

LOGITS = "logits"
LOGIT_BOUND = 10.0  # L2 norm of a row of centred logits; trained classifiers stay near it


def release(agreed: Agreed) -> Release:
    """A table of rows at most ``LOGIT_BOUND`` long, of which one record may change all."""
    rows, classes = agreed.samples, agreed.classes
    spec = Spec((rows, classes), l2=LOGIT_BOUND * rows**0.5, largest=LOGIT_BOUND)
    return Release({LOGITS: spec}, bounded_table_sensitivity(rows, classes, LOGIT_BOUND))


class LogitsClient:
    """The client's half: its own classifier, which learns on from what the installed one says."""

    def __init__(self, side: ClientSide) -> None:
        self._side, self._weights = side, side.own

    def value(self, number: int, pair: Classifier, sent: Tensors) -> Tensors:
        side = self._side
        rng = np.random.default_rng(np.random.SeedSequence(side.seed, spawn_key=(1, number)))
        if number > 1:  # in the first round the installed classifier knows nothing that could be studied
            received, no_eff = side.link.receive(pair.encode(side.public), rng)
            self._study(softmax(pair.logits(received, no_eff)), number)
        nothing = np.zeros((len(side.public), side.agreed.symbols), np.complex64)
        _, no_eff = side.link.receive(nothing, rng)
        logits = side.models.logits(self._weights, side.public, no_eff, int(rng.integers(2**31)))
        return {LOGITS: clip_rows(logits - logits.mean(axis=1, keepdims=True), LOGIT_BOUND)}

    def _study(self, probabilities: np.ndarray, number: int) -> None:
        side = self._side
        pictures = np.concatenate([side.records.pictures, side.public])
        targets = np.concatenate([side.targets(), probabilities])
        training, seed = own_training(side.link), side.seed + number
        self._weights = side.models.fit(self._weights, pictures, targets, training, seed, side.should_stop)


class LogitsServer:
    """The server's half: the mean of the last round in which anybody gave anything."""

    def __init__(self, side: ServerSide) -> None:
        self._side = side
        self._mean = np.zeros((side.agreed.samples, side.agreed.classes))

    def sends(self) -> Tensors:
        return {}

    def take(self, uploads: list[Released]) -> None:
        if uploads:
            self._mean = np.mean([u.tensors[LOGITS] for u in uploads], axis=0, dtype=np.float64)

    def probabilities(self) -> np.ndarray:
        """[m, classes] float32: of the classes of the public samples."""
        return softmax(self._mean)

    def teach(self, number: int) -> tuple[bytes, bytes]:
        return distilled(self._side, self.probabilities(), number)


MEAN_LOGITS = Strategy("mean-logits", "what does not work, and shows it", release, LogitsClient, LogitsServer)
