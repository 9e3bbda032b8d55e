"""An edge in a federated run, message by message, without sockets: what it gives, what it refuses, what it installs."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.requirements import TRAINING

pytest.importorskip("torch", reason=TRAINING)
pytest.importorskip("dp_accounting", reason=TRAINING)

import torch
from torch import nn

from edge.learner import Learner, in_our_words
from testbed.codec.card import digest_pair
from testbed.codec.classifier import Classifier, read_installed
from testbed.codec.links import Link
from testbed.codec.plain import require_plain
from testbed.codec.train.classifier import export, first_pair, new_pair, to_onnx
from testbed.control.messages import Ask, Heartbeat, Installed, Pair, PublicSet, Refusal, Tensor, Upload
from testbed.data.digits import split
from testbed.data.partition import Labelled
from testbed.errors import CodecError, DataError, LedgerError, ProtocolError, RunIncomplete, ShapeError
from testbed.federation import alone
from testbed.federation.config import LearnerConfig, PrivacyPart
from testbed.federation.evidence import evidence
from testbed.privacy.budget import noise_multiplier

PARTS = split(seed=1)
PUBLIC = PARTS.public.pictures[:40]
PUBLIC_SET = PublicSet(pixels=64, pictures=PUBLIC.tobytes())


def pair_message(number: int, encoder: bytes, decoder: bytes) -> Pair:
    return Pair(round=number, encoder=encoder, decoder=decoder, sha256=digest_pair(encoder, decoder))


FIRST = pair_message(0, *export(first_pair(PUBLIC, 4, 10)))
SECOND = pair_message(1, *export(new_pair(64, 4, 10, seed=3)))


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LearnerConfig:
    """An edge whose budget is laid out for two releases."""
    monkeypatch.setattr(alone, "OWN_STEPS", 2)
    PARTS.clients[0].write(tmp_path / "records.npz")
    return LearnerConfig(
        role="federation",
        name="edge-1",
        seed=7,
        control="tcp://127.0.0.1:1",
        records=str(tmp_path / "records.npz"),
        state=str(tmp_path),
        link=Link("Rayleigh", 10.0),
        privacy=PrivacyPart(
            epsilon=4.0,
            delta=1e-5,
            mechanism="gaussian",
            noise_multiplier=1.53,
            ledger=str(tmp_path / "ledger.jsonl"),
        ),
        codec="classifier",
        symbols=4,
        classes=10,
        records_at_most=80,
    )


def ready(config: LearnerConfig) -> Learner:
    learner = Learner(config)
    assert learner.answer(PUBLIC_SET) is None
    assert learner.answer(FIRST) == Installed(node="edge-1", round=0, sha256=FIRST.sha256)
    return learner


def ask(number: int, pair: Pair = FIRST, strategy: str = "evidence", **changed: object) -> Ask:
    plain = Ask(
        round=number, strategy=strategy, mechanism="gaussian", noise_multiplier=1.53, sha256=pair.sha256, tensors={}
    )
    return msgspec.structs.replace(plain, **changed)


def values(upload: object, name: str = "evidence") -> np.ndarray:
    assert isinstance(upload, Upload)
    tensor = upload.tensors[name]
    return np.frombuffer(tensor.data, "<f4").reshape(tensor.shape)


def test_a_server_that_asks_for_more_is_refused_by_the_edge(config: LearnerConfig):
    """Two releases fit the budget; a third, and one by another strategy, and one asked of the restarted edge do not."""
    assert noise_multiplier(4.0, 2) <= config.privacy.noise_multiplier < noise_multiplier(4.0, 3)
    learner = ready(config)
    for number in (1, 2):
        upload = learner.answer(ask(number))
        assert isinstance(upload, Upload)
        assert values(upload).shape == (40, 10)
        assert upload.noise_std == pytest.approx(1.53)
    before = learner.ledger.path.read_bytes()
    assert isinstance(learner.answer(ask(3)), Refusal)
    assert isinstance(learner.answer(ask(4, strategy="mean-logits")), Refusal)
    again = ready(config).answer(ask(1))
    assert isinstance(again, Refusal)
    assert "budget is 4" in again.reason
    assert learner.ledger.path.read_bytes() == before
    assert learner.ledger.spent() <= 4.0


@pytest.mark.parametrize("strategy", ["evidence", "mean-logits"])
def test_who_asks_after_the_budget_is_spent_makes_no_edge_work(config: LearnerConfig, strategy: str, monkeypatch):
    """Nothing is computed for a release that the ledger refuses: no training, no pass over records."""
    learner = ready(config)
    assert isinstance(learner.answer(ask(1)), Upload)
    assert isinstance(learner.answer(ask(2)), Upload)
    monkeypatch.setattr("testbed.federation.evidence.receive_each", lambda *_: pytest.fail("records were read"))
    models = "testbed.federation.training.ClassifierModels"
    monkeypatch.setattr(f"{models}.fit", lambda *_: pytest.fail("the edge trained"))
    monkeypatch.setattr(f"{models}.logits", lambda *_: pytest.fail("the edge was evaluated"))
    assert isinstance(learner.answer(ask(3, strategy=strategy)), Refusal)


def test_what_fails_after_the_charge_counts_as_released(config: LearnerConfig, monkeypatch: pytest.MonkeyPatch):
    """The ledger may count too much, never too little; a release of another shape than charged does not leave."""
    learner = ready(config)
    monkeypatch.setattr("testbed.federation.evidence.receive_each", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        learner.answer(ask(1))
    assert len(learner.ledger.entries()) == 1
    monkeypatch.undo()
    made = {"evidence": np.zeros((41, 10))}
    monkeypatch.setattr("testbed.federation.evidence.EvidenceClient.value", lambda *_: made)
    with pytest.raises(ShapeError, match="agreed"):
        learner.answer(ask(2))
    assert len(learner.ledger.entries()) == 2


def test_asked_again_for_the_same_round_an_edge_repeats_its_words(config: LearnerConfig):
    """The bus may deliver a question twice. New noise on the same value would be another release."""
    learner = ready(config)
    first = learner.answer(ask(1))
    assert learner.answer(ask(1)) == first
    assert len(learner.ledger.entries()) == 1


def test_noise_is_fresh_unless_a_seed_is_named(config: LearnerConfig, tmp_path: Path):
    """With the system's noise two edges alike in all else differ; with a seed they do not."""

    def upload(seed: int | None, number: int) -> bytes:
        privacy = msgspec.structs.replace(config.privacy, noise_seed=seed, ledger=str(tmp_path / f"{number}.jsonl"))
        answer = ready(msgspec.structs.replace(config, privacy=privacy)).answer(ask(1))
        assert isinstance(answer, Upload)
        return answer.tensors["evidence"].data

    assert upload(None, 1) != upload(None, 2)
    assert upload(5, 3) == upload(5, 4)


