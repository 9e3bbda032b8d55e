"""The server of a federated run: asks, gathers, screens, teaches, hands out. No mathematics here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from server.federation.attendance import REASON_CHARS, Attendance
from testbed.codec.card import digest_pair
from testbed.codec.classifier import Classifier
from testbed.control.bus import Hub, hosting
from testbed.control.messages import Ask, Installed, Pair, PublicSet, Refusal, Start, Upload
from testbed.data.partition import Unlabelled
from testbed.errors import ProtocolError
from testbed.federation.base import Agreed, Released, ServerSide, shapes
from testbed.federation.config import TeacherConfig
from testbed.federation.models import open_models
from testbed.federation.registry import open_strategy
from testbed.federation.screening import screened
from testbed.federation.tensors import pack
from testbed.files import ensure_folder
from testbed.privacy.mechanisms.registry import open_mechanism
from testbed.record.events import AnyEvent, Bound, Progress, RoundDone, Started, recording
from testbed.record.folder import RunFolder, pair_name
from testbed.text import printable

log = logging.getLogger(__name__)


def run_rounds(
    config: TeacherConfig,
    out: Path,
    should_stop: Callable[[], bool],
) -> None:
    """Serve one federated run.

    Parameters
    ----------
    config : TeacherConfig
    out : Path
        The run folder.
    should_stop : callable

    Raises
    ------
    PeerLost
        If fewer edges than the quorum are left, or answer before the deadline; the message names who is missing.
    RunIncomplete
        If ``should_stop`` says so first.
    """
    folder, roles = RunFolder(ensure_folder(out)), dict.fromkeys(config.expects, "edge")
    with (
        recording(folder, config.name, config.expects) as events,
        hosting(config.control, config.name, lambda at: events.emit(Bound(control=at)), roles) as hub,
    ):
        Rounds(hub, config, folder, should_stop, events.emit).run()


class Round(msgspec.Struct):
    """What came of asking once."""

    released: list[Released] = []
    refused: dict[str, str] = {}  # by an edge: its ledger, or what it was asked for
    rejected: dict[str, str] = {}  # by the server: an upload outside of what was agreed
    missing: dict[str, str] = {}  # who did not answer, and why


class Rounds:
    """One federated run, from the public set to the last pair.

    Parameters
    ----------
    hub : Hub
    config : TeacherConfig
    folder : RunFolder
    should_stop : callable
    emit : callable
        Takes what happens.
    """

    def __init__(
        self,
        hub: Hub,
        config: TeacherConfig,
        folder: RunFolder,
        should_stop: Callable[[], bool],
        emit: Callable[[AnyEvent], None],
    ) -> None:
        self.hub, self.config, self.folder = hub, config, folder
        self.public = Unlabelled.read(Path(config.public))
        self.strategy = open_strategy(config.strategy)
        self.mechanism = open_mechanism(config.mechanism, config.noise_multiplier)
        self.attendance = Attendance(hub, config.expects, config.quorum, config.deadline_s, should_stop)
        self.uploads = 0
        self._should_stop, self._emit = should_stop, emit

    def run(self) -> None:
        """All rounds."""
        config, pictures = self.config, self.public.pictures
        # Torch: seconds, after members can be heard.
        models = open_models(config.codec, pictures.shape[1], config.symbols, config.classes)
        agreed = Agreed(
            samples=len(pictures),
            pixels=pictures.shape[1],
            symbols=config.symbols,
            classes=config.classes,
            records_at_most=config.records_at_most,
            weights=shapes(models.new(config.seed)),
        )
        pair = as_message(0, *models.first(pictures))
        first = Classifier(pair.encoder, pair.decoder)
        server = self.strategy.server(ServerSide(agreed, pictures, config.seed, models, first, self._should_stop))
        self.attendance.wait_ready()
        self.hub.broadcast(Start(samples=0, run=printable(self.folder.path.name)))
        self.hub.broadcast(PublicSet(pixels=pictures.shape[1], pictures=pictures.astype("<f4").tobytes()))
        self._emit(Started())
        self._emit(self.progress(0))
        self.hand_out(pair)
        for number in range(1, config.rounds + 1):
            ask = Ask(
                round=number,
                strategy=self.strategy.name,
                mechanism=self.mechanism.name,
                noise_multiplier=self.mechanism.noise_multiplier,
                sha256=first.digest,
                tensors=pack(server.sends()),
            )
            came = self.ask(ask, agreed)
            server.take(came.released)
            pair = as_message(number, *server.teach(number))
            self.hand_out(pair)
            self.write_down(number, pair, came)

    def hand_out(self, pair: Pair) -> None:
        """Keep a pair, send it, and wait until every edge has installed exactly it; one that has not is given up."""
        for half in ("encoder", "decoder"):
            self.folder.write_bytes(pair_name(pair.round, half), getattr(pair, half))
        self.hub.broadcast(pair)
        answers = self.attendance.gather((Installed,), pair.round)
        for node, answer in answers.items():
            if isinstance(answer, Installed) and answer.sha256 != pair.sha256:
                reason = f"installed {answer.sha256[:8]} in round {pair.round}, {pair.sha256[:8]} was sent"
                self.attendance.give_up(node, reason)
        self.attendance.require_quorum(pair.round)

    def ask(self, ask: Ask, agreed: Agreed) -> Round:
        """Uploads of one round in the order of edges, and what became of the others."""
        self.hub.broadcast(ask)
        answers = self.attendance.gather((Upload, Refusal), ask.round)
        release = self.strategy.release(agreed)
        came = Round(missing=self.attendance.missing(answers, ask.round))
        for node in self.config.expects:
            answer = answers.get(node)
            if isinstance(answer, Refusal):
                came.refused[node] = answer.reason[:REASON_CHARS]
            elif isinstance(answer, Upload):
                try:
                    came.released.append(screened(answer, release, self.mechanism))
                except ProtocolError as error:
                    came.rejected[node] = str(error)
        for what, whom in (("refuses", came.refused), ("is refused", came.rejected), ("is missing", came.missing)):
            for node, why in whom.items():
                log.warning("round %d: %s %s: %s", ask.round, node, what, why)
        self.uploads += len(came.released)
        return came

    def progress(self, done: int) -> Progress:
        """How far the run is."""
        return Progress(
            done=done, total=self.config.rounds, unit="rounds", counted=self.uploads, counted_unit="uploads"
        )

    def write_down(self, number: int, pair: Pair, came: Round) -> None:
        """What the evaluator reads when all nodes have ended."""
        why = {"refused": came.refused, "rejected": came.rejected, "missing": came.missing}
        self._emit(
            RoundDone(
                round=number,
                uploads=len(came.released),
                refused=came.refused,
                rejected=came.rejected,
                missing=came.missing,
                lost=dict(self.attendance.lost),
                sha256=pair.sha256,
            )
        )
        self._emit(self.progress(number))
        counts = ", ".join(f"{len(whom)} {what}" for what, whom in why.items())
        log.info("round %d: %d uploads, %s", number, len(came.released), counts)


def as_message(number: int, encoder: bytes, decoder: bytes) -> Pair:
    """What edges are sent."""
    return Pair(round=number, encoder=encoder, decoder=decoder, sha256=digest_pair(encoder, decoder))
