r"""Strategy ``evidence``: clients say how alike their records are to public samples, class by class; labels follow.

The client's half: for each public sample and class, the sum over the client's records of that class of how alike the
record, received over the client's link, is to the public sample (:mod:`testbed.codec.evidence`). A client without
records of a class gives zero and noise: it says when it does not know. Sums of records have a small sensitivity, 1.

The server's half: evidence is summed over clients, :math:`E = \sum_i (E_i + Z_i)`, after what one client released in
several rounds was averaged. That can be done because all of it is given with one encoder, learned without labels.
(Evidence in the symbols of the encoder taught last was tried on the validation part: it confirms that encoder's own
errors, and without noise ended 1 to 2 points lower.) With :math:`\Phi` [m, m] the descriptions of the public samples
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

import hashlib
from contextlib import suppress

import numpy as np

from testbed.codec.classifier import Classifier
from testbed.codec.evidence import Landmarks
from testbed.codec.links import Link
from testbed.data.partition import Labelled
from testbed.errors import ShapeError
from testbed.federation.base import Agreed, ClientSide, Release, Released, ServerSide, Strategy, distilled, softmax
from testbed.federation.tensors import Spec, Tensors
from testbed.privacy.sensitivity import RECORD_BOUND, class_sums, class_sums_sensitivity

TABLE = "evidence"
SHARPNESS = 12.0  # of the softmax that makes labels of estimates; chosen on the validation part among 6, 12, 20


def release(agreed: Agreed) -> Release:
    """Sums of rows of length one, a column for each class."""
    most = RECORD_BOUND * agreed.records_at_most
    spec = Spec((agreed.samples, agreed.classes), l2=most, largest=most)
    return Release({TABLE: spec}, class_sums_sensitivity(agreed.samples, RECORD_BOUND))


class EvidenceClient:
    """The client's half."""

    def __init__(self, side: ClientSide) -> None:
        self._side = side

    def value(self, number: int, pair: Classifier, sent: Tensors) -> Tensors:
        side = self._side
        classes = side.agreed.classes
        return {TABLE: evidence(side.public, side.records, side.first, side.link, classes, side.seed, number)}


def receive_each(pair: Classifier, link: Link, records: Labelled, symbols: int, seed: int, number: int) -> np.ndarray:
    """[n, symbols] complex64: every record as it arrives over the link, the noise drawn from the record itself.

    What one record contributes then depends on no other record, not even on how many come before it. With noise drawn
    in order, a record left out would move the noise of all that follow, and a server that knows the seed would see it.
    The encoder is the server's, so it gets one record at a time: in a batch it could let each speak of the others. A
    record for which it fails arrives as not-a-number, and counts as nothing: to fail aloud would say which it is.

    Parameters
    ----------
    pair : Classifier
    link : Link
    records : Labelled
    symbols : int
        Complex channel uses of a picture.
    seed, number : int
        Of the channel's noise: the client's seed, and the round.

    Returns
    -------
    [n, symbols] complex64
    """
    arrived = np.full((len(records), symbols), np.nan, np.complex64)
    for row, picture, label in zip(arrived, records.pictures, records.labels, strict=True):
        key = hashlib.sha256(picture.tobytes() + bytes([int(label)])).digest()
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, number, int.from_bytes(key[:8], "big"))))
        with suppress(Exception):
            row[:] = link.receive(pair.encode(picture[None]), rng)[0][0]
    return arrived


def evidence(
    public: np.ndarray, records: Labelled, pair: Classifier, link: Link, classes: int, seed: int, number: int
) -> np.ndarray:
    """Likeness of the received records to public samples, summed by class.

    Parameters
    ----------
    public : [m, pixels] float32
    records : Labelled
    pair : Classifier
        Its encoder sends records and public samples.
    link : Link
        The local model of this edge's channel.
    classes : int
    seed, number : int
        Of the channel's noise: this edge's seed, and the round.

    Returns
    -------
    [m, classes] float64
        One record moves it by ``RECORD_BOUND`` in L2.
    """
    sent = pair.encode(public)
    with np.errstate(all="ignore"):  # of an encoder that overflows, or sends all alike: such rows count as nothing
        landmarks = Landmarks(sent)
        arrived = receive_each(pair, link, records, sent.shape[1], seed, number)
        rows = np.concatenate([landmarks.describe(one[None]) for one in arrived])  # each alone, as it was sent
    return class_sums(rows, records.labels, classes, RECORD_BOUND)


class EvidenceServer:
    """The server's half: all evidence that was ever released, denoised. Using it again costs no privacy."""

    def __init__(self, side: ServerSide) -> None:
        self._side, self._classes = side, side.agreed.classes
        self._own = Landmarks(side.first.encode(side.public)).own()
        self._by_client: dict[str, list[Released]] = {}

    def sends(self) -> Tensors:
        return {}

    def take(self, uploads: list[Released]) -> None:
        for upload in uploads:
            self._by_client.setdefault(upload.node, []).append(upload)

    def probabilities(self) -> np.ndarray:
        """[m, classes] float32: of the classes of the public samples."""
        total, variance = np.zeros((len(self._own), self._classes)), 0.0
        for releases in self._by_client.values():
            total += np.stack([r.tensors[TABLE] for r in releases]).mean(axis=0, dtype=np.float64)
            variance += sum(r.noise_std**2 for r in releases) / len(releases) ** 2
        if not self._by_client:
            return softmax(total)
        return softmax(SHARPNESS * denoised(self._own, total, variance))

    def teach(self, number: int) -> tuple[bytes, bytes]:
        return distilled(self._side, self.probabilities(), number)


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

    Raises
    ------
    ShapeError
        If ``own`` is not of as many samples as ``evidence``.
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
    r"""Of the linear MMSE estimate of each component, :math:`n s_u q_u / (n^2 s_u^2 q_u + \sigma^2 + n s_u^2 v)`.

    Parameters
    ----------
    n : float
        Records for each public sample.
    s, q : [m] float64
        Singular values of the public samples' descriptions, and prior variances of the labels' components.
    variance : float
        :math:`\sigma^2`, of the noise in each value.
    label_variance : float
        v, of a one-hot value.

    Returns
    -------
    [m] float64
    """
    return n * s * q / (n**2 * s**2 * q + variance + n * s**2 * label_variance)


def records_per_sample(
    components: np.ndarray, variance: float, s: np.ndarray, q: np.ndarray, label_variance: float
) -> float:
    r"""n from :math:`E|(V^T E)_{uc}|^2 = n^2 s_u^2 q_u + n s_u^2 v + \sigma^2`, components weighted by :math:`s_u^2`.

    Never less than what one record for every 20 public samples would be: where there is nothing but noise, the
    estimate of labels is to vanish, not to be scaled up.

    Parameters
    ----------
    components : [m, classes] float64
        Evidence in the basis of the descriptions' right singular vectors.
    variance : float
        :math:`\sigma^2`, of the noise in each value.
    s, q : [m] float64
        As in `gains`.
    label_variance : float
        v, of a one-hot value.

    Returns
    -------
    float
    """
    excess = (components**2).mean(axis=1) - variance
    squared, linear = np.sum(s**4 * q), label_variance * np.sum(s**4)
    root = np.sqrt(max(linear**2 + 4 * squared * np.sum(s**2 * excess), 0.0))
    return max(float(root - linear) / float(2 * squared), 0.05)


EVIDENCE = Strategy("evidence", "likeness to public samples, denoised", release, EvidenceClient, EvidenceServer)
