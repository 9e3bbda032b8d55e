"""What a federated run is compared with, on the same split and the same links, by an evaluator who sees everything.

None of these is private. Torch is imported here; the nodes of a run do not come here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch

from edge.trainer import OWN
from testbed.codec.classifier import Classifier
from testbed.codec.links import Link
from testbed.codec.train.classifier import Pair, Recipe, export, fit, new_pair, weights, with_weights
from testbed.data.digits import CLASSES, SIDE
from testbed.data.partition import Labelled, Unlabelled, read_arrays

FEDAVG_ROUNDS = 60  # from here to round 100 its accuracy on the digits stays between 83 and 86 %
FEDAVG_RECIPE = Recipe(steps=10, learning_rate=2e-3)  # a client's share of one round; some 16 epochs of its records
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
        """[links, n] int64: what the pair says of each test picture over each link, as scored."""
        return self._said(pair, self._parts[0], 0)

    def _accuracy(self, pair: Classifier, part: Labelled, key: int) -> float:
        return float(np.mean((self._said(pair, part, key) == part.labels).mean(axis=1)))

    def _said(self, pair: Classifier, part: Labelled, key: int) -> np.ndarray:
        sent = pair.encode(part.pictures)
        predictions = []
        for number, link in enumerate(self._links):
            rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(5, key, number)))
            predictions.append(pair.logits(*link.receive(sent, rng)).argmax(axis=1))
        return np.stack(predictions)


def load_own(folder: Path, symbols: int) -> Pair:
    """The classifier that an edge trained alone, from its folder."""
    template = new_pair(SIDE * SIDE, symbols, CLASSES, seed=0)
    values = weights(template)
    return with_weights(template, read_arrays(folder / OWN, tuple(values)))


def best_alone(folders: Sequence[Path], symbols: int, judge: Judge) -> tuple[str, Score]:
    """Name and score of the edge whose own classifier is best on the validation part."""
    scores = {folder.name: judge.score(as_classifier(load_own(folder, symbols))) for folder in folders}
    best = max(scores, key=lambda name: scores[name].validation)
    return best, scores[best]


def mean_logits(
    folders: Sequence[Path], links: Sequence[Link], public: Unlabelled, symbols: int, seed: int, judge: Judge
) -> Score:
    """What distilling the plain mean of the edges' logits gives, without any noise for privacy."""
    from edge.releases import bounded_logits
    from server.federation.aggregation import MeanLogits, Released
    from testbed.codec.train.classifier import logits_over

    mean = MeanLogits(np.empty((len(public), 0)), CLASSES)
    uploads = []
    for number, (folder, link) in enumerate(zip(folders, links, strict=True)):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(6, number)))
        _, no_eff = link.receive(np.zeros((len(public), symbols), np.complex64), rng)
        logits = logits_over(load_own(folder, symbols), public.pictures, no_eff, number)
        uploads.append(Released(folder.name, bounded_logits(logits).value.astype(np.float32), 0.0))
    mean.add(uploads)
    pair = fit(new_pair(SIDE * SIDE, symbols, CLASSES, seed), public.pictures, mean.probabilities(), Recipe(), seed)
    return judge.score(as_classifier(pair))


def fedavg(
    clients: Sequence[Labelled],
    links: Sequence[Link],
    symbols: int,
    seed: int,
    judge: Judge,
    on_round: Callable[[int, int], None] = lambda done, of: None,
) -> dict[int, Score]:
    """Federated averaging of all clients in every round, weighted by records; scores of some rounds.

    References
    ----------
    B. McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017.
    """
    pair = new_pair(SIDE * SIDE, symbols, CLASSES, seed)
    shared = weights(pair)
    share = np.array([len(client) for client in clients]) / sum(len(client) for client in clients)
    targets = [np.eye(CLASSES, dtype=np.float32)[client.labels] for client in clients]
    scores = {}
    for number in range(1, FEDAVG_ROUNDS + 1):
        learned = []
        for client, (records, link) in enumerate(zip(clients, links, strict=True)):
            recipe = msgspec.structs.replace(
                FEDAVG_RECIPE, snr_db=(link.snr_db, link.snr_db), fading_share=float(link.kind == "Rayleigh")
            )
            with_weights(pair, shared)
            learned.append(weights(fit(pair, records.pictures, targets[client], recipe, seed + 1000 * number + client)))
        shared = {
            name: np.sum([s * own[name] for s, own in zip(share, learned, strict=True)], axis=0).astype(np.float32)
            for name in shared
        }
        on_round(number, FEDAVG_ROUNDS)
        if number % KEPT_EVERY == 0 or number < KEPT_EVERY:
            scores[number] = judge.score(as_classifier(with_weights(pair, shared)))
    return scores


def pooled(clients: Sequence[Labelled], symbols: int, seed: int, judge: Judge) -> Score:
    """All records in one place: what federation could at best be asked to reach."""
    pictures = np.concatenate([c.pictures for c in clients])
    labels = np.concatenate([c.labels for c in clients])
    targets = np.eye(CLASSES, dtype=np.float32)[labels]
    pair = fit(new_pair(SIDE * SIDE, symbols, CLASSES, seed), pictures, targets, Recipe(), seed)
    return judge.score(as_classifier(pair))


def as_classifier(pair: Pair) -> Classifier:
    """The pair as nodes run it."""
    return Classifier(*export(pair))


def one_thread() -> None:
    """More would make results depend on the machine."""
    torch.set_num_threads(1)
