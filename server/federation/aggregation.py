r"""From the edges' noisy uploads to what the public samples seem to be. Knows no model, message or file.

Evidence is summed over edges, :math:`E = \sum_i (E_i + Z_i)`, after what one edge released in several rounds was
averaged. That can be done because all of it is given with one encoder, learned without labels. (Evidence in the symbols
of the encoder taught last was tried on the validation part: it confirms that encoder's own errors, and without noise
ended 1 to 2 points lower.) With :math:`\Phi` [m, m] the descriptions of the public samples
themselves and f [m, classes] their unknown labels (one-hot, less the prior), n private records for each public sample
give :math:`E \approx n\,\Phi^T f`. Let :math:`\Phi = U S V^T`, and take the labels as smooth where the samples are
alike: component u of f has variance :math:`q_u \propto s_u^2`. Its linear MMSE estimate is

.. math:: \hat f_u = \frac{n s_u q_u}{n^2 s_u^2 q_u + \sigma^2 + n s_u^2 v}\,(V^T E)_u,

:math:`\sigma^2` the variance of the noise that edges added, :math:`n s_u^2 v` that of which records happened to be
drawn: if public sample i stands for :math:`c_i` records, Poisson of mean n, then
:math:`(V^T E)_u = s_u \sum_i U_{iu} c_i f_i`, whose variance is :math:`s_u^2 \sum_i U_{iu}^2\, n f_i^2`, and f has the
mean square v. n is not known (the number of records is private, too) and is taken from the energy of E above the noise.
"""

from __future__ import annotations

from typing import Protocol

import msgspec
import numpy as np

from testbed.errors import ShapeError

SHARPNESS = 12.0  # of the softmax that makes labels of estimates; chosen on the validation part among 6, 12, 20


class Released(msgspec.Struct, frozen=True):
    """What one edge uploaded."""

    node: str
    value: np.ndarray  # [m, classes] float32
    noise_std: float  # of each value


class Aggregation(Protocol):
    """Turns the uploads of round after round into probabilities of classes for the public samples."""

    def add(self, uploads: list[Released]) -> None:
        """Take in one round."""
        ...

    def probabilities(self) -> np.ndarray:
        """[m, classes] float32, by all that was ever taken in: using it again costs no privacy."""
        ...


class Evidence:
    """Sums of evidence, denoised.

    Parameters
    ----------
    own : [m, m] float64
        Descriptions of the public samples themselves, a row each.
    classes : int
    """

    def __init__(self, own: np.ndarray, classes: int) -> None:
        self._own, self._classes = own, classes
        self._by_edge: dict[str, list[Released]] = {}

    def add(self, uploads: list[Released]) -> None:
        for upload in uploads:
            self._by_edge.setdefault(upload.node, []).append(upload)

    def probabilities(self) -> np.ndarray:
        total, variance = np.zeros((len(self._own), self._classes)), 0.0
        for releases in self._by_edge.values():
            total += np.stack([r.value for r in releases]).mean(axis=0, dtype=np.float64)
            variance += sum(r.noise_std**2 for r in releases) / len(releases) ** 2
        if not self._by_edge:
            return softmax(total)
        return softmax(SHARPNESS * denoised(self._own, total, variance))


class MeanLogits:
    """The plain mean of the last round's logits: kept to show that it fails where clients differ."""

    def __init__(self, own: np.ndarray, classes: int) -> None:
        self._mean = np.zeros((len(own), classes))

    def add(self, uploads: list[Released]) -> None:
        if uploads:
            self._mean = np.stack([u.value for u in uploads]).mean(axis=0, dtype=np.float64)

    def probabilities(self) -> np.ndarray:
        return softmax(self._mean)


AGGREGATIONS: dict[str, type[Evidence] | type[MeanLogits]] = {"evidence": Evidence, "mean-logits": MeanLogits}


def denoised(own: np.ndarray, evidence: np.ndarray, variance: float) -> np.ndarray:
    """Linear MMSE estimate of labels from summed evidence.

    Parameters
    ----------
    own : [m, m] float64
        Descriptions of the public samples, a row each.
    evidence : [m, classes] float64
    variance : float
        Of the noise in each value of ``evidence``.

    Returns
    -------
    [m, classes] float64
    """
    samples, classes = evidence.shape
    if own.shape != (samples, samples):
        raise ShapeError(f"own is [{samples}, {samples}] for evidence of {samples} samples, not {list(own.shape)}")
    u, s, vt = np.linalg.svd(own)
    label_variance = (1.0 - 1.0 / classes) / classes  # of a one-hot value, classes alike
    q = s**2 / np.sum(s**2) * samples * label_variance
    components = vt @ evidence
    n = records_per_sample(components, variance, s, q, label_variance)
    return u @ (gains(n, s, q, variance, label_variance)[:, None] * components)


def gains(n: float, s: np.ndarray, q: np.ndarray, variance: float, label_variance: float) -> np.ndarray:
    r"""Of the linear MMSE estimate of each component, :math:`n s_u q_u / (n^2 s_u^2 q_u + \sigma^2 + n s_u^2 v)`."""
    return n * s * q / (n**2 * s**2 * q + variance + n * s**2 * label_variance)


def records_per_sample(
    components: np.ndarray, variance: float, s: np.ndarray, q: np.ndarray, label_variance: float
) -> float:
    r"""n from :math:`E|(V^T E)_{uc}|^2 = n^2 s_u^2 q_u + n s_u^2 v + \sigma^2`, components weighted by :math:`s_u^2`.

    Never less than what one record for every 20 public samples would be: where there is nothing but noise, the
    estimate of labels is to vanish, not to be scaled up.
    """
    excess = (components**2).mean(axis=1) - variance
    squared, linear = np.sum(s**4 * q), label_variance * np.sum(s**4)
    root = np.sqrt(max(linear**2 + 4 * squared * np.sum(s**2 * excess), 0.0))
    return max(float(root - linear) / float(2 * squared), 0.05)


def softmax(values: np.ndarray) -> np.ndarray:
    """Rows of probabilities, float32."""
    likely = np.exp(values - values.max(axis=1, keepdims=True))
    return (likely / likely.sum(axis=1, keepdims=True)).astype(np.float32)
