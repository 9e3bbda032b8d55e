"""What a strategy is: what it releases, said beforehand, and the halves that make it and learn from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import numpy as np

from testbed.codec.classifier import Classifier
from testbed.codec.links import Link
from testbed.data.partition import Labelled
from testbed.federation.models import Models, Training
from testbed.federation.tensors import Spec, Tensors
from testbed.privacy.sensitivity import Sensitivity


class Agreed(msgspec.Struct, frozen=True, kw_only=True):
    """What both ends know before anything is released; no record has a part in it."""

    samples: int  # public pictures
    pixels: int  # of a picture
    symbols: int  # complex channel uses of a picture
    classes: int
    records_at_most: int  # of one client
    weights: dict[str, tuple[int, ...]]  # shapes of the weights of a model


class Release(msgspec.Struct, frozen=True):
    """What a client releases in one round."""

    tensors: dict[str, Spec]
    sensitivity: Sensitivity  # of all of them together

    @property
    def values(self) -> int:
        """How many numbers leave."""
        return sum(spec.size for spec in self.tensors.values())


class Released(msgspec.Struct, frozen=True):
    """What the server takes of one client in one round."""

    node: str
    tensors: Tensors  # float32, as agreed
    noise_std: float  # of each value


@dataclass(frozen=True)
class ClientSide:
    """What the client's half of a strategy works with."""

    agreed: Agreed
    records: Labelled
    public: np.ndarray  # [m, pixels] float32
    link: Link  # its local model of its own channel
    seed: int
    models: Models
    first: Classifier  # of round 0, learned without labels
    own: Tensors  # weights that this client learned alone
    should_stop: Callable[[], bool] = lambda: False

    def targets(self) -> np.ndarray:
        """[n, classes] float32: the records' labels, one-hot."""
        return np.eye(self.agreed.classes, dtype=np.float32)[self.records.labels]


@dataclass(frozen=True)
class ServerSide:
    """What the server's half of a strategy works with."""

    agreed: Agreed
    public: np.ndarray  # [m, pixels] float32
    seed: int
    models: Models
    first: Classifier
    should_stop: Callable[[], bool] = lambda: False

    def seed_of(self, number: int) -> int:
        """Of the training in one round."""
        return int(np.random.SeedSequence(self.seed, spawn_key=(4, number)).generate_state(1)[0])


class Client(Protocol):
    """The client's half, kept over all rounds."""

    def value(self, number: int, pair: Classifier, sent: Tensors) -> Tensors:
        """What is released in a round, exact: a mechanism adds its noise afterwards.

        Parameters
        ----------
        number : int
            Of the round, from 1 on.
        pair : Classifier
            The one installed now.
        sent : {name: array}
            What the server's half sent for this round.

        Returns
        -------
        {name: array}
            As the strategy's ``release`` states them.
        """
        ...


class Server(Protocol):
    """The server's half, kept over all rounds."""

    def sends(self) -> Tensors:
        """What every client needs for the next round; may be empty."""
        ...

    def take(self, uploads: list[Released]) -> None:
        """Take in one round; none is a round in which nobody gave anything."""
        ...

    def teach(self, number: int) -> tuple[bytes, bytes]:
        """Encoder and decoder for all, as ONNX, by all that was ever taken in."""
        ...


def sends_nothing(agreed: Agreed) -> dict[str, Spec]:
    """Of a strategy whose server says nothing but its pairs."""
    return {}


@dataclass(frozen=True)
class Strategy:
    """A strategy, registered by one line in :mod:`testbed.federation.registry`."""

    name: str
    about: str  # half a line
    release: Callable[[Agreed], Release]
    client: Callable[[ClientSide], Client]
    server: Callable[[ServerSide], Server]
    sends: Callable[[Agreed], dict[str, Spec]] = field(default=sends_nothing)


def shapes(weights: Tensors) -> dict[str, tuple[int, ...]]:
    """As :class:`Agreed` states them."""
    return {name: tuple(value.shape) for name, value in weights.items()}


def softmax(values: np.ndarray) -> np.ndarray:
    """Rows of probabilities.

    Parameters
    ----------
    values : [n, classes] float

    Returns
    -------
    [n, classes] float32
    """
    likely = np.exp(values - values.max(axis=1, keepdims=True))
    return (likely / likely.sum(axis=1, keepdims=True)).astype(np.float32)


def distilled(side: ServerSide, probabilities: np.ndarray, number: int) -> tuple[bytes, bytes]:
    """A pair trained from scratch to answer ``probabilities`` for the public pictures, over channels of all kinds.

    Parameters
    ----------
    side : ServerSide
    probabilities : [m, classes] float32
    number : int
        Of the round.

    Returns
    -------
    encoder, decoder : bytes
        ONNX.

    Raises
    ------
    RunIncomplete
        If ``side.should_stop`` says so.
    """
    models, seed = side.models, side.seed_of(number)
    learned = models.fit(models.new(seed), side.public, probabilities, Training(), seed, side.should_stop)
    return models.export(learned)
