"""The split of digits: disjoint, unlike from client to client, and public pictures without a place for labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.data import digits
from testbed.data.partition import Labelled, Unlabelled, slices_by_label
from testbed.errors import DataError, ShapeError


@given(st.lists(st.integers(0, 9), min_size=20, max_size=300), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_slices_deal_every_sample_once_and_evenly(labels: list[int], clients: int, each: int, seed: int):
    """Each slice holds neighbours in the order of labels, so a client sees few labels."""
    dealt = slices_by_label(np.array(labels), clients, each, np.random.default_rng(seed))
    assert sorted(np.concatenate(dealt)) == list(range(len(labels)))
    assert max(map(len, dealt)) - min(map(len, dealt)) <= each
    runs = len(set(labels)) + clients * each  # cuts between labels, and cuts between slices
    assert sum(len(set(np.array(labels)[index])) for index in dealt) <= runs


def test_slices_that_cannot_be_cut_are_refused(rng: np.random.Generator):
    with pytest.raises(ShapeError, match="cannot be cut"):
        slices_by_label(np.zeros(5, int), 3, 2, rng)


def test_the_parts_of_digits_are_disjoint_and_all_there_is():
    parts = digits.split(seed=3)
    pictures = [c.pictures for c in parts.clients] + [
        parts.public.pictures,
        parts.validation.pictures,
        parts.test.pictures,
    ]
    together = np.concatenate(pictures)
    whole = digits.load().pictures
    assert len(together) == len(whole) == 1797
    assert np.array_equal(np.unique(together, axis=0), np.unique(whole, axis=0))
    assert [len(c) for c in parts.clients] == [80] * 10
    assert np.median([len(set(c.labels)) for c in parts.clients]) <= 3
    assert (len(parts.public), len(parts.public_labels)) == (400, 400)
    assert not np.array_equal(digits.split(seed=4).public.pictures, parts.public.pictures)


def test_a_public_set_has_no_place_for_labels(tmp_path: Path):
    """Neither the type nor its file: labels cannot be attached, and a file with labels is refused."""
    parts = digits.split(seed=1)
    assert Unlabelled.__slots__ == ("pictures",)
    with pytest.raises(AttributeError):
        parts.public.labels = parts.public_labels  # type: ignore[attr-defined]
    path = parts.public.write(tmp_path / "public.npz")
    assert np.array_equal(Unlabelled.read(path).pictures, parts.public.pictures)
    with np.load(path) as archive:
        assert archive.files == ["pictures"]
    labelled = Labelled(parts.public.pictures, parts.public_labels).write(tmp_path / "labelled.npz")
    with pytest.raises(DataError, match="exactly pictures"):
        Unlabelled.read(labelled)
    with pytest.raises(DataError, match="exactly pictures, labels"):
        Labelled.read(path)
