"""An edge in a federated run: it installs pairs whole, answers what its ledger allows, refuses the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from testbed.codec.classifier import Classifier, install
from testbed.codec.plain import require_plain
from testbed.control.bus import Member
from testbed.control.messages import AnyMessage, Ask, Installed, Pair, PublicSet, Refusal, Upload
from testbed.data.partition import Labelled, Unlabelled
from testbed.errors import (
    BudgetSpent,
    CodecError,
    DataError,
    ProtocolError,
    RunIncomplete,
    ScenarioError,
    SemtbError,
    ShapeError,
)
from testbed.federation.alone import learn_alone, write_own
from testbed.federation.base import Agreed, Client, ClientSide, Strategy, shapes
from testbed.federation.config import MAX_ROUNDS, LearnerConfig
from testbed.federation.models import open_models
from testbed.federation.registry import open_strategy
from testbed.federation.tensors import Tensors, pack, require, unpack
from testbed.privacy.accounting import as_tree
from testbed.privacy.ledger import Budget, Ledger
from testbed.privacy.mechanisms.registry import open_mechanism
from testbed.privacy.noise import NoiseSource, SeededNoise, SystemNoise
from testbed.record.folder import DIARY, RunFolder

LOOK_S = 0.1  # how often a waiting edge looks whether the run has ended

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
        self._mechanism = open_mechanism(privacy.mechanism, privacy.noise_multiplier)
        self._records = own_records(config)
        self._should_stop = should_stop
        self._models = open_models(config.codec, self._records.pictures.shape[1], config.symbols, config.classes)
        self._own = learn_alone(self._models, self._records, config.classes, config.link, config.seed, should_stop)
        write_own(self._state, self._own)
        self._noise = noise_source(privacy.noise_seed)
        self._public: Unlabelled | None = None
        self._first: Classifier | None = None  # of round 0, learned without labels
        self._pair: Classifier | None = None  # the installed one
        self._clients: dict[str, Client] = {}  # by strategy, kept over all rounds
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
            self._take_public(public_set(message))
            return None
        if isinstance(message, Pair):
            return self._install(message)
        if isinstance(message, Ask):
            # Asked again for the same round, an edge repeats its words: what was said before costs nothing more.
            if message.round not in self._answers:
                self._answers[message.round] = self._release(message)
            return self._answers[message.round]
        raise ProtocolError(f"the server sent a {type(message).__name__}, which no edge takes")

    def _take_public(self, public: Unlabelled) -> None:
        pixels = self._records.pictures.shape[1]
        if public.pictures.shape[1] != pixels:
            raise ProtocolError(f"the public set has pictures of {public.pictures.shape[1]} pixels; here: {pixels}")
        if self._public is not None and not np.array_equal(self._public.pictures, public.pictures):
            raise ProtocolError("the public set of this run has come already, and was another one")
        self._public = public

    def _install(self, message: Pair) -> Installed:
        if message.round == 0 and self._first is not None and self._first.digest != message.sha256:
            raise ProtocolError("the pair of round 0 has come already, and was another one")
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
        """How well a pair serves this edge's own records, and what its ledger holds by then.

        Where the pair fails on the records, the diary says so and nobody else.
        """
        rng = np.random.default_rng(np.random.SeedSequence(self.config.seed, spawn_key=(2, number)))
        right: float | None = None
        try:
            received = self.config.link.receive(pair.encode(self._records.pictures), rng)
            right = float(np.mean(pair.logits(*received).argmax(axis=1) == self._records.labels))
        except Exception:
            log.exception("the pair of round %d fails on own records", number)
        line = {"round": number, "sha256": pair.digest, "accuracy_on_own_records": right}
        RunFolder(self._state).append_line(DIARY, line | {"releases": len(self.ledger.entries())})

    def _release(self, ask: Ask) -> Upload | Refusal:
        name = self.config.name
        if self._public is None or self._first is None or self._pair is None or self._first.digest != ask.sha256:
            raise CodecError(f"{name}: the server asks about a pair {ask.sha256[:8]} that did not come in round 0")
        agreed = self._agreed(self._public)
        try:  # before any work: what is refused costs the edge nothing, and what fails later counts as released
            strategy = open_strategy(ask.strategy)
            self._require_agreed(ask)
            sent = unpack(ask.tensors, strategy.sends(agreed), f"round {ask.round}")
            release = strategy.release(agreed)
            noise_std = self._mechanism.std(release.sensitivity)
            bound = self._mechanism.bound_of(release.sensitivity)
            event = as_tree(self._mechanism.event())
            self.ledger.charge(f"{strategy.name}, round {ask.round}", event, bound, release.values)
        except (BudgetSpent, ScenarioError, ProtocolError) as error:
            log.warning("%s", error)
            return Refusal(node=name, round=ask.round, reason=str(error))
        exact = self._client(strategy, agreed, self._public, self._first).value(ask.round, self._pair, sent)
        require(exact, release.tensors, strategy.name)
        noisy: Tensors = {
            tensor: self._mechanism.add(exact[tensor], release.sensitivity, self._noise) for tensor in release.tensors
        }
        return Upload(
            node=name,
            round=ask.round,
            tensors=pack(noisy),
            mechanism=self._mechanism.name,
            noise_std=noise_std,
        )

    def _require_agreed(self, ask: Ask) -> None:
        """Raise ProtocolError where the ask is not one of the rounds, or counts on other noise than this edge adds."""
        if not 1 <= ask.round <= MAX_ROUNDS:
            raise ProtocolError(f"round {ask.round}: allowed: 1..{MAX_ROUNDS}")
        own = (self._mechanism.name, self._mechanism.noise_multiplier)
        if (ask.mechanism, ask.noise_multiplier) != own:
            raise ProtocolError(
                f"asked for mechanism {ask.mechanism[:40]!r} of noise multiplier {ask.noise_multiplier:g}; "
                f"{self.config.name} releases with {own[0]} of {own[1]:g} alone"
            )

    def _agreed(self, public: Unlabelled) -> Agreed:
        return Agreed(
            samples=len(public),
            pixels=public.pictures.shape[1],
            symbols=self.config.symbols,
            classes=self.config.classes,
            records_at_most=self.config.records_at_most,
            weights=shapes(self._own),
        )

    def _client(self, strategy: Strategy, agreed: Agreed, public: Unlabelled, first: Classifier) -> Client:
        if strategy.name not in self._clients:
            side = ClientSide(
                agreed=agreed,
                records=self._records,
                public=public.pictures,
                link=self.config.link,
                seed=self.config.seed,
                models=self._models,
                first=first,
                own=self._own,
                should_stop=self._should_stop,
            )
            self._clients[strategy.name] = strategy.client(side)
        return self._clients[strategy.name]


def own_records(config: LearnerConfig) -> Labelled:
    """An edge's records, if it can take part with them. An error says nothing of them: the server hears it.

    Raises
    ------
    DataError
        If there are none, or more than was agreed.
    ShapeError
        If a label is none of the agreed classes.
    """
    records = Labelled.read(Path(config.records))
    if not len(records):
        raise DataError(f"{config.name}: has no records to learn from")
    if len(records) > config.records_at_most:
        raise DataError(f"{config.name}: has more records than agreed; records_at_most = {config.records_at_most}")
    if not 0 <= records.labels.min() <= records.labels.max() < config.classes:
        raise ShapeError(f"{config.name}: labels of records are 0..{config.classes - 1}, there are others")
    return records


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
