r"""How alike a received vector of symbols is to those of public samples: the features in which a client gives evidence.

Let :math:`s_j` be what an encoder sends for public sample j, and :math:`\kappa(y)_j = \exp(-|y-s_j|^2/2w^2)` with w the
median distance of two public samples times ``WIDTH``. A private record that arrives as y is described by

.. math:: \phi(y) = \frac{\kappa(y) - \bar\kappa}{\lVert \kappa(y) - \bar\kappa \rVert},

with :math:`\bar\kappa` the mean over the public samples. Everything but y is public, so the description of one record
depends on no other record, and its length is one.
"""

from __future__ import annotations

import numpy as np

from testbed.errors import ShapeError

WIDTH = 0.35  # of the median distance; chosen on the validation part among 0.2 to 0.6


class Landmarks:
    """Public samples as an encoder sends them.

    Parameters
    ----------
    symbols : [m, k] complex64
    """

    def __init__(self, symbols: np.ndarray) -> None:
        if symbols.ndim != 2 or len(symbols) < 3:
            raise ShapeError(f"symbols of at least 3 samples, [m, k], are wanted, not {list(symbols.shape)}")
        self._sent = as_reals(symbols)
        distances = squared_distances(self._sent, self._sent)
        self._width = WIDTH * float(np.sqrt(np.median(distances[np.triu_indices(len(symbols), 1)])))
        self._mean = self._likeness(self._sent).mean(axis=0)

    def __len__(self) -> int:
        return len(self._sent)

    def describe(self, received: np.ndarray) -> np.ndarray:
        """[n, k] complex64 -> [n, m] float64, rows of length one."""
        rows = self._likeness(as_reals(received)) - self._mean
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny)

    def own(self) -> np.ndarray:
        """[m, m] float64: the descriptions of the public samples themselves, as sent."""
        rows = self._likeness(self._sent) - self._mean
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def _likeness(self, reals: np.ndarray) -> np.ndarray:
        return np.exp(-squared_distances(reals, self._sent) / (2.0 * self._width**2))


def as_reals(symbols: np.ndarray) -> np.ndarray:
    """[n, k] complex -> [n, 2k] float64, real parts first."""
    return np.concatenate([symbols.real, symbols.imag], axis=1).astype(np.float64)


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distance of every row to every row.

    Each row is the same to the last bit whatever rows stand beside it: no matrix product, which picks its kernel by
    their number, and no difference of squares, which would make that bit large.

    Parameters
    ----------
    a : [n, d] float64
    b : [m, d] float64

    Returns
    -------
    [n, m] float64
    """
    return np.stack([((row - b) ** 2).sum(axis=1) for row in a])