def test_what_is_released_is_the_value_and_the_noise_that_is_stated(config: LearnerConfig):
    """Released less exact: mean zero and the stated deviation, 400 values, 4 sigma."""
    learner = ready(config)
    answer = learner.answer(ask(1))
    assert isinstance(answer, Upload)
    noisy = values(answer)
    pair = Classifier(FIRST.encoder, FIRST.decoder)
    exact = evidence(PUBLIC, PARTS.clients[0], pair, config.link, 10, config.seed, 1)
    assert np.mean(noisy - exact) == pytest.approx(0.0, abs=4 * 1.53 / 20)
    assert np.std(noisy - exact) == pytest.approx(1.53, rel=4 / math.sqrt(800))


def test_one_record_moves_the_evidence_by_one_and_no_more(config: LearnerConfig):
    """Each of 80 records left out in turn, the channel's noise and its seed included in what a server may know.

    The distance is one for every record: the bound is kept, and no budget is wasted on one that is never reached.
    """
    records, pair = PARTS.clients[0], Classifier(SECOND.encoder, SECOND.decoder)

    def value(of: Labelled) -> np.ndarray:
        return evidence(PUBLIC, of, pair, config.link, 10, config.seed, 1)

    whole = value(records)
    moved = [np.linalg.norm(whole - value(records[np.arange(len(records)) != i])) for i in range(0, 80, 4)]
    assert moved == pytest.approx([1.0] * len(moved))


