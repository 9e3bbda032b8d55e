"""The examples of docs/extending.md on a strategy and a mechanism, as they stand there, put through a round."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.requirements import TRAINING

pytest.importorskip("torch", reason=TRAINING)
pytest.importorskip("dp_accounting", reason=TRAINING)

from testbed.codec.classifier import Classifier
from testbed.codec.links import Link
from testbed.control.messages import Upload
from testbed.data.digits import split
from testbed.federation import base
from testbed.federation.base import Agreed, ClientSide, ServerSide, shapes
from testbed.federation.models import Training, open_models
from testbed.federation.registry import STRATEGIES, open_strategy
from testbed.federation.screening import screened
from testbed.federation.tensors import pack, require
from testbed.privacy.accounting import as_tree
from testbed.privacy.budget import noise_multiplier
from testbed.privacy.ledger import Budget, Ledger
from testbed.privacy.mechanisms.registry import MECHANISMS, open_mechanism
from testbed.privacy.noise import SeededNoise
from testbed.privacy.sensitivity import Sensitivity

PAGE = Path(__file__).parents[3] / "docs" / "extending.md"
LONGEST = 50  # lines that an example may have


def example(of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of the page that is marked so, as a module that a registry finds."""
    (code,) = re.findall(rf"```python {of}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.splitlines()) <= LONGEST
    module = ModuleType(f"example_{of}")
    exec(compile(code, f"{PAGE.name}, {of}", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    example("strategy", monkeypatch)
    example("mechanism", monkeypatch)
    monkeypatch.setitem(STRATEGIES, "class-means", "example_strategy:CLASS_MEANS")
    monkeypatch.setitem(MECHANISMS, "gaussian-grid", "example_mechanism:GriddedGaussian")
    monkeypatch.setattr(base, "Training", lambda: Training(steps=3))


@pytest.mark.usefixtures("added")
def test_a_round_of_the_example_strategy_with_the_example_mechanism(tmp_path: Path, rng: np.random.Generator):
    """Ten clients of two labels each, epsilon 8: four of five public digits get the right label; a pair comes out."""
    parts = split(1)
    public = parts.public.pictures
    models = open_models("classifier", 64, 4, 10)
    first = Classifier(*models.first(public))
    agreed = Agreed(
        samples=len(public), pixels=64, symbols=4, classes=10, records_at_most=80, weights=shapes(models.new(0))
    )
    strategy = open_strategy("class-means")
    mechanism = open_mechanism("gaussian-grid", noise_multiplier(8.0, 1, mechanism="gaussian-grid"))
    release = strategy.release(agreed)
    server = strategy.server(ServerSide(agreed, public, 1, models, first))
    taken = []
    for number, records in enumerate(parts.clients):
        ledger = Ledger(tmp_path / f"{number}.jsonl", Budget(8.0, 1e-5))
        ledger.charge("class-means", as_tree(mechanism.event()), mechanism.bound_of(release.sensitivity), 640)
        side = ClientSide(agreed, records, public, Link("AWGN", 10.0), number, models, first, {})
        value = strategy.client(side).value(1, first, server.sends())
        require(value, release.tensors, strategy.name)
        noisy = {name: mechanism.add(value[name], release.sensitivity, SeededNoise(rng)) for name in value}
        std = mechanism.std(release.sensitivity)
        upload = Upload(node=f"edge-{number}", round=1, tensors=pack(noisy), mechanism="gaussian-grid", noise_std=std)
        taken.append(screened(upload, release, mechanism))
    server.take(taken)
    right = server.probabilities().argmax(axis=1) == parts.public_labels  # type: ignore[attr-defined]
    assert right.mean() > 0.8
    assert Classifier(*server.teach(1)).encode(public).shape == (len(public), 4)


@pytest.mark.usefixtures("added")
def test_the_example_mechanism_releases_multiples_of_its_step_with_the_noise_of_its_event(rng: np.random.Generator):
    mechanism, of = open_mechanism("gaussian-grid", 1.5), Sensitivity(l2=2.0, l1=9.0)
    value = rng.standard_normal((200, 200))
    noisy = mechanism.add(value, of, SeededNoise(rng))
    steps = noisy / (3.0 / 64)
    assert np.array_equal(steps, np.round(steps))
    assert np.std(noisy - value) == pytest.approx(mechanism.std(of), rel=0.02)
    assert as_tree(mechanism.event()) == as_tree(open_mechanism("gaussian", 1.5).event())
