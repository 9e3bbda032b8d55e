"""Matched-filter detection: each user by itself, the others left in as noise that is counted."""

from __future__ import annotations

import numpy as np

from server.detection.base import Posterior, Received
from server.detection.lmmse import whiten


def matched_filter(received: Received) -> Posterior:
    r"""Maximum ratio combining of K users on N antennas, the other users taken for noise.

    Model: :math:`y = H x + n` with white n (coloured n is whitened). With :math:`g_k = h_k^Hh_k`

    .. math:: \hat x_k = \frac{h_k^H (y - \sum_{j \ne k} h_j \mu_j)}{g_k}, \quad
              N_k = \frac{N_0}{g_k} + \sum_{j \ne k} \frac{|h_k^H h_j|^2 v_j}{g_k^2}

    Best for one user, or where a prior (:math:`\mu_j, v_j`) has told the others.

    Parameters
    ----------
    received : Received

    Returns
    -------
    Posterior
        0 and infinite noise for a user without a channel.

    Raises
    ------
    ShapeError
        If ``cov`` does not fit.

    References
    ----------
    S. Verdu, *Multiuser Detection*, Cambridge 1998, ch. 3.
    """
    y, h = np.asarray(received.y, np.complex64), np.asarray(received.channel.h_hat, np.complex64)
    no, cov = received.noise()
    if cov is not None:
        y, h = whiten(y, h, cov)
        no = 1.0
    users = h.shape[-1]
    gram = np.einsum("...nk,...nj->...kj", h.conj(), h)
    matched = np.einsum("...nk,...n->...k", h.conj(), y)
    others = gram * (1 - np.eye(users, dtype=np.float32))
    variance = np.ones((users,), np.float32)
    if received.prior is not None:
        matched = matched - np.einsum("...kj,...j->...k", others, received.prior.mean)
        variance = received.prior.variance
    gain = np.einsum("...kk->...k", gram).real
    left = np.einsum("...kj,...j->...k", np.abs(others) ** 2, np.broadcast_to(variance, gain.shape))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x_hat = matched / gain
        no_eff = np.asarray(no, np.float32)[..., None] / gain + left / gain**2
    known = np.isfinite(no_eff) & (gain > 0)
    return Posterior(np.where(known, x_hat, 0).astype(np.complex64), np.where(known, no_eff, np.inf).astype(np.float32))
