"""From noisy evidence to labels of public samples, on clusters whose labels are known to the test alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from testbed.errors import ShapeError
from testbed.federation.base import Released, Server, ServerSide
from testbed.federation.evidence import EvidenceServer, denoised, gains, records_per_sample
from testbed.federation.mean_logits import LogitsServer
from tests.unit.federation.clusters import CLASSES, PRIVATE, PUBLIC, World, released, value


@pytest.fixture
def world(rng: np.random.Generator) -> World:
    return World(rng)


def noisy(uploads: list[Released], std: float, rng: np.random.Generator) -> list[Released]:
    return [released(u.node, value(u) + std * rng.standard_normal(value(u).shape), std) for u in uploads]


def test_labels_of_public_samples_follow_from_evidence_of_clients_that_see_few_classes(world: World):
    found = EvidenceServer(world.side())
    found.take(world.uploads)
    assert world.right(found.probabilities()) > 0.97
    assert found.probabilities().sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_noise_is_filtered_out(world: World, rng: np.random.Generator):
    """At a noise at which the evidence read off directly is wrong for a third, nine tenths come out right."""
    uploads = noisy(world.uploads, 10.0, rng)
    found = EvidenceServer(world.side())
    found.take(uploads)
    direct = np.sum([value(u) for u in uploads], axis=0)
    assert world.right(found.probabilities()) > 0.9
    assert world.right(direct) < 0.67


def test_the_number_of_records_is_found_in_the_energy_above_the_noise(world: World, rng: np.random.Generator):
    """To a third, with and without noise: it sets a scale, and nobody told it."""
    _, s, vt = np.linalg.svd(world.own)
    label_variance = (1 - 1 / CLASSES) / CLASSES
    q = s**2 / np.sum(s**2) * PUBLIC * label_variance
    for std in (0.0, 2.0):
        total = np.sum([value(u) for u in noisy(world.uploads, std, rng)], axis=0, dtype=np.float64)
        assert records_per_sample(vt @ total, 3 * std**2, s, q, label_variance) == pytest.approx(
            PRIVATE / PUBLIC, rel=0.34
        )


class Draws:
    """Evidence of records that are drawn like the public samples: each stands for a Poisson number of mean n."""

    def __init__(self, n: float, count: int, rng: np.random.Generator) -> None:
        self.own = rng.standard_normal((60, 60)) / np.arange(1, 61) ** 0.5
        u, self.s, vt = np.linalg.svd(self.own)
        self.v = (1 - 1 / CLASSES) / CLASSES
        self.q = self.s**2 / np.sum(self.s**2) * 60 * self.v
        # Labels as the model has them: component u of variance q_u. [draw, component], of one class.
        self.f = np.sqrt(self.q) * rng.standard_normal((count, 60))
        drawn = rng.poisson(n, (count, 60)) * (self.f @ u.T)
        self.components = drawn @ self.own @ vt.T


def test_which_records_happened_to_be_drawn_adds_the_variance_that_is_stated(rng: np.random.Generator):
    """(V'E)_u less n s_u f_u has variance n s_u^2 v: 10 % on the average over components, each within a factor of two.

    s_u^2 spans more than a factor of a thousand, so a term without it would not pass.
    """
    n = 2.0
    draws = Draws(n, 4000, rng)
    error = draws.components - n * draws.s * draws.f
    stated = n * draws.s**2 * draws.v
    ratio = np.mean(error**2, axis=0) / stated
    assert np.all((ratio > 0.5) & (ratio < 2.0))
    assert np.mean(ratio) == pytest.approx(1.0, abs=0.1)
    assert draws.s[0] ** 2 > 1000 * draws.s[-1] ** 2


def test_no_other_weight_of_the_components_estimates_labels_better(rng: np.random.Generator):
    """The gains have the smallest mean square error: with the sampling term halved, doubled or without s^2 it grows."""
    n, std = 1.0, 0.3
    draws = Draws(n, 4000, rng)
    heard = draws.components + std * rng.standard_normal(draws.components.shape)

    s, q, v = draws.s, draws.q, draws.v

    def error(gain: np.ndarray) -> float:
        return float(np.mean((gain * heard - draws.f) ** 2))

    others = [n * s * q / (n**2 * s**2 * q + std**2 + term) for term in (0.5 * n * s**2 * v, 2 * n * s**2 * v, n * v)]
    assert error(gains(n, s, q, std**2, v)) < min(map(error, others))
    found = records_per_sample(heard.T, std**2, draws.s, draws.q, draws.v)
    assert found == pytest.approx(n, rel=0.03)


def test_releases_of_later_rounds_average_the_noise_of_an_edge(world: World, rng: np.random.Generator):
    """Nine rounds at three times the noise are worth one; an edge that refuses from then on keeps its weight."""
    once, often = EvidenceServer(world.side()), EvidenceServer(world.side())
    once.take(world.uploads)
    for number in range(9):
        uploads = noisy(world.uploads, 1.0, rng)
        often.take(uploads if number < 4 else uploads[1:])
    assert np.abs(once.probabilities() - often.probabilities()).mean() < 0.05


def test_the_mean_of_an_edges_releases_has_their_variance_over_their_number(world: World):
    """The same values said nine times at noise 9 are worth one at 3: a mean of n has a variance of 1/n.

    With values that agree all else is equal, so the labels are equal, not close. Edges add: 4 times 8 and once 3 make
    16 + 9, which is what one edge at 5 would say of both.
    """

    def labels(*uploads: tuple[Released, float, int]) -> np.ndarray:
        found = EvidenceServer(world.side())
        for upload, std, times in uploads:
            for _ in range(times):
                found.take([released(upload.node, value(upload), std)])
        return found.probabilities()

    first, second, _ = world.uploads
    assert labels((first, 9.0, 9)) == pytest.approx(labels((first, 3.0, 1)), abs=1e-6)
    both = released("both", value(first) + value(second), 0.0)
    assert labels((first, 8.0, 4), (second, 3.0, 1)) == pytest.approx(labels((both, 5.0, 1)), abs=1e-5)
    assert np.abs(labels((first, 9.0, 1)) - labels((first, 3.0, 1))).max() > 0.01, "the noise makes a difference here"


@pytest.mark.parametrize(("half", "tensor"), [(EvidenceServer, "evidence"), (LogitsServer, "logits")])
def test_a_round_in_which_all_refuse_changes_nothing(world: World, half: Callable[[ServerSide], Server], tensor: str):
    found = half(world.side())
    assert found.probabilities() == pytest.approx(1 / CLASSES)
    found.take([released(u.node, value(u), 0.0, tensor) for u in world.uploads])
    before = found.probabilities()
    assert before != pytest.approx(1 / CLASSES)
    found.take([])
    assert np.array_equal(found.probabilities(), before)


def test_noise_without_any_record_behind_it_says_little(world: World, rng: np.random.Generator):
    """The estimate of labels keeps less than a third of the energy that labels have."""
    noise = 7.0 * rng.standard_normal((PUBLIC, CLASSES))
    label_variance = (1 - 1 / CLASSES) / CLASSES
    assert np.mean(denoised(world.own, noise, 49.0) ** 2) < label_variance / 3


def test_shapes_that_do_not_fit_are_refused(world: World):
    with pytest.raises(ShapeError, match="own is"):
        denoised(world.own[:, :-1], value(world.uploads[0]), 0.0)
