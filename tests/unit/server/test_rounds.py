"""The server of a federated run over a real bus: honest edges, one that lies, one that installs another pair."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.requirements import TRAINING

pytest.importorskip("torch", reason=TRAINING)
pytest.importorskip("dp_accounting", reason=TRAINING)

from edge.learner import Learner
from server.federation.rounds import run_rounds
from testbed.codec.links import Link
from testbed.control.bus import Member
from testbed.control.messages import AnyMessage, Installed, Upload
from testbed.data.digits import split
from testbed.errors import PeerLost, RunIncomplete
from testbed.federation import alone, base
from testbed.federation.config import LearnerConfig, PrivacyPart, TeacherConfig
from testbed.federation.models import Training
from testbed.federation.tensors import pack
from testbed.record.folder import EVENTS, RunFolder

PARTS = split(1)
NAMES = ["edge-1", "edge-2", "edge-3"]
LIMIT_S = 50.0  # only ends a broken test

Change = Callable[[AnyMessage], AnyMessage]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is learned is not asked here."""
    monkeypatch.setattr(alone, "OWN_STEPS", 2)
    monkeypatch.setattr(base, "Training", lambda: Training(steps=2))


def take_part(config: LearnerConfig, change: Change) -> None:
    """An edge in a thread, whose answers are changed on their way out."""
    try:
        with Member(config.control, config.name, "edge") as member:
            learner = Learner(config)
            member.ready()
            while member.stop_reason is None:
                message = member.hear(0.05)
                answer = learner.answer(message) if message is not None else None
                if answer is not None:
                    member.say(change(answer))
    except (PeerLost, RunIncomplete):
        pass


def play(folder: Path, liar: Change, quorum: int = 2) -> RunFolder:
    """Two rounds of three edges, the third of which lies."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        control = f"tcp://127.0.0.1:{s.getsockname()[1]}"
    public = PARTS.public.pictures[:40]
    type(PARTS.public)(public).write(folder / "public.npz")
    shared = {"role": "federation", "control": control, "codec": "classifier", "symbols": 4, "classes": 10}
    shared["records_at_most"] = 80
    config = TeacherConfig(
        name="server",
        seed=1,
        expects=NAMES,
        public=str(folder / "public.npz"),
        strategy="evidence",
        mechanism="gaussian",
        noise_multiplier=1.5,
        rounds=2,
        quorum=quorum,
        deadline_s=LIMIT_S,
        **shared,
    )
    edges = []
    for number, name in enumerate(NAMES):
        own = folder / name
        PARTS.clients[number].write(own / "records.npz")
        privacy = PrivacyPart(
            epsilon=math.inf, delta=1e-5, mechanism="gaussian", noise_multiplier=1.5, ledger=str(own / "ledger.jsonl")
        )
        learner = LearnerConfig(
            name=name,
            seed=number,
            records=str(own / "records.npz"),
            state=str(own),
            link=Link("AWGN", 12.0),
            privacy=privacy,
            **shared,
        )
        change: Change = liar if name == NAMES[-1] else lambda answer: answer
        edges.append(threading.Thread(target=take_part, args=(learner, change), daemon=True))
    for edge in edges:
        edge.start()
    try:
        run_rounds(config, folder / "run", lambda: False)
    finally:
        for edge in edges:
            edge.join(LIMIT_S)
    return RunFolder(folder / "run")


def louder(answer: AnyMessage) -> AnyMessage:
    if not isinstance(answer, Upload):
        return answer
    (tensor,) = answer.tensors.values()
    values = 1e4 * np.frombuffer(tensor.data, "<f4").reshape(tensor.shape)
    return msgspec.structs.replace(answer, tensors=pack({"evidence": values}))


def noisier(answer: AnyMessage) -> AnyMessage:
    return msgspec.structs.replace(answer, noise_std=1e6) if isinstance(answer, Upload) else answer


@pytest.mark.parametrize(("lie", "words"), [(louder, "L2 norm"), (noisier, "noise of standard deviation 1e+06")])
def test_an_upload_that_lies_is_refused_by_name_in_every_round_and_the_run_goes_on(
    lie: Change, words: str, tmp_path: Path
):
    folder = play(tmp_path, lie)
    lines = [line for line in folder.read_lines(EVENTS) if line.get("event") == "round"]
    assert [(line["round"], line["uploads"]) for line in lines] == [(1, 2), (2, 2)]
    for line in lines:
        assert list(line["rejected"]) == ["edge-3"]
        assert words in line["rejected"]["edge-3"] and "edge-3" in line["rejected"]["edge-3"]
        assert line["refused"] == line["missing"] == line["lost"] == {}


def other_pair(answer: AnyMessage) -> AnyMessage:
    return msgspec.structs.replace(answer, sha256="0" * 64) if isinstance(answer, Installed) else answer


def test_an_edge_that_installed_another_pair_is_out_and_below_the_quorum_nothing_goes_on(tmp_path: Path):
    """From round 0 on: with a quorum of two the others finish; with one of three the run ends and names it."""
    folder = play(tmp_path / "two", other_pair)
    lines = [line for line in folder.read_lines(EVENTS) if line.get("event") == "round"]
    assert [line["uploads"] for line in lines] == [2, 2]
    assert all("installed 00000000 in round 0" in line["missing"]["edge-3"] for line in lines)
    with pytest.raises(PeerLost, match=r"fewer than 3 of 3 .* missing edge-3 \(installed 00000000"):
        play(tmp_path / "three", other_pair, quorum=3)
