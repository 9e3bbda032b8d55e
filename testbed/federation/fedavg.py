r"""Strategy ``fedavg``: every client trains the shared weights a little, and the server adds the mean of the changes.

A client's change is clipped as a whole, :math:`\Delta \min(1, C/\lVert\Delta\rVert_2)`. One record may change all of a
client's training, so the L2 sensitivity of a change is 2C whatever the mechanism: noise for it is far above what the
mean of a few clients can bear. The mean is that of clients, not of records: how many records a client has is private.

References
----------
B. McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017.
"""

from __future__ import annotations

import math

import numpy as np

from testbed.codec.classifier import Classifier
from testbed.federation.base import Agreed, ClientSide, Release, Released, ServerSide, Strategy
from testbed.federation.models import Training
from testbed.federation.tensors import Spec, Tensors
from testbed.privacy.sensitivity import Sensitivity

STEPS, LEARNING_RATE = 10, 2e-3  # of a client's share of one round; some 16 epochs of its records
CHANGE = STEPS * LEARNING_RATE  # root mean square of a whole change: Adam moves a weight by its rate in a step, if that


def change_bound(agreed: Agreed) -> float:
    """C: the L2 norm that a client's change of all weights never exceeds."""
    return CHANGE * math.sqrt(sum(math.prod(shape) for shape in agreed.weights.values()))


def release(agreed: Agreed) -> Release:
    """A change of every weight, all of them together at most C long."""
    bound, count = change_bound(agreed), sum(math.prod(shape) for shape in agreed.weights.values())
    specs = {name: Spec(shape, l2=bound, largest=bound) for name, shape in agreed.weights.items()}
    return Release(specs, Sensitivity(l2=2 * bound, l1=2 * bound * math.sqrt(count)))


def sends(agreed: Agreed) -> dict[str, Spec]:
    """The shared weights."""
    return {name: Spec(shape) for name, shape in agreed.weights.items()}


class AveragingClient:
    """The client's half."""

    def __init__(self, side: ClientSide) -> None:
        self._side, self._bound = side, change_bound(side.agreed)

    def value(self, number: int, pair: Classifier, sent: Tensors) -> Tensors:
        side = self._side
        training = Training(steps=STEPS, learning_rate=LEARNING_RATE, link=side.link)
        seed = side.seed + 100_000 * number
        learned = side.models.fit(sent, side.records.pictures, side.targets(), training, seed, side.should_stop)
        return clipped({name: learned[name].astype(np.float64) - sent[name] for name in sent}, self._bound)


class AveragingServer:
    """The server's half: the shared weights, which begin as drawn from the seed."""

    def __init__(self, side: ServerSide) -> None:
        self._models, self.weights = side.models, side.models.new(side.seed)

    def sends(self) -> Tensors:
        return self.weights

    def take(self, uploads: list[Released]) -> None:
        if uploads:
            self.weights = {
                name: (value + np.mean([u.tensors[name] for u in uploads], axis=0, dtype=np.float64)).astype(np.float32)
                for name, value in self.weights.items()
            }

    def teach(self, number: int) -> tuple[bytes, bytes]:
        return self._models.export(self.weights)


def clipped(change: Tensors, bound: float) -> Tensors:
    """A change scaled down, as a whole, to an L2 norm of at most ``bound``; zero where it is no number.

    Parameters
    ----------
    change : dict of str to [...] float64
    bound : float
        C.

    Returns
    -------
    dict of str to [...] float64
    """
    norm = math.sqrt(sum(float(np.sum(np.square(value))) for value in change.values()))
    scale = min(1.0, bound / norm) if norm > 0 and math.isfinite(norm) else 0.0
    return {name: scale * np.where(np.isfinite(value), value, 0.0) for name, value in change.items()}


FEDAVG = Strategy("fedavg", "federated averaging of weights", release, AveragingClient, AveragingServer, sends)
