"""Descriptions of received symbols: mathematics against NumPy, and rows that know nothing of each other."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from testbed.codec.evidence import Landmarks, squared_distances


def test_distances_are_scipys(rng: np.random.Generator):
    a, b = rng.standard_normal((30, 24)), rng.standard_normal((50, 24))
    np.testing.assert_allclose(squared_distances(a, b), cdist(a, b, "sqeuclidean"), rtol=1e-12)


def test_a_row_is_the_same_to_the_last_bit_whatever_stands_beside_it(rng: np.random.Generator):
    """A product of matrices picks its kernel by the number of rows; a hostile encoder makes the last bit as large as it
    likes, here by symbols of 1e12 that differ in single digits. 1 to 99 rows beside the first five."""
    landmarks = Landmarks((1e12 + rng.standard_normal((79, 80)) * (1 + 1j)).astype(np.complex128))
    received = 1e12 + rng.standard_normal((99, 80)) * (1 + 1j)
    alone = np.concatenate([landmarks.describe(one[None]) for one in received[:5]])
    assert np.linalg.norm(alone, axis=1).min() > 0.99
    for count in range(5, 100):
        np.testing.assert_array_equal(landmarks.describe(received[:count])[:5], alone)
