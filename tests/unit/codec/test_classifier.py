"""Task codecs: channels as stated, pairs installed whole, ONNX equal to what was trained."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from testbed.codec.card import digest_pair
from testbed.codec.classifier import Classifier, install, read_installed
from testbed.codec.evidence import Landmarks
from testbed.codec.links import Link
from testbed.errors import CodecError, ScenarioError
from tests.requirements import TRAINING

torch = pytest.importorskip("torch", reason=TRAINING)
from testbed.codec.train import classifier as training  # noqa: E402
from tests.unit.codec.changed_codecs import after, rename  # noqa: E402


@pytest.fixture(scope="module")
def pairs() -> list[tuple[bytes, bytes]]:
    return [training.export(training.new_pair(64, 4, 10, seed)) for seed in (1, 2)]


@pytest.mark.parametrize("kind", ["AWGN", "Rayleigh"])
def test_a_link_adds_the_error_that_it_reports(kind: str, rng: np.random.Generator):
    """|e|^2 / no_eff is exponential of mean one: mean within 1 %; AWGN reports 1/SNR, Rayleigh on average more."""
    sent = np.exp(2j * np.pi * rng.random((2000, 50))).astype(np.complex64)
    received, no_eff = Link(kind, 7.0).receive(sent, rng)
    assert np.mean(np.abs(received - sent) ** 2 / no_eff) == pytest.approx(1.0, rel=0.01)
    gain = 10**-0.7 / no_eff
    assert np.mean(gain) == pytest.approx(1.0, rel=0.02)
    assert np.std(gain) == pytest.approx(float(kind == "Rayleigh"), abs=0.03)
    for wrong in (("Rice", 7.0), ("AWGN", 1e3)):
        with pytest.raises(ScenarioError, match="allowed"):
            Link(*wrong)


def test_onnx_says_what_the_trained_pair_says(pairs: list[tuple[bytes, bytes]], rng: np.random.Generator):
    pair = training.new_pair(64, 4, 10, seed=1)
    pictures = rng.random((7, 64), np.float32)
    exported = Classifier(*pairs[0])
    sent = exported.encode(pictures)
    assert np.mean(np.abs(sent) ** 2, axis=1) == pytest.approx(1.0, rel=1e-4)
    no_eff = np.full(sent.shape, 1e-9, np.float32)
    with torch.no_grad():
        wanted = pair.decoder(pair.encoder(torch.from_numpy(pictures)), torch.from_numpy(no_eff)).numpy()
    assert exported.logits(sent, no_eff) == pytest.approx(wanted, abs=1e-4)


def test_the_first_pair_knows_nothing_of_labels(rng: np.random.Generator):
    """Its logits are equal for every picture; its symbols keep more of the pictures than as many drawn axes would."""
    public = rng.random((50, 64), np.float32)
    pair = Classifier(*training.export(training.first_pair(public, 4, 10)))
    sent = pair.encode(public)
    assert np.ptp(pair.logits(sent, np.ones(sent.shape, np.float32)), axis=1) == pytest.approx(0.0)


def test_a_pair_is_installed_whole_or_not_at_all(
    pairs: list[tuple[bytes, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Halves of two pairs, a damaged model and a process that dies at any file: what was installed before stays."""
    first, second = pairs
    digests = [digest_pair(*p) for p in pairs]
    install(tmp_path, 1, *first, digests[0])
    with pytest.raises(CodecError, match="not installed"):
        install(tmp_path, 2, first[0], second[1], digests[1])
    with pytest.raises(CodecError, match="cannot be loaded here"):
        install(tmp_path, 2, b"not ONNX", second[1], digest_pair(b"not ONNX", second[1]))
    replace = os.replace
    for survives in range(3):
        left = [survives]

        def dies(source: object, target: object, left: list[int] = left) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            replace(source, target)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", dies)
            with pytest.raises(KeyboardInterrupt):
                install(tmp_path, 2, *second, digests[1])
        installed, pair = read_installed(tmp_path)
        assert (installed.round, pair.digest, pair.encoder, pair.decoder) == (1, digests[0], *first)
    install(tmp_path, 2, *second, digests[1])
    assert read_installed(tmp_path)[1].digest == digests[1]
    (tmp_path / digests[1][:16] / "decoder.onnx").write_bytes(first[1])
    with pytest.raises(CodecError, match="not the one"):
        read_installed(tmp_path)


def test_descriptions_are_one_long_and_find_the_sample_itself(rng: np.random.Generator):
    symbols = rng.standard_normal((60, 8, 2))
    sent = (symbols @ np.array([1, 1j])).astype(np.complex64)
    marks = Landmarks(sent)
    rows = marks.describe(sent)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0)
    assert np.array_equal(rows.argmax(axis=1), np.arange(60))
    assert rows == pytest.approx(marks.own())


@pytest.mark.parametrize(
    ("half", "output", "operator", "value"),
    [(0, "symbols", "Mul", "nan"), (0, "symbols", "Mul", 2.0), (1, "logits", "Mul", "nan"), (0, "symbols", "", "")],
    ids=["symbols-nan", "power-4", "logits-nan", "name"],
)
def test_a_pair_that_breaks_a_convention_is_not_installed(
    half: int, output: str, operator: str, value: object, pairs: list[tuple[bytes, bytes]], tmp_path: Path
):
    """As any codec: symbols that are no numbers or of another power, logits that are none, another name."""
    halves = [onnx.load_model_from_string(part) for part in pairs[0]]
    if operator:
        after(halves[half], output, operator, np.float32(value))
    else:
        rename(halves[half], output, "latent")
    models = [part.SerializeToString() for part in halves]
    with pytest.raises(CodecError, match="round 1 cannot be loaded here: not installed"):
        install(tmp_path, 1, *models, digest_pair(*models))
    assert list(tmp_path.iterdir()) == []
