"""Unbiased linear MMSE detection: arrays in, symbols and their error variance out. The loops are in `_kernels`."""

from __future__ import annotations

import numpy as np

from server.detection import _kernels
from server.detection.base import Posterior, Received
from testbed.errors import ShapeError

LEAST_VARIANCE = 1e-6  # of a prior: less would drown in float32 what the received elements say


def lmmse(
    y: np.ndarray, h: np.ndarray, no: np.ndarray | float, *, cov: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""Linear minimum mean-square-error detection of K users on N antennas.

    Model: :math:`y = H x + n`, with :math:`E[xx^H] = I_K`, :math:`E[nn^H] = N_0 I_N` (or ``cov``).
    With :math:`G = H^H (HH^H + N_0 I)^{-1}` and :math:`\rho_k = [GH]_{kk}` the estimate
    :math:`\hat{x}_k = [Gy]_k / \rho_k` is unbiased: :math:`\hat{x}_k = x_k + e_k`, and ``no_eff`` is the variance
    of :math:`e_k` (noise and the other users), :math:`(1 - \rho_k) / \rho_k`.

    When ``h`` is itself an estimate, its error acts as more noise: add the sum of all users' error variances to ``no``.

    Parameters
    ----------
    y : [..., N] complex64
        Received resource elements.
    h : [..., N, K] complex64
        Channel; K may exceed N (then ``no_eff`` says how little is left).
    no : float or [...] float32
        Noise variance of a complex sample, linear, per antenna. Raised to 1e-10 of the channel's power where it lies
        below, so that 0 means zero forcing.
    cov : [..., N, N] complex64, optional
        Covariance of noise and interference, positive definite; replaces ``no``.

    Returns
    -------
    x_hat : [..., K] complex64
        Finite for finite inputs; 0 for a user without a channel.
    no_eff : [..., K] float32
        Infinite for a user without a channel.

    Both are views of arrays with users first; an ``h`` that is such a view, antennas and users first, is not copied.

    Raises
    ------
    ShapeError
        If antennas disagree or the leading axes of ``y``, ``h`` and ``no`` do not broadcast.
    numpy.linalg.LinAlgError
        If ``cov`` is not positive definite.

    References
    ----------
    S. M. Kay, *Fundamentals of Statistical Signal Processing: Estimation Theory*, ch. 12.
    """
    y = np.asarray(y, dtype=np.complex64)
    h = np.asarray(h, dtype=np.complex64)
    if y.ndim < 1 or h.ndim < 2 or y.shape[-1] != h.shape[-2]:
        raise ShapeError(f"y {y.shape} and h {h.shape}: y must be [..., N] and h [..., N, K] with the same N")
    if cov is not None:
        y, h = whiten(y, h, cov)
        no = 1.0
    no = np.asarray(no, dtype=np.float32)
    try:
        lead = np.broadcast_shapes(y.shape[:-1], h.shape[:-2], no.shape)
    except ValueError:
        raise ShapeError(f"leading axes of y {y.shape}, h {h.shape} and no {no.shape} do not broadcast") from None
    antennas, users = h.shape[-2:]
    y_planes = np.ascontiguousarray(np.moveaxis(np.broadcast_to(y, (*lead, antennas)), -1, 0))
    h_planes = np.ascontiguousarray(np.moveaxis(np.broadcast_to(h, (*lead, antennas, users)), (-2, -1), (0, 1)))
    no_plane = np.ascontiguousarray(np.broadcast_to(no, lead)).reshape(-1)
    x_hat = np.empty((users, no_plane.size), dtype=np.complex64)
    no_eff = np.empty((users, no_plane.size), dtype=np.float32)
    kernel = _kernels.two_by_two if (antennas, users) == (2, 2) else _kernels.many
    kernel(y_planes.reshape(antennas, -1), h_planes.reshape(antennas, users, -1), no_plane, x_hat, no_eff)
    return np.moveaxis(x_hat.reshape(users, *lead), 0, -1), np.moveaxis(no_eff.reshape(users, *lead), 0, -1)


def detect_lmmse(received: Received) -> Posterior:
    r"""`lmmse` as a detector: the channel's error is more noise, and a prior takes out what is known of the others.

    With a prior of mean :math:`\mu` and variance :math:`v`, :math:`y - H\mu` is detected over :math:`H\sqrt{v}`, and
    :math:`\mu_k` and :math:`\sqrt{v_k}` are put back; the user's own prior cancels (the estimate is extrinsic).

    Parameters
    ----------
    received : Received

    Returns
    -------
    Posterior

    Raises
    ------
    ShapeError, numpy.linalg.LinAlgError
        As `lmmse`.

    References
    ----------
    X. Wang and H. V. Poor, "Iterative (turbo) soft interference cancellation and decoding for coded CDMA", IEEE Trans.
    Commun. 47(7), 1999, eqs. 35 to 46.
    """
    no, cov = received.noise()
    y, h, prior = received.y, received.channel.h_hat, received.prior
    if prior is None:
        return Posterior(*lmmse(y, h, no, cov=cov))
    # A symbol that is known altogether still has a direction, in which its own variance does not matter.
    deviation = np.sqrt(np.maximum(prior.variance, LEAST_VARIANCE)).astype(np.float32)
    rest = y - np.einsum("...nk,...k->...n", h, prior.mean)
    x_hat, no_eff = lmmse(rest.astype(np.complex64), h * deviation[..., None, :], no, cov=cov)
    return Posterior((prior.mean + deviation * x_hat).astype(np.complex64), (deviation**2 * no_eff).astype(np.float32))


def whiten(y: np.ndarray, h: np.ndarray, cov: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``y`` and ``h`` times :math:`L^{-1}`, where ``cov`` = :math:`LL^H`: their noise is white, of unit variance.

    Parameters
    ----------
    y : [..., N] complex64
    h : [..., N, K] complex64
    cov : [..., N, N] complex64
        Covariance of noise and interference.

    Returns
    -------
    y : [..., N] complex64
    h : [..., N, K] complex64

    Raises
    ------
    ShapeError
        If the shapes do not fit each other.
    numpy.linalg.LinAlgError
        If ``cov`` is not positive definite.
    """
    if cov.ndim < 2 or cov.shape[-2:] != (y.shape[-1], y.shape[-1]):
        raise ShapeError(f"cov {cov.shape}: must be [..., N, N] with N = {y.shape[-1]} antennas")
    root = np.linalg.cholesky(np.asarray(cov, dtype=np.complex128))
    try:
        y_white = np.linalg.solve(root, y[..., None])[..., 0]
        h_white = np.linalg.solve(root, h)
    except ValueError:
        raise ShapeError(f"leading axes of cov {cov.shape}, y {y.shape} and h {h.shape} do not broadcast") from None
    return y_white.astype(np.complex64), h_white.astype(np.complex64)
