"""What every strategy must do: its halves fit each other, a record moves no more than it says, the rest is refused.

A strategy joins by its line in the registry. Real models on 40 public digits; training is short: what is learned is not
asked here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from tests.requirements import TRAINING

pytest.importorskip("torch", reason=TRAINING)

from testbed.codec.classifier import Classifier
from testbed.codec.links import Link
from testbed.codec.plain import require_plain
from testbed.control.messages import Tensor, Upload
from testbed.data.digits import split
from testbed.data.partition import Labelled
from testbed.errors import ProtocolError
from testbed.federation import alone, base
from testbed.federation.alone import learn_alone
from testbed.federation.base import Agreed, ClientSide, Release, ServerSide, Strategy, shapes
from testbed.federation.models import Models, Training, open_models
from testbed.federation.registry import STRATEGIES, open_strategy
from testbed.federation.screening import screened
from testbed.federation.tensors import Spec, Tensors, pack, require, unpack
from testbed.privacy.mechanisms.base import Mechanism
from testbed.privacy.mechanisms.registry import MECHANISMS, open_mechanism
from testbed.privacy.noise import SeededNoise

PARTS = split(seed=1)
PUBLIC = PARTS.public.pictures[:40]
SYMBOLS, CLASSES = 4, 10


@pytest.fixture(params=sorted(STRATEGIES))
def strategy(request: pytest.FixtureRequest) -> Strategy:
    return open_strategy(request.param)


@pytest.fixture(scope="module")
def models() -> Models:
    return open_models("classifier", 64, SYMBOLS, CLASSES)


@pytest.fixture(scope="module")
def first(models: Models) -> Classifier:
    return Classifier(*models.first(PUBLIC))


@pytest.fixture
def agreed(models: Models) -> Agreed:
    weights = shapes(models.new(0))
    return Agreed(samples=40, pixels=64, symbols=SYMBOLS, classes=CLASSES, records_at_most=80, weights=weights)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps wherever a strategy trains by the defaults."""
    monkeypatch.setattr(alone, "OWN_STEPS", 3)
    monkeypatch.setattr(base, "Training", lambda: Training(steps=3))


@pytest.fixture
def make_client(agreed: Agreed, models: Models, first: Classifier) -> Callable[..., ClientSide]:
    def make(records: Labelled = PARTS.clients[0], seed: int = 7) -> ClientSide:
        link = Link("Rayleigh", 12.0)
        own = learn_alone(models, records, CLASSES, link, seed, lambda: False)
        return ClientSide(agreed, records, PUBLIC, link, seed, models, first, own)

    return make


@pytest.fixture
def server_side(agreed: Agreed, models: Models, first: Classifier) -> ServerSide:
    return ServerSide(agreed, PUBLIC, 3, models, first)


def upload_of(node: str, value: Tensors, of: Release, mechanism: Mechanism, noise: SeededNoise) -> Upload:
    noisy = {name: mechanism.add(value[name], of.sensitivity, noise) for name in of.tensors}
    std = mechanism.std(of.sensitivity)
    return Upload(node=node, round=1, tensors=pack(noisy), mechanism=mechanism.name, noise_std=std)


def test_its_name_is_the_one_it_is_registered_by(strategy: Strategy):
    assert open_strategy(strategy.name) is strategy
    assert strategy.about


