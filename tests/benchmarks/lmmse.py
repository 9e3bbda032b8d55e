"""lmmse-2x2: resource elements detected a second, against the same equation in batched numpy.linalg."""

from __future__ import annotations

import numpy as np

from server.detection import lmmse
from tests.benchmarks.measure import medians

ELEMENTS = 50_000  # seven frames


def batched_numpy(y: np.ndarray, h: np.ndarray, no: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unbiased LMMSE as one writes it with NumPy, in complex64."""
    hermitian = np.swapaxes(h.conj(), -1, -2)
    g = np.linalg.solve(hermitian @ h + no[:, None, None] * np.eye(h.shape[-1], dtype=np.complex64), hermitian)
    rho = np.einsum("...kn,...nk->...k", g, h).real
    return (g @ y[..., None])[..., 0] / rho, (1 - rho) / rho


def rows() -> list[dict[str, object]]:
    rng = np.random.default_rng(1)
    h = rng.standard_normal((ELEMENTS, 2, 4), dtype=np.float32).view(np.complex64)
    y = rng.standard_normal((ELEMENTS, 4), dtype=np.float32).view(np.complex64)
    no = np.full(ELEMENTS, 0.02, dtype=np.float32)
    np.testing.assert_allclose(lmmse(y, h, no)[0], batched_numpy(y, h, no)[0], rtol=0.01, atol=0.01)
    ours, peer = medians(lambda: lmmse(y, h, no), lambda: batched_numpy(y, h, no))
    return [
        {
            "name": "lmmse-2x2",
            "value": ELEMENTS / ours,
            "unit": "resource elements / s",
            "peer": "numpy.linalg.solve, batched, complex64",
            "peer_value": ELEMENTS / peer,
            "ratio": peer / ours,
        }
    ]
