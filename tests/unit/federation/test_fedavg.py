"""FedAvg's arithmetic by hand: the clip of a change as a whole, its sensitivity, the mean."""

from __future__ import annotations

import math

import numpy as np
import pytest

from testbed.federation.base import Agreed, Released, ServerSide
from testbed.federation.fedavg import AveragingServer, change_bound, clipped, release
from testbed.federation.tensors import Tensors

AGREED = Agreed(samples=4, pixels=9, symbols=2, classes=3, records_at_most=5, weights={"a": (3, 4), "b": (4,)})


def norm(tensors: Tensors) -> float:
    return math.sqrt(sum(float(np.sum(v**2)) for v in tensors.values()))


def drawn(rng: np.random.Generator, scale: float) -> Tensors:
    return {name: scale * rng.standard_normal(shape) for name, shape in AGREED.weights.items()}


def test_a_change_is_clipped_as_a_whole(rng: np.random.Generator):
    """Long ones to the bound, in their own direction; short ones not at all; what is no number becomes nothing."""
    long, short = drawn(rng, 50.0), drawn(rng, 1e-3)
    cut = clipped(long, 0.7)
    assert norm(cut) == pytest.approx(0.7)
    for name in long:
        assert cut[name] / 0.7 == pytest.approx(long[name] / norm(long))
        assert np.array_equal(clipped(short, 0.7)[name], short[name])
    for wrong in (np.nan, np.inf):
        broken = {"a": long["a"], "b": np.full(4, wrong)}
        assert norm(clipped(broken, 0.7)) == 0.0


def test_a_change_that_turns_round_moves_by_the_stated_sensitivity(rng: np.random.Generator):
    """One record may turn a whole change: 2C in L2, and in L1 where all weights change alike. Neither is exceeded."""
    of, bound = release(AGREED), change_bound(AGREED)
    assert bound == pytest.approx(0.02 * math.sqrt(16))
    alike = {name: np.ones(shape) for name, shape in AGREED.weights.items()}
    for change in (drawn(rng, 50.0), alike):
        cut, turned = clipped(change, bound), clipped({name: -v for name, v in change.items()}, bound)
        moved = {name: cut[name] - turned[name] for name in cut}
        assert norm(moved) == pytest.approx(of.sensitivity.l2)
        assert sum(np.abs(v).sum() for v in moved.values()) <= of.sensitivity.l1 * (1 + 1e-12)
    assert sum(np.abs(v).sum() for v in moved.values()) == pytest.approx(of.sensitivity.l1)


class Zeros:
    def new(self, seed: int) -> Tensors:
        return {name: np.zeros(shape, np.float32) for name, shape in AGREED.weights.items()}


def test_the_server_adds_the_mean_of_the_changes(rng: np.random.Generator):
    """Of clients, each counted once, round after round; a round in which nobody gave anything changes nothing."""
    server = AveragingServer(ServerSide(AGREED, np.zeros((4, 9)), 1, Zeros(), None))  # type: ignore[arg-type]
    changes = [{name: v.astype(np.float32) for name, v in drawn(rng, 1.0).items()} for _ in range(5)]
    server.take([Released(f"edge-{i}", change, 0.0) for i, change in enumerate(changes[:3])])
    server.take([])
    server.take([Released(f"edge-{i}", change, 0.0) for i, change in enumerate(changes[3:])])
    for name, value in server.sends().items():
        mean = np.mean([c[name] for c in changes[:3]], axis=0) + np.mean([c[name] for c in changes[3:]], axis=0)
        assert value == pytest.approx(mean, rel=1e-5)