def test_the_halves_fit_each_other_over_two_rounds(
    strategy: Strategy,
    agreed: Agreed,
    make_client: Callable[..., ClientSide],
    server_side: ServerSide,
    rng: np.random.Generator,
):
    """What the server sends, clients unpack; what clients release, the server takes; what it teaches is a pair that any
    edge installs. Nothing given changes nothing; something given does; and all of it again gives the same bytes."""

    def played() -> list[tuple[bytes, bytes]]:
        server = strategy.server(server_side)
        clients = [strategy.client(make_client(PARTS.clients[i], i)) for i in range(3)]
        of, none = strategy.release(agreed), open_mechanism("gaussian", 0.0)
        pair, taught = server_side.first, []
        for number in (1, 2):
            server.take([])
            before = server.teach(number)
            sent = unpack(pack(server.sends()), strategy.sends(agreed), "the server")
            values = [client.value(number, pair, sent) for client in clients]
            uploads = [upload_of(f"edge-{i}", v, of, none, SeededNoise(rng)) for i, v in enumerate(values)]
            server.take([screened(upload, of, none) for upload in uploads])
            after = server.teach(number)
            assert after != before
            server.take([])
            assert server.teach(number) == after
            for half in after:
                require_plain(half, "a pair")
            pair = Classifier(*after)
            taught.append(after)
        assert pair.logits(*Link("AWGN", 10.0).receive(pair.encode(PUBLIC), rng)).shape == (40, CLASSES)
        return taught

    assert played() == played()


def test_what_is_released_is_what_was_promised(
    strategy: Strategy, agreed: Agreed, make_client: Callable[..., ClientSide], server_side: ServerSide
):
    """Names, shapes, norms and largest values of two rounds; also of records that are all alike, or no numbers."""
    of, sent = strategy.release(agreed), strategy.server(server_side).sends()
    require(sent, strategy.sends(agreed), strategy.name)
    own = PARTS.clients[0]
    broken = own.pictures.copy()
    broken[3], broken[4] = np.nan, 1e30
    alike = Labelled(np.ones_like(own.pictures), np.zeros_like(own.labels))
    for records in (own, alike, Labelled(broken, own.labels)):
        client = strategy.client(make_client(records))
        for number in (1, 2):
            value = client.value(number, server_side.first, sent)
            require(value, of.tensors, strategy.name)
            for name, spec in of.tensors.items():
                assert np.linalg.norm(value[name]) <= spec.l2 * (1 + 1e-6), name
                assert np.abs(value[name]).max() <= spec.largest * (1 + 1e-6), name
    assert of.values == sum(v.size for v in value.values())


def test_a_record_moves_a_release_by_no_more_than_its_sensitivity(
    strategy: Strategy, make_client: Callable[..., ClientSide], server_side: ServerSide, agreed: Agreed
):
    """In L2 and L1; records left out, and one added that is unlike all others, the client's own training included."""
    of, sent = strategy.release(agreed), strategy.server(server_side).sends()
    records = PARTS.clients[0]
    held = np.arange(len(records) - 1)  # room for one more

    def value(of_records: Labelled) -> np.ndarray:
        made = strategy.client(make_client(of_records)).value(1, server_side.first, sent)
        return np.concatenate([np.ravel(made[name]) for name in sorted(made)])

    whole = value(records[held])
    odd = Labelled(np.concatenate([records.pictures[held], np.ones((1, 64))]), np.append(records.labels[held], 9))
    moved = [whole - value(other) for other in (odd, *(records[held[held != i]] for i in range(0, len(held), 20)))]
    assert max(np.linalg.norm(m) for m in moved) <= of.sensitivity.l2 * (1 + 1e-6)
    assert max(np.abs(m).sum() for m in moved) <= of.sensitivity.l1 * (1 + 1e-6)
    assert min(np.linalg.norm(m) for m in moved) > 0, "every record counts"
    assert of.sensitivity.l1 >= of.sensitivity.l2


@pytest.mark.parametrize("name", sorted(MECHANISMS))
@pytest.mark.parametrize("z", [0.0, 0.8, 5.0])
def test_honest_uploads_are_taken_whatever_the_mechanism(
    strategy: Strategy,
    name: str,
    z: float,
    agreed: Agreed,
    make_client: Callable[..., ClientSide],
    server_side: ServerSide,
    rng: np.random.Generator,
):
    """50 draws of the noise; the server is told the agreed noise."""
    of, mechanism = strategy.release(agreed), open_mechanism(name, z)
    value = strategy.client(make_client()).value(1, server_side.first, strategy.server(server_side).sends())
    for _ in range(50):
        taken = screened(upload_of("edge-1", value, of, mechanism, SeededNoise(rng)), of, mechanism)
        assert taken.noise_std == mechanism.std(of.sensitivity)
    assert {n: t.shape for n, t in taken.tensors.items()} == {n: s.shape for n, s in of.tensors.items()}