def test_encoder_and_decoder_change_together(config: LearnerConfig):
    """A pair whose halves do not belong together is not installed; what was there goes on answering."""
    learner = ready(config)
    mixed = msgspec.structs.replace(SECOND, encoder=FIRST.encoder)
    with pytest.raises(CodecError, match="not installed"):
        learner.answer(mixed)
    assert read_installed(Path(config.state))[1].digest == FIRST.sha256
    assert isinstance(learner.answer(ask(1)), Upload)
    assert learner.answer(SECOND) == Installed(node="edge-1", round=1, sha256=SECOND.sha256)
    installed, pair = read_installed(Path(config.state))
    assert (installed.round, pair.encoder, pair.decoder) == (1, SECOND.encoder, SECOND.decoder)


def test_what_makes_no_sense_is_not_answered(config: LearnerConfig):
    learner = ready(config)
    with pytest.raises(CodecError, match="did not come in round 0"):
        learner.answer(ask(1, SECOND))
    assert isinstance(learner.answer(ask(1, strategy="records")), Refusal)
    with pytest.raises(ProtocolError, match="no edge takes"):
        learner.answer(Heartbeat(node="server"))
    for pictures in (b"", PUBLIC.tobytes()[:-4], (2 * PUBLIC + 1).tobytes()):
        with pytest.raises(ProtocolError, match="public set"):
            learner.answer(PublicSet(pixels=64, pictures=pictures))
    assert not learner.ledger.entries()


@pytest.mark.parametrize(
    "changed",
    [
        {"mechanism": "laplace"},
        {"mechanism": "none"},
        {"noise_multiplier": 0.0},
        {"noise_multiplier": 1e6},
        {"noise_multiplier": math.nan},
        {"noise_multiplier": -1.53},
        {"round": 0},
        {"round": 101},
        {"round": -1},
        {"strategy": "x" * 10_000},
        {"tensors": {"evidence": Tensor("float32", (1,), bytes(4))}},
        {"strategy": "fedavg"},
        {"strategy": "fedavg", "tensors": {"weights": Tensor("float32", (2**40,), b"")}},
    ],
)
def test_an_ask_outside_of_what_an_edge_agreed_to_is_refused_and_costs_nothing(config: LearnerConfig, changed: dict):
    """Other noise than its own, rounds that there are not, tensors that the strategy does not send, or not all."""
    learner = ready(config)
    answer = learner.answer(ask(changed.get("round", 1), **{k: v for k, v in changed.items() if k != "round"}))
    assert isinstance(answer, Refusal)
    assert 0 < len(answer.reason) < 300
    assert not learner.ledger.entries()


def test_what_is_public_comes_once(config: LearnerConfig):
    """The same again is taken, since the bus may repeat itself; other public pictures, or another first pair, are not:
    what was agreed would change under a strategy that has begun."""
    learner = ready(config)
    assert learner.answer(PUBLIC_SET) is None
    assert isinstance(learner.answer(FIRST), Installed)
    with pytest.raises(ProtocolError, match="public set"):
        learner.answer(PublicSet(pixels=64, pictures=PUBLIC[:39].tobytes()))
    with pytest.raises(ProtocolError, match="pictures of 32 pixels; here: 64"):
        learner.answer(PublicSet(pixels=32, pictures=PUBLIC.tobytes()))
    with pytest.raises(ProtocolError, match="round 0"):
        learner.answer(msgspec.structs.replace(SECOND, round=0))
    assert isinstance(learner.answer(ask(1)), Upload)


