"""What a federated run is compared with, on the same split and the same links, by an evaluator who sees everything.

None of these is private. FedAvg and the mean of logits are the strategies of :mod:`testbed.federation`, without noise
and without processes. Torch is imported here; the nodes of a run do not come here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch

from testbed.codec.classifier import Classifier
from testbed.codec.links import Link
from testbed.data.partition import Labelled
from testbed.federation.alone import OWN, read_own
from testbed.federation.base import Client, ClientSide, Released, Server, ServerSide
from testbed.federation.models import Models, Training
from testbed.federation.registry import open_strategy
from testbed.federation.tensors import Tensors

FEDAVG_ROUNDS = 60  # from here to round 100 its accuracy on the digits stays between 83 and 86 %
KEPT_EVERY = 5  # rounds of FedAvg between two points of its curve, behind the first ones


class Score(msgspec.Struct, frozen=True):
    """Shares of pictures that are named right, each sent over every client's link."""

    test: float
    validation: float


class Judge:
    """The one who knows the labels of the test and validation parts."""

    def __init__(self, test: Labelled, validation: Labelled, links: Sequence[Link], seed: int) -> None:
        self._parts = (test, validation)
        self._links, self._seed = links, seed

    def score(self, pair: Classifier) -> Score:
        """Accuracy of a pair over all links; the noise is the same for every pair that is judged."""
        return Score(*(self._accuracy(pair, part, k) for k, part in enumerate(self._parts)))

    def decisions(self, pair: Classifier) -> np.ndarray:
        """[links, n] int64: the class that the pair names for each test picture over each link, as scored."""
        return self._predictions(pair, self._parts[0], 0)

    def _accuracy(self, pair: Classifier, part: Labelled, key: int) -> float:
        return float(np.mean((self._predictions(pair, part, key) == part.labels).mean(axis=1)))

    def _predictions(self, pair: Classifier, part: Labelled, key: int) -> np.ndarray:
        sent = pair.encode(part.pictures)
        predictions = []
        for number, link in enumerate(self._links):
            rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(5, key, number)))
            predictions.append(pair.logits(*link.receive(sent, rng)).argmax(axis=1))
        return np.stack(predictions)


def own_weights(folders: Sequence[Path], models: Models) -> dict[str, Tensors]:
    """What edges learned alone, by name; of one that was lost before it had learned there is nothing."""
    names = tuple(models.new(0))
    return {folder.name: read_own(folder, names) for folder in folders if (folder / OWN).is_file()}


def best_alone(own: dict[str, Tensors], models: Models, judge: Judge) -> tuple[str, Score]:
    """Name and score of the edge whose own classifier is best on the validation part."""
    scores = {name: judge.score(Classifier(*models.export(weights))) for name, weights in own.items()}
    best = max(scores, key=lambda name: scores[name].validation)
    return best, scores[best]


class Halves:
    """Both halves of a strategy in one process, without noise: what its rounds would give if nothing were hidden.

    Parameters
    ----------
    strategy : str
    clients : sequence of ClientSide
    server : ServerSide
    """

    def __init__(self, strategy: str, clients: Sequence[ClientSide], server: ServerSide) -> None:
        opened = open_strategy(strategy)
        self._clients: list[Client] = [opened.client(side) for side in clients]
        self._server: Server = opened.server(server)
        self._first = server.first

    def round(self, number: int) -> None:
        """Ask every client once."""
        sent = self._server.sends()
        values = [client.value(number, self._first, sent) for client in self._clients]
        as_sent = [{name: v.astype(np.float32) for name, v in value.items()} for value in values]
        self._server.take([Released(f"client-{i}", tensors, 0.0) for i, tensors in enumerate(as_sent)])

    def pair(self, number: int) -> Classifier:
        """What the server would hand out."""
        return Classifier(*self._server.teach(number))


def mean_logits(clients: Sequence[ClientSide], server: ServerSide, judge: Judge) -> Score:
    """What distilling the plain mean of the clients' logits gives."""
    halves = Halves("mean-logits", clients, server)
    halves.round(1)
    return judge.score(halves.pair(1))


def fedavg(
    clients: Sequence[ClientSide],
    server: ServerSide,
    judge: Judge,
    on_round: Callable[[int, int], None] = lambda done, of: None,
) -> dict[int, Score]:
    """Federated averaging of all clients in every round; scores of some rounds."""
    halves, scores = Halves("fedavg", clients, server), {}
    for number in range(1, FEDAVG_ROUNDS + 1):
        halves.round(number)
        on_round(number, FEDAVG_ROUNDS)
        if number % KEPT_EVERY == 0 or number < KEPT_EVERY:
            scores[number] = judge.score(halves.pair(number))
    return scores


def pooled(clients: Sequence[Labelled], classes: int, models: Models, seed: int, judge: Judge) -> Score:
    """All records in one place: what federation could at best be asked to reach."""
    pictures = np.concatenate([c.pictures for c in clients])
    labels = np.concatenate([c.labels for c in clients])
    targets = np.eye(classes, dtype=np.float32)[labels]
    learned = models.fit(models.new(seed), pictures, targets, Training(), seed, lambda: False)
    return judge.score(Classifier(*models.export(learned)))


def one_thread() -> None:
    """More would make results depend on the machine."""
    torch.set_num_threads(1)