def changed_tensor(upload: Upload, **fields: object) -> Upload:
    name, tensor = next(iter(upload.tensors.items()))
    return msgspec.structs.replace(upload, tensors=upload.tensors | {name: msgspec.structs.replace(tensor, **fields)})


def scaled(upload: Upload, by: float) -> Upload:
    name, tensor = next(iter(upload.tensors.items()))
    values = np.frombuffer(tensor.data, "<f4").reshape(tensor.shape)
    return msgspec.structs.replace(upload, tensors=upload.tensors | pack({name: by * values}))


def one_value(upload: Upload, value: float) -> Upload:
    tensor = next(iter(upload.tensors.values()))
    values = np.frombuffer(tensor.data, "<f4").copy()
    values[0] = value
    return changed_tensor(upload, data=values.tobytes())


BAD: dict[str, Callable[[Upload], Upload]] = {
    "claims noise of 1e6": lambda u: msgspec.structs.replace(u, noise_std=1e6),
    "claims no noise": lambda u: msgspec.structs.replace(u, noise_std=0.0),
    "claims no number as noise": lambda u: msgspec.structs.replace(u, noise_std=math.nan),
    "claims negative noise": lambda u: msgspec.structs.replace(u, noise_std=-u.noise_std),
    "claims another mechanism": lambda u: msgspec.structs.replace(u, mechanism="none"),
    "values x 1e4": lambda u: scaled(u, 1e4),
    "values x -1e4": lambda u: scaled(u, -1e4),
    "one value of 1e6": lambda u: one_value(u, 1e6),
    "one value that is no number": lambda u: one_value(u, math.nan),
    "one infinite value": lambda u: one_value(u, -math.inf),
    "nothing": lambda u: msgspec.structs.replace(u, tensors={}),
    "one more tensor": lambda u: msgspec.structs.replace(u, tensors=u.tensors | pack({"more": np.zeros(3)})),
    "another name": lambda u: msgspec.structs.replace(u, tensors={f"{n}'": t for n, t in u.tensors.items()}),
    "another type": lambda u: changed_tensor(u, dtype="float64"),
    "another shape": lambda u: changed_tensor(u, shape=(1, *next(iter(u.tensors.values())).shape)),
    "a shape without data": lambda u: changed_tensor(u, data=b""),
    "one value too many": lambda u: changed_tensor(u, data=next(iter(u.tensors.values())).data + bytes(4)),
}


@pytest.mark.parametrize("what", sorted(BAD))
def test_an_upload_outside_of_what_was_agreed_is_refused_by_name(
    strategy: Strategy, what: str, agreed: Agreed, rng: np.random.Generator
):
    """With either mechanism's noise; the same upload, unchanged, is taken."""
    of = strategy.release(agreed)
    value = {name: np.full(spec.shape, 1e-3) for name, spec in of.tensors.items()}
    for mechanism in (open_mechanism("gaussian", 0.8), open_mechanism("laplace", 0.8)):
        upload = upload_of("edge-1", value, of, mechanism, SeededNoise(rng))
        screened(upload, of, mechanism)
        with pytest.raises(ProtocolError, match=r"^edge-1"):
            screened(BAD[what](upload), of, mechanism)


def test_tensors_from_a_message_cannot_be_written_to_and_keep_the_agreed_order():
    specs = {"b": Spec((2,)), "a": Spec((1, 2))}
    found = unpack(pack({"a": np.ones((1, 2)), "b": np.zeros(2)}), specs, "x")
    assert list(found) == ["b", "a"]
    assert not found["a"].flags.writeable
    assert Tensor("float32", (1, 2), bytes(8)) == pack({"a": np.zeros((1, 2))})["a"]