def test_another_mechanism_is_charged_and_added_by_its_own_norm(config: LearnerConfig):
    """Laplace: the L1 sensitivity of a column of 40 values of length one, and a LaplaceDpEvent on the ledger."""
    privacy = msgspec.structs.replace(config.privacy, mechanism="laplace", noise_multiplier=2.0)
    learner = ready(msgspec.structs.replace(config, privacy=privacy))
    upload = learner.answer(ask(1, mechanism="laplace", noise_multiplier=2.0))
    assert isinstance(upload, Upload)
    (entry,) = learner.ledger.entries()
    assert entry.event == {"kind": "LaplaceDpEvent", "noise_multiplier": 2.0}
    assert entry.sensitivity == pytest.approx(math.sqrt(40))
    assert (upload.mechanism, upload.noise_std) == ("laplace", pytest.approx(2 * math.sqrt(40) * math.sqrt(2)))
    assert np.std(values(upload)) == pytest.approx(upload.noise_std, rel=0.3)


def test_an_edge_with_more_records_than_agreed_does_not_begin(config: LearnerConfig):
    with pytest.raises(DataError, match="records_at_most = 79"):
        Learner(msgspec.structs.replace(config, records_at_most=79))


def test_an_edge_with_a_damaged_ledger_does_not_begin(config: LearnerConfig):
    ready(config).answer(ask(1))
    path = Path(config.privacy.ledger)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(LedgerError, match="nothing is released"):
        Learner(config)


class Lookup(nn.Module):
    """An encoder that fails on a look-up whose index is a private pixel sum, and so says it in its error."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("table", torch.zeros(4))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.encoder(pictures) + self.table[(pictures.sum() * 1e6).long()]


class Mixing(nn.Module):
    """An encoder made of plain arithmetic only, that lets each record of a batch speak of all the others."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.encoder(pictures) * (pictures.mean(dim=(0, 1), keepdim=True) - 0.305) * 1e4


class Bursting(nn.Module):
    """An encoder whose output is not a number for bright records."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        bright = torch.exp(100.0 * pictures[:, :8].sum(dim=1, keepdim=True))
        return pictures[:, :8] + bright - bright


def as_message(encoder: nn.Module) -> Pair:
    """A pair of round 0 with such an encoder."""
    model = to_onnx(encoder, {"pictures": torch.zeros(2, 64)}, "symbols")
    return pair_message(0, model, FIRST.decoder)


def test_a_servers_encoder_that_is_not_plain_never_sees_a_record(config: LearnerConfig):
    """Refused by its operators before it runs, by a message that holds none of the records."""
    learner = Learner(config)
    learner.answer(PUBLIC_SET)
    message = as_message(Lookup(first_pair(PUBLIC, 4, 10).encoder))
    with pytest.raises(CodecError, match="Gather") as refused:
        learner.answer(message)
    assert "idx" not in str(refused.value)
    assert not learner.ledger.entries()


@pytest.mark.parametrize("kind", ["mixing", "bursting"])
def test_one_record_moves_the_evidence_by_one_whatever_the_encoder_is(config: LearnerConfig, kind: str):
    """Plain arithmetic, meant to betray: mean over the batch, and infinity less infinity. Each record left out once."""
    message = as_message(Mixing(first_pair(PUBLIC, 4, 10).encoder) if kind == "mixing" else Bursting())
    require_plain(message.encoder, "round 0")
    pair = Classifier(message.encoder, message.decoder)
    records = PARTS.clients[0]
    link = Link("AWGN", 18.0)
    whole = evidence(PUBLIC, records, pair, link, 10, 7, 1)
    assert np.all(np.isfinite(whole))
    for left_out in range(0, len(records), 8):
        kept = np.arange(len(records)) != left_out
        without = evidence(PUBLIC, Labelled(records.pictures[kept], records.labels[kept]), pair, link, 10, 7, 1)
        assert np.linalg.norm(whole - without) <= 1.0 + 1e-9


def test_what_a_library_says_of_a_failure_stays_with_the_edge():
    """Whatever is raised, the server hears a sentence that is always the same."""
    with pytest.raises(RunIncomplete) as installed, in_our_words("edge-1"):
        raise RuntimeError(f"idx={PARTS.clients[0].pictures.sum()}")
    assert str(installed.value) == "edge-1 failed; why stands in its own log, and only there"


class Placed(nn.Module):
    """Plain arithmetic that makes the last bit of a sum, taken in two ways, large."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        twice = pictures.sum(dim=1, keepdim=True) - pictures @ torch.ones(64, 1)
        return torch.tanh(1e6 * twice) * torch.linspace(-3, 3, 8)[None]


