"""The server of a federated run: asks, gathers, aggregates, teaches, hands out. No mathematics here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Union

import numpy as np

from server.federation.aggregation import AGGREGATIONS, Released
from testbed.codec.classifier import Classifier
from testbed.codec.evidence import Landmarks
from testbed.config_federation import TeacherConfig
from testbed.control.bus import Hub, Lost, hosting
from testbed.control.messages import Ask, Installed, Pair, PublicSet, Refusal, Start, Upload
from testbed.data.partition import Unlabelled
from testbed.errors import PeerLost, ProtocolError, RunIncomplete
from testbed.files import ensure_folder
from testbed.record.folder import METRICS_LOG, RunFolder
from testbed.text import printable

LOOK_S = 0.1
ANSWER_S = 180.0  # an edge that is there but does not answer; training on a loaded board takes tens of seconds

Answer = Union[Installed, Upload, Refusal]  # noqa: UP007 - a runtime union on 3.10
log = logging.getLogger(__name__)


def pair_name(number: int, half: str) -> str:
    """Where the pair of a round lies in the run folder."""
    return f"rounds/{number:02d}/{half}.onnx"


def run_rounds(
    config: TeacherConfig,
    out: Path,
    should_stop: Callable[[], bool],
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve one federated run.

    Parameters
    ----------
    config : TeacherConfig
    out : Path
        The run folder.
    should_stop : callable
    tell : callable
        Given short lines for a supervisor: ``bound ADDRESS``, ``progress ROUNDS OF UPLOADS``.

    Raises
    ------
    PeerLost
        If an edge goes away or does not answer.
    RunIncomplete
        If ``should_stop`` says so first.
    """
    with hosting(config.control, config.name, tell, dict.fromkeys(config.expects, "edge")) as hub:
        ensure_folder(out)
        Rounds(hub, config, RunFolder(out), should_stop, tell).run()


class Rounds:
    """One federated run, from the public set to the last pair."""

    def __init__(
        self,
        hub: Hub,
        config: TeacherConfig,
        folder: RunFolder,
        should_stop: Callable[[], bool],
        tell: Callable[[str], None],
    ) -> None:
        self.hub, self.config, self.folder = hub, config, folder
        self.public = Unlabelled.read(Path(config.public))
        self.uploads = 0
        self._should_stop, self._tell = should_stop, tell

    def run(self) -> None:
        """All rounds."""
        from server.federation.distillation import beginning, distil  # torch: seconds, after members can be heard

        config, public = self.config, self.public
        pair = beginning(public, config.symbols, config.classes)
        self.hub.wait_ready(config.expects, self._should_stop)
        self.hub.broadcast(Start(samples=0, run=printable(self.folder.path.name)))
        pictures = public.pictures
        self.hub.broadcast(PublicSet(pixels=pictures.shape[1], pictures=pictures.astype("<f4").tobytes()))
        own = Landmarks(Classifier(pair.encoder, pair.decoder).encode(pictures)).own()
        aggregation = AGGREGATIONS[config.strategy](own, config.classes)
        described_by = pair.sha256
        self._tell(f"progress 0 {config.rounds} 0")
        self.hand_out(pair)
        for number in range(1, config.rounds + 1):
            released, refused = self.ask(Ask(round=number, strategy=config.strategy, sha256=described_by))
            aggregation.add(released)
            seed = int(np.random.SeedSequence(config.seed, spawn_key=(4, number)).generate_state(1)[0])
            pair = distil(public, aggregation.probabilities(), config.symbols, number, seed, self._should_stop)
            self.hand_out(pair)
            line = {"event": "round", "round": number, "uploads": len(released), "refused": refused}
            self.folder.append_line(METRICS_LOG, line | {"sha256": pair.sha256})
            self._tell(f"progress {number} {config.rounds} {self.uploads}")
            log.info("round %d: %d uploads, %d refused", number, len(released), len(refused))

    def hand_out(self, pair: Pair) -> None:
        """Keep a pair, send it, and wait until every edge has installed exactly it."""
        for half in ("encoder", "decoder"):
            self.folder.write_bytes(pair_name(pair.round, half), getattr(pair, half))
        self.hub.broadcast(pair)
        for node, answer in self.gather((Installed,), pair.round).items():
            if isinstance(answer, Installed) and answer.sha256 != pair.sha256:
                raise ProtocolError(f"{node} installed {answer.sha256[:8]}, {pair.sha256[:8]} was sent")

    def ask(self, ask: Ask) -> tuple[list[Released], dict[str, str]]:
        """Uploads of one round in the order of edges, and who refused for what reason."""
        self.hub.broadcast(ask)
        answers = self.gather((Upload, Refusal), ask.round)
        refused = {node: a.reason for node in self.config.expects if isinstance(a := answers[node], Refusal)}
        for node, why in refused.items():
            log.warning("%s refuses: %s", node, why)
        released = [self.released(a) for node in self.config.expects if isinstance(a := answers[node], Upload)]
        self.uploads += len(released)
        return released, refused

    def released(self, upload: Upload) -> Released:
        """The numbers of an upload, checked: they come from elsewhere."""
        shape = (len(self.public), self.config.classes)
        if upload.shape != shape or len(upload.data) != 4 * shape[0] * shape[1]:
            raise ProtocolError(f"{upload.node} uploaded {list(upload.shape)} values, {list(shape)} were asked for")
        value = np.frombuffer(upload.data, "<f4").reshape(shape)
        if not np.all(np.isfinite(value)) or not 0 <= upload.noise_std < np.inf:
            raise ProtocolError(f"{upload.node} uploaded values that are not finite")
        return Released(node=upload.node, value=value, noise_std=upload.noise_std)

    def gather(self, kinds: tuple[type[Answer], ...], number: int) -> dict[str, Answer]:
        """One answer of every edge to round ``number``; what comes twice or belongs to another round is passed over."""
        expects: Sequence[str] = self.config.expects
        answers: dict[str, Answer] = {}
        end = time.monotonic() + ANSWER_S
        while missing := [node for node in expects if node not in answers]:
            if self._should_stop():
                raise RunIncomplete("stopped before all rounds were done")
            if time.monotonic() > end:
                raise PeerLost(f"no answer of {', '.join(missing)} in round {number} within {ANSWER_S:.0f} s")
            event = self.hub.poll(LOOK_S)
            if event is None:
                continue
            node, message = event
            if isinstance(message, Lost) and (node in expects or node == self.hub.name):
                raise PeerLost(f"{node} is gone: {message.reason}")
            if isinstance(message, kinds) and node in expects and message.round == number:
                answers.setdefault(node, message)
        return answers
