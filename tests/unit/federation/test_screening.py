"""What an upload may hold: claims and values outside of what was agreed are refused, honest ones are not."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from testbed.control.messages import Upload
from testbed.errors import ProtocolError
from testbed.federation import screening
from testbed.federation.base import Release, Released
from testbed.federation.evidence import EvidenceServer, release
from testbed.federation.screening import HONEST_REFUSED, check_values, screened
from testbed.federation.tensors import Spec, pack
from testbed.privacy.mechanisms.registry import MECHANISMS, open_mechanism
from testbed.privacy.noise import SeededNoise
from testbed.privacy.sensitivity import Sensitivity
from tests.unit.federation.clusters import World, value


def upload_of(node: str, exact: np.ndarray, of: Release, name: str, z: float, rng: np.random.Generator) -> Upload:
    mechanism = open_mechanism(name, z)
    noisy = {"evidence": mechanism.add(exact, of.sensitivity, SeededNoise(rng))}
    return Upload(node=node, round=1, tensors=pack(noisy), mechanism=name, noise_std=mechanism.std(of.sensitivity))


@pytest.mark.parametrize("attack", ["claims noise of 1e6", "uploads values x 1e4"])
def test_one_client_that_lies_is_refused_and_the_labels_stay_right(attack: str, rng: np.random.Generator):
    """Three clients of the truth and one that lies. Taken in, the lie costs half of the labels or more; refused, less
    than one in twenty."""
    world, mechanism = World(rng), open_mechanism("gaussian", 1.5)
    of = release(world.side().agreed)
    honest = [upload_of(u.node, value(u), of, "gaussian", 1.5, rng) for u in world.uploads]
    lie = upload_of("liar", -value(world.uploads[0]), of, "gaussian", 1.5, rng)
    if "noise" in attack:
        lie = msgspec.structs.replace(lie, noise_std=1e6)
    else:
        noisy = np.frombuffer(lie.tensors["evidence"].data, "<f4").reshape(value(world.uploads[0]).shape)
        lie = msgspec.structs.replace(lie, tensors=pack({"evidence": 1e4 * noisy}))
    taken, refused = [], []
    for upload in [*honest, lie]:
        try:
            taken.append(screened(upload, of, mechanism))
        except ProtocolError as error:
            refused.append(str(error))
    assert [r.node for r in taken] == [u.node for u in honest]
    assert len(refused) == 1 and refused[0].startswith("liar")

    def right(uploads: list[Released]) -> float:
        server = EvidenceServer(world.side())
        server.take(uploads)
        return world.right(server.probabilities())

    lied = np.frombuffer(lie.tensors["evidence"].data, "<f4").reshape(value(world.uploads[0]).shape)
    assert right(taken) > 0.95
    assert right([*taken, Released("liar", {"evidence": lied}, lie.noise_std)]) < 0.5


@pytest.mark.parametrize("name", sorted(MECHANISMS))
@pytest.mark.parametrize("parts", [1, 3])
def test_an_honest_upload_is_refused_as_seldom_as_is_said(
    name: str, parts: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
):
    """With 0.1 in place of 1e-9, over 2,000 uploads of nothing but noise: at most 0.1 (4 sigma), and more than 0.01."""
    assert HONEST_REFUSED <= 1e-9
    monkeypatch.setattr(screening, "HONEST_REFUSED", 0.1)
    mechanism, source = open_mechanism(name, 0.7), SeededNoise(rng)
    specs = {f"part-{i}": Spec((20, 5), l2=0.0, largest=0.0) for i in range(parts)}
    of = Sensitivity(l2=3.0, l1=4.0)
    refused = 0
    for _ in range(2000):
        tensors = {part: mechanism.add(np.zeros((20, 5)), of, source) for part in specs}
        try:
            check_values(tensors, specs, mechanism, mechanism.scale(of), "edge-1")
        except ProtocolError:
            refused += 1
    assert 0.01 < refused / 2000 < 0.1 + 4 * np.sqrt(0.09 / 2000)


@pytest.mark.parametrize("z", [0.0, 0.7])
@pytest.mark.parametrize("name", sorted(MECHANISMS))
def test_what_the_bounds_allow_is_taken_and_what_is_beyond_is_not(name: str, z: float):
    """At the agreed norm, or largest value, without noise: taken. Where there is noise, its tail may be used up, and no
    more; ten times the tail is refused."""
    mechanism, of = open_mechanism(name, z), Sensitivity(l2=1.0, l1=2.0)
    specs = {"x": Spec((10, 10), l2=5.0, largest=2.0)}
    scale = mechanism.scale(of)
    flat, peak = np.full((10, 10), 0.5, np.float32), np.zeros((10, 10), np.float32)
    peak[3, 4] = 2.0
    for exact in (flat, peak, -flat, -peak):
        check_values({"x": exact}, specs, mechanism, scale, "edge-1")
    far = 10 * (1 + scale * (mechanism.norm_tail(100, 1e-10) + mechanism.entry_tail(100, 1e-10)))
    for exact, what in ((flat, "norm"), (peak, "a value of|norm")):
        with pytest.raises(ProtocolError, match=rf"edge-1: x has ({what}|L\d norm).*agreed: at most"):
            check_values({"x": (exact * far).astype(np.float32)}, specs, mechanism, scale, "edge-1")


def test_one_value_alone_may_not_use_the_noise_of_all(rng: np.random.Generator):
    """100 in one of 10,000 values of unit noise: the norm, 141 at most, would hide it."""
    mechanism, of = open_mechanism("gaussian", 1.0), Sensitivity(l2=1.0, l1=1.0)
    specs = {"x": Spec((100, 100), l2=40.0, largest=1.0)}
    values = mechanism.add(np.zeros((100, 100)), of, SeededNoise(rng))
    check_values({"x": values}, specs, mechanism, 1.0, "edge-1")
    values[5, 5] = 60.0
    assert np.linalg.norm(values) < 40 + 100
    with pytest.raises(ProtocolError, match="x has a value of 60"):
        check_values({"x": values}, specs, mechanism, 1.0, "edge-1")