def test_last_bits_of_a_record_do_not_depend_on_its_place():
    """Records at other places in memory, and in other numbers: what one gives is the same to the last bit, because an
    encoder can make that bit as large as it likes."""
    message = as_message(Placed())
    require_plain(message.encoder, "round 0")
    pair, link = Classifier(message.encoder, message.decoder), Link("AWGN", 40.0)
    dim = np.float32(0.937)  # makes of sixteenths, whose sums are exact, other fractions
    public = PARTS.public.pictures[:79] * dim
    records = Labelled(PARTS.clients[0].pictures * dim, PARTS.clients[0].labels)
    whole = evidence(public, records, pair, link, 10, 7, 1)
    for left_out in range(0, len(records), 9):
        kept = np.arange(len(records)) != left_out
        without = evidence(public, Labelled(records.pictures[kept], records.labels[kept]), pair, link, 10, 7, 1)
        assert np.linalg.norm(whole - without) <= 1.0 + 1e-9
    room = np.empty(records.pictures.size + 16, np.float32)
    for shift in (1, 4, 8, 12):
        moved = room[shift : shift + records.pictures.size].reshape(records.pictures.shape)
        moved[...] = records.pictures
        again = evidence(public, Labelled(moved, records.labels), pair, link, 10, 7, 1)
        np.testing.assert_array_equal(again, whole)


class Choosy(Classifier):
    """A pair that fails on one record, whatever way it found to do so."""

    hated = PARTS.clients[0].pictures[5]

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        if (pictures == self.hated).all(axis=1).any():
            raise RuntimeError("not this one")
        return super().encode(pictures)


def test_a_record_on_which_the_encoder_fails_counts_as_nothing(config: LearnerConfig, monkeypatch: pytest.MonkeyPatch):
    """Evidence as if it were not there, and at installation no word but in the edge's own diary."""
    records, link = PARTS.clients[0], Link("AWGN", 18.0)
    pair = Choosy(FIRST.encoder, FIRST.decoder)
    kept = np.arange(len(records)) != 5
    without = Labelled(records.pictures[kept], records.labels[kept])
    whole = evidence(PUBLIC, records, pair, link, 10, 7, 1)
    np.testing.assert_allclose(whole, evidence(PUBLIC, without, pair, link, 10, 7, 1), atol=1e-12)
    monkeypatch.setattr("testbed.codec.classifier.Classifier.encode", Choosy.encode)
    monkeypatch.setattr(Classifier, "hated", Choosy.hated, raising=False)
    monkeypatch.setattr("testbed.codec.classifier.Classifier.logits", lambda *_: 1 / 0)
    learner = Learner(config)
    learner.answer(PUBLIC_SET)
    assert learner.answer(FIRST) == Installed(node="edge-1", round=0, sha256=FIRST.sha256)
    assert '"accuracy_on_own_records":null' in (Path(config.state) / "rounds.jsonl").read_text()


def test_an_edge_without_records_says_so(config: LearnerConfig):
    none = np.zeros(0, np.int64)
    Labelled(np.zeros((0, 64), np.float32), none).write(Path(config.records))
    with pytest.raises(DataError, match="edge-1: has no records"):
        Learner(config)


def test_bounded_logits_are_what_their_sensitivity_says(config: LearnerConfig):
    """By the other strategy: rows at most 10 long, and the noise for 2 x 10 x sqrt(40)."""
    privacy = msgspec.structs.replace(config.privacy, epsilon=math.inf, noise_multiplier=0.0)
    learner = ready(msgspec.structs.replace(config, privacy=privacy))
    rows = values(learner.answer(ask(1, strategy="mean-logits", noise_multiplier=0.0)), "logits")
    assert np.linalg.norm(rows, axis=1).max() <= 10.0 * (1 + 1e-6)
    assert learner.ledger.entries()[0].sensitivity == pytest.approx(20 * math.sqrt(40))
