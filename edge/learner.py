"""An edge in a federated run: it installs pairs whole, answers what its ledger allows, refuses the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edge.releases import Releases
from testbed.codec.classifier import Classifier, install
from testbed.codec.plain import require_plain
from testbed.config_federation import STRATEGIES, LearnerConfig
from testbed.control.bus import Member
from testbed.control.messages import AnyMessage, Ask, Installed, Pair, PublicSet, Refusal, Upload
from testbed.data.partition import Labelled, Unlabelled
from testbed.errors import BudgetSpent, CodecError, LedgerError, ProtocolError, RunIncomplete, SemtbError
from testbed.privacy.ledger import Budget, Ledger
from testbed.privacy.mechanisms import NoiseSource, SeededNoise, SystemNoise, gaussian
from testbed.record.folder import RunFolder

LOOK_S = 0.1  # how often a waiting edge looks whether the run has ended
DIARY = "rounds.jsonl"  # in the edge's folder: how well what it installed serves its own records; it tells nobody

log = logging.getLogger(__name__)


def run_learner(config: LearnerConfig, should_stop: Callable[[], bool]) -> None:
    """Take part in a federated run until the server says Stop.

    Raises
    ------
    PeerUnreachable
        If the server does not answer.
    RunIncomplete
        If the run ends before its time.
    DataError, LedgerError
        If the edge's records or its ledger cannot be read.
    """
    with Member(config.control, config.name, "edge", should_stop) as member:
        with in_our_words(config.name):
            learner = Learner(config, should_stop)
        member.ready()
        while member.stop_reason is None:
            if should_stop():
                raise RunIncomplete(f"{config.name} was told to end")
            message = member.hear(LOOK_S)
            with in_our_words(config.name):
                answer = learner.answer(message) if message is not None else None
            if answer is not None:
                member.say(answer)
        if member.stop_reason:
            raise RunIncomplete(member.stop_reason)


@contextmanager
def in_our_words(name: str) -> Iterator[None]:
    """What a library says of a failure may quote records; the server hears nothing of that."""
    try:
        yield
    except SemtbError:
        raise
    except Exception as error:
        log.exception("%s failed", name)
        raise RunIncomplete(f"{name} failed; why stands in its own log, and only there") from error


class Learner:
    """What an edge does with each message. It knows no socket.

    Parameters
    ----------
    config : LearnerConfig
    should_stop : callable
    """

    def __init__(self, config: LearnerConfig, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.config = config
        privacy = config.privacy
        self._state = Path(config.state)
        self._state.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(Path(privacy.ledger), Budget(privacy.epsilon, privacy.delta))
        self._records = Labelled.read(Path(config.records))
        self._releases = Releases(config, self._records, should_stop)
        self._noise = noise_source(privacy.noise_seed)
        self._public: Unlabelled | None = None
        self._first: Classifier | None = None  # of round 0, learned without labels: evidence is given with it
        self._pair: Classifier | None = None  # the installed one
        self._answers: dict[int, Upload | Refusal] = {}

    def answer(self, message: AnyMessage) -> AnyMessage | None:
        """What to say to a message of the server; None where nothing is to be said.

        Raises
        ------
        ProtocolError
            If the server says what it must not.
        CodecError
            If a pair that came is not what it is said to be.
        """
        if isinstance(message, PublicSet):
            self._public = public_set(message)
            return None
        if isinstance(message, Pair):
            return self._install(message)
        if isinstance(message, Ask):
            # Asked again for the same round, an edge repeats its words: what was said before costs nothing more.
            if message.round not in self._answers:
                self._answers[message.round] = self._release(message)
            return self._answers[message.round]
        raise ProtocolError(f"the server sent a {type(message).__name__}, which no edge takes")

    def _install(self, message: Pair) -> Installed:
        if self._pair is None or self._pair.digest != message.sha256:
            for half in (message.encoder, message.decoder):
                require_plain(half, f"round {message.round}")
            self._pair = install(self._state, message.round, message.encoder, message.decoder, message.sha256)
            if message.round == 0:
                self._first = self._pair
            self._write_diary(message.round, self._pair)
            log.info("round %d: installed %s", message.round, message.sha256[:8])
        return Installed(node=self.config.name, round=message.round, sha256=message.sha256)

    def _write_diary(self, number: int, pair: Classifier) -> None:
        """How well a pair serves this edge's own records. Where it fails on them, the diary says so and nobody else."""
        rng = np.random.default_rng(np.random.SeedSequence(self.config.seed, spawn_key=(2, number)))
        right: float | None = None
        try:
            received = self.config.link.receive(pair.encode(self._records.pictures), rng)
            right = float(np.mean(pair.logits(*received).argmax(axis=1) == self._records.labels))
        except Exception:
            log.exception("the pair of round %d fails on own records", number)
        line = {"round": number, "sha256": pair.digest, "accuracy_on_own_records": right}
        RunFolder(self._state).append_line(DIARY, line)

    def _release(self, ask: Ask) -> Upload | Refusal:
        name = self.config.name
        if self._public is None or self._first is None or self._pair is None or self._first.digest != ask.sha256:
            raise CodecError(f"{name}: the server asks about a pair {ask.sha256[:8]} that did not come in round 0")
        if ask.strategy not in STRATEGIES:
            return Refusal(node=name, round=ask.round, reason=f"no strategy {ask.strategy!r} is known here")
        multiplier = self.config.privacy.noise_multiplier
        promised = self._releases.promised(ask.strategy, len(self._public))
        try:  # before any work: what is refused costs the edge nothing, and what fails later counts as released
            self.ledger.charge(f"{ask.strategy}, round {ask.round}", multiplier, promised.sensitivity, promised.values)
        except BudgetSpent as error:
            log.warning("%s", error)
            return Refusal(node=name, round=ask.round, reason=str(error))
        made = self._releases.make(ask.strategy, ask.round, self._public.pictures, self._first, self._pair)
        if (made.sensitivity, made.value.size) != (promised.sensitivity, promised.values):
            raise LedgerError(f"{name}: {ask.strategy} is not what its ledger was charged for, so nothing is released")
        noisy = gaussian(made.value, made.sensitivity, multiplier, self._noise)
        rows, columns = noisy.shape
        return Upload(
            node=name,
            round=ask.round,
            shape=(rows, columns),
            data=noisy.astype("<f4").tobytes(),
            noise_std=made.sensitivity * multiplier,
        )


def public_set(message: PublicSet) -> Unlabelled:
    """The pictures that a message carries."""
    try:
        pictures = np.frombuffer(message.pictures, "<f4").reshape(-1, message.pixels)
    except ValueError as error:
        raise ProtocolError(f"the public set is no whole number of pictures of {message.pixels} pixels") from error
    if not len(pictures) or not np.all((pictures >= 0) & (pictures <= 1)):
        raise ProtocolError("the public set has values outside 0..1, or none at all")
    return Unlabelled(pictures)


def noise_source(seed: int | None) -> NoiseSource:
    """The operating system's entropy, unless an experiment names a seed."""
    if seed is None:
        return SystemNoise()
    return SeededNoise(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(3,))))
