"""Sensitivity is measured on neighbouring data sets, noise against its distribution."""

from __future__ import annotations

import os

import numpy as np
import pytest
from scipy import stats

from testbed.privacy.mechanisms import (
    SeededNoise,
    SystemNoise,
    bounded_table_sensitivity,
    class_sums,
    clip_rows,
    gaussian,
)


def test_clipping_shortens_the_long_and_leaves_the_short(rng: np.random.Generator):
    rows = rng.standard_normal((200, 7)) * rng.exponential(size=(200, 1))
    clipped = clip_rows(rows, 1.0)
    norms = np.linalg.norm(rows, axis=1)
    assert np.linalg.norm(clipped, axis=1) == pytest.approx(np.minimum(norms, 1.0))
    assert clipped[norms < 1] == pytest.approx(rows[norms < 1])
    assert clip_rows(np.zeros((1, 3)), 1.0) == pytest.approx(0.0)


def test_one_record_moves_class_sums_by_the_bound_and_no_more(rng: np.random.Generator):
    """Every record left out of 100, most of them far longer than the bound: at most C, and C is reached.

    Replaced by its opposite in the same class: 2C is reached, and never exceeded.
    """
    bound = 0.7
    rows, labels = 50 * rng.standard_normal((100, 5)), rng.integers(0, 4, 100)
    whole = class_sums(rows, labels, 4, bound)
    left_out, replaced = [], []
    for i in range(100):
        keep = np.arange(100) != i
        left_out.append(np.linalg.norm(whole - class_sums(rows[keep], labels[keep], 4, bound)))
        other, to = rows.copy(), labels.copy()
        other[i], to[i] = (-rows[i], labels[i]) if i % 2 else (rng.standard_normal(5), rng.integers(0, 4))
        replaced.append(np.linalg.norm(whole - class_sums(other, to, 4, bound)))
    assert max(left_out) <= bound * (1 + 1e-12)
    assert max(left_out) == pytest.approx(bound)
    assert max(replaced) <= 2 * bound * (1 + 1e-12)
    assert max(replaced) == pytest.approx(2 * bound)


def test_the_table_bound_holds_for_tables_that_have_nothing_in_common(rng: np.random.Generator):
    rows = clip_rows(100 * rng.standard_normal((50, 10)), 3.0)
    assert np.linalg.norm(rows - -rows) == pytest.approx(bounded_table_sensitivity(50, 3.0))


@pytest.mark.parametrize("source", ["system", "seeded"])
def test_noise_is_normal_with_the_deviation_that_is_stated(source: str, rng: np.random.Generator):
    """Kolmogorov-Smirnov on 20,000 values; the system's fail once in 1e6 runs."""
    noise = SystemNoise() if source == "system" else SeededNoise(rng)
    value = rng.standard_normal((100, 200))
    added = (gaussian(value, 2.0, 1.5, noise) - value).ravel()
    assert stats.kstest(added / 3.0, "norm").pvalue > 1e-6


def test_no_noise_changes_nothing_and_the_systems_noise_never_repeats(rng: np.random.Generator):
    value = rng.standard_normal((4, 3)).astype(np.float32)
    assert np.array_equal(gaussian(value, 1.0, 0.0, SystemNoise()), value)
    assert not np.array_equal(SystemNoise().normal((8,)), SystemNoise().normal((8,)))
    assert np.all(np.isfinite(SystemNoise().normal((100_000,))))


def test_a_row_that_is_no_number_becomes_zero():
    """Noise hides neither infinity nor what is not a number; the other rows stay as they are."""
    rows = np.array([[np.nan, 1.0], [np.inf, 0.0], [1e200, 1e200], [0.3, 0.4]])
    np.testing.assert_array_equal(clip_rows(rows, 1.0), [[0, 0], [0, 0], [0, 0], [0.3, 0.4]])


def test_the_systems_noise_is_finite_for_every_integer(monkeypatch: pytest.MonkeyPatch):
    """The least and the largest that 53 bits hold: their normal values are 8 deviations away, not infinite."""
    for filling in (b"\x00", b"\xff"):
        monkeypatch.setattr(os, "urandom", lambda count, filling=filling: filling * count)
        values = SystemNoise().normal((3,))
        assert np.all(np.isfinite(values))
        assert np.all(np.abs(values) > 8)
