"""The cut of a data set into parts."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.data.partition import Labelled
from testbed.data.split import Parts, cut
from testbed.errors import ScenarioError

PARTS = Parts(test=11, validation=7, public=13, private=60)


def numbered() -> Labelled:
    """100 pictures of one pixel, which is their index; the label is the last digit."""
    return Labelled(np.arange(100, dtype=np.float32)[:, None], np.arange(100) % 10)


@pytest.mark.parametrize(("clients", "slices"), [(10, 2), (3, 4), (1, 1), (60, 1)])
def test_no_record_is_in_two_parts_and_each_keeps_its_label(clients: int, slices: int):
    parts = cut(numbered, PARTS, 5, 1, clients, slices)
    labelled = [*parts.clients, parts.validation, parts.test]
    pictures = np.concatenate([parts.public.pictures, *(part.pictures for part in labelled)])
    assert len(np.unique(pictures)) == len(pictures) == 91
    assert [len(parts.test), len(parts.validation), len(parts.public)] == [11, 7, 13]
    for part in labelled:
        assert np.array_equal(part.labels, part.pictures[:, 0] % 10)
    assert np.array_equal(parts.public_labels, parts.public.pictures[:, 0] % 10)


def test_seed_and_data_set_decide_the_cut():
    first, again, seed, key = (cut(numbered, PARTS, k, s, 4, 2) for k, s in ((5, 1), (5, 1), (5, 2), (6, 1)))
    assert np.array_equal(first.test.pictures, again.test.pictures)
    for other in (seed, key):
        assert not np.array_equal(first.test.pictures, other.test.pictures)


def test_more_slices_than_records_are_refused():
    with pytest.raises(ScenarioError, match="at most 60 slices"):
        cut(numbered, PARTS, 5, 1, 31, 2)
