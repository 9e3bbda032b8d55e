r"""What an edge may be asked for, with its sensitivity: computed, bounded, made noisy. It sends nothing itself.

``evidence``: for each public sample and class, the sum over the edge's records of that class of how alike the record,
received over the edge's link, is to the public sample (:mod:`testbed.codec.evidence`). An edge without records of a
class gives zero and noise: it says when it does not know. Sums of records have a small sensitivity, 1.

``mean-logits``: the logits of the edge's own classifier, as in many papers. A classifier that saw two classes says one
of these two of everything, and says it with confidence, so the mean over edges stays far behind however many there are
(at chance where each saw one class); and since one record may change a whole model, the sensitivity grows with the
number of public samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from testbed.codec.classifier import Classifier
from testbed.codec.evidence import Landmarks
from testbed.codec.links import Link
from testbed.config_federation import LearnerConfig
from testbed.data.partition import Labelled
from testbed.errors import DataError, ShapeError
from testbed.privacy.mechanisms import RECORD_BOUND, bounded_table_sensitivity, class_sums, clip_rows

LOGIT_BOUND = 10.0  # L2 norm of a row of centred logits; trained classifiers stay near it


class Bounded(msgspec.Struct, frozen=True):
    """A value before noise, and how far one record, added or removed, can move it."""

    value: np.ndarray  # [m, classes] float64
    sensitivity: float  # L2


class Promised(msgspec.Struct, frozen=True):
    """What a ledger is charged for before a release is made; it depends on no record."""

    sensitivity: float  # L2
    values: int


def receive_each(pair: Classifier, link: Link, records: Labelled, symbols: int, seed: int, number: int) -> np.ndarray:
    """[n, symbols] complex64: every record as it arrives over the link, the noise drawn from the record itself.

    What one record contributes then depends on no other record, not even on how many come before it. With noise drawn
    in order, a record left out would move the noise of all that follow, and a server that knows the seed would see it.
    The encoder is the server's, so it gets one record at a time: in a batch it could let each speak of the others. A
    record for which it fails arrives as not-a-number, and counts as nothing: to fail aloud would say which it is.
    """
    arrived = np.full((len(records), symbols), np.nan, np.complex64)
    for row, picture, label in zip(arrived, records.pictures, records.labels, strict=True):
        key = hashlib.sha256(picture.tobytes() + bytes([int(label)])).digest()
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, number, int.from_bytes(key[:8], "big"))))
        with suppress(Exception):
            row[:] = link.receive(pair.encode(picture[None]), rng)[0][0]
    return arrived


def evidence(
    public: np.ndarray, records: Labelled, pair: Classifier, link: Link, classes: int, seed: int, number: int
) -> Bounded:
    """Likeness of the received records to public samples, summed by class.

    Parameters
    ----------
    public : [m, pixels] float32
    records : Labelled
    pair : Classifier
        Its encoder sends records and public samples.
    link : Link
        The local model of this edge's channel.
    classes : int
    seed, number : int
        Of the channel's noise: this edge's seed, and the round.

    Returns
    -------
    Bounded
        [m, classes], sensitivity ``RECORD_BOUND``.
    """
    sent = pair.encode(public)
    with np.errstate(all="ignore"):  # of an encoder that overflows, or sends all alike: such rows count as nothing
        landmarks = Landmarks(sent)
        arrived = receive_each(pair, link, records, sent.shape[1], seed, number)
        rows = np.concatenate([landmarks.describe(one[None]) for one in arrived])  # each alone, as it was sent
    return Bounded(class_sums(rows, records.labels, classes, RECORD_BOUND), RECORD_BOUND)


def bounded_logits(logits: np.ndarray) -> Bounded:
    """Centred logits [m, classes], each row clipped; sensitivity 2 C sqrt(m)."""
    centred = logits - logits.mean(axis=1, keepdims=True)
    return Bounded(clip_rows(centred, LOGIT_BOUND), bounded_table_sensitivity(len(logits), LOGIT_BOUND))


class Releases:
    """An edge's records, and the ways in which it can speak of them.

    Parameters
    ----------
    config : LearnerConfig
    records : Labelled
    should_stop : callable
    """

    def __init__(self, config: LearnerConfig, records: Labelled, should_stop: Callable[[], bool]) -> None:
        if not len(records):
            raise DataError(f"{config.name}: has no records to learn from")
        if not 0 <= records.labels.min() <= records.labels.max() < config.classes:
            # Says nothing of the records: an edge's last words go to the server.
            raise ShapeError(f"{config.name}: labels of records are 0..{config.classes - 1}, there are others")
        from edge.trainer import OwnClassifier  # torch; the transmit path never comes here

        self._config, self._records = config, records
        self.own = OwnClassifier(records, config.link, config.symbols, config.classes, config.seed, should_stop)
        self.own.write(Path(config.state))

    def promised(self, strategy: str, samples: int) -> Promised:
        """What one strategy will release of so many public samples; KeyError for one that is not known here."""
        sensitivity = {
            "evidence": RECORD_BOUND,
            "mean-logits": bounded_table_sensitivity(samples, LOGIT_BOUND),
        }[strategy]
        return Promised(sensitivity, samples * self._config.classes)

    def make(self, strategy: str, number: int, public: np.ndarray, first: Classifier, pair: Classifier) -> Bounded:
        """The value of one strategy in one round; KeyError for a strategy that is not known here.

        ``first`` is the pair of round 0, ``pair`` the one that is installed now.
        """
        config = self._config
        if strategy == "evidence":
            return evidence(public, self._records, first, config.link, config.classes, config.seed, number)
        return {"mean-logits": self._logits}[strategy](number, public, pair)

    def _logits(self, number: int, public: np.ndarray, pair: Classifier) -> Bounded:
        rng = np.random.default_rng(np.random.SeedSequence(self._config.seed, spawn_key=(1, number)))
        if number > 1:  # in the first round the installed classifier knows nothing that could be studied
            received, no_eff = self._config.link.receive(pair.encode(public), rng)
            logits = pair.logits(received, no_eff)
            likely = np.exp(logits - logits.max(axis=1, keepdims=True))
            self.own.study(public, likely / likely.sum(axis=1, keepdims=True), number)
        return bounded_logits(self.own.logits(public, rng))
