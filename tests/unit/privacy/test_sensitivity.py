"""Sensitivity is measured on neighbouring data sets."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.privacy.sensitivity import bounded_table_sensitivity, class_sums, class_sums_sensitivity, clip_rows


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
    """In L2 by rows of any direction; in L1 by rows whose values are alike in magnitude, and no other."""
    found = bounded_table_sensitivity(50, 10, 3.0)
    rows = clip_rows(100 * rng.standard_normal((50, 10)), 3.0)
    assert np.linalg.norm(rows - -rows) == pytest.approx(found.l2)
    assert np.abs(rows - -rows).sum() < found.l1
    flat = clip_rows(100 * rng.choice([-1.0, 1.0], (50, 10)), 3.0)
    assert np.abs(flat - -flat).sum() == pytest.approx(found.l1)


def test_class_sums_reach_their_sensitivity_in_both_norms(rng: np.random.Generator):
    """By one record added: in L2 always, in L1 where its values are alike in magnitude."""
    found = class_sums_sensitivity(16, 0.7)
    none = np.zeros((0, 16)), np.zeros(0, np.int64)
    for row in (9 * rng.standard_normal((1, 16)), rng.choice([-9.0, 9.0], (1, 16))):
        moved = class_sums(row, np.array([3]), 5, 0.7) - class_sums(*none, 5, 0.7)
        assert np.linalg.norm(moved) == pytest.approx(found.l2)
        assert np.abs(moved).sum() <= found.l1 * (1 + 1e-12)
    assert np.abs(moved).sum() == pytest.approx(found.l1)


def test_rows_of_zeros_stay_zero_whatever_the_bound():
    for bound in (1e-3, 1.0, 1e3):
        np.testing.assert_array_equal(clip_rows(np.zeros((2, 3)), bound), 0.0)


def test_a_row_that_is_no_number_becomes_zero():
    """Noise hides neither infinity nor what is not a number; the other rows stay as they are."""
    rows = np.array([[np.nan, 1.0], [np.inf, 0.0], [1e200, 1e200], [0.3, 0.4]])
    np.testing.assert_array_equal(clip_rows(rows, 1.0), [[0, 0], [0, 0], [0, 0], [0.3, 0.4]])
