"""What every detector takes and gives, whatever its method."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np


class Channel(msgspec.Struct, frozen=True):
    r"""The channel as it is known.

    Attributes
    ----------
    h_hat : [..., N, K] complex64
        From K users to N antennas.
    error_variance : float or [..., K] float32
        :math:`E|h - \hat{h}|^2` of one antenna, user by user.
    """

    h_hat: np.ndarray
    error_variance: np.ndarray | float = 0.0


class Prior(msgspec.Struct, frozen=True):
    r"""What is known of the symbols beforehand, from a decoder or an earlier pass.

    Attributes
    ----------
    mean : [..., K] complex64
    variance : [..., K] float32
        :math:`E|x_k - \mu_k|^2`; 0 to 1.
    """

    mean: np.ndarray
    variance: np.ndarray


class Received(msgspec.Struct, frozen=True):
    r"""All that a detector goes by: :math:`y = H x + n`, :math:`H = \hat H + E`.

    Attributes
    ----------
    y : [..., N] complex64
        Received resource elements.
    channel : Channel
    no : float or [...] float32
        Noise variance of a complex sample, linear, per antenna.
    cov : [..., N, N] complex64, optional
        Covariance of noise and interference; replaces ``no``.
    prior : Prior, optional
        Without one, symbols have mean zero and unit variance.
    """

    y: np.ndarray
    channel: Channel
    no: np.ndarray | float
    cov: np.ndarray | None = None
    prior: Prior | None = None

    def noise(self) -> tuple[np.ndarray | float, np.ndarray | None]:
        r"""``no`` and ``cov`` with the error of the channel in them: :math:`N_0 + \sum_k \sigma_k^2 E|x_k|^2`."""
        error = np.asarray(self.channel.error_variance, np.float32)
        if self.prior is not None:
            error = error * (np.abs(self.prior.mean) ** 2 + self.prior.variance)
        users = self.channel.h_hat.shape[-1]
        more = error.sum(axis=-1) if error.ndim else np.float32(users) * error
        if self.cov is None:
            return self.no + more, None
        return self.no, self.cov + np.asarray(more)[..., None, None] * np.eye(self.cov.shape[-1], dtype=np.float32)


class Posterior(msgspec.Struct, frozen=True):
    r"""What a detector found out about the symbols, apart from what was known of each beforehand.

    Attributes
    ----------
    x_hat : [..., K] complex64
        Unbiased: :math:`\hat x_k = x_k + e_k`.
    no_eff : [..., K] float32
        Variance of :math:`e_k`; infinite where nothing was found out.
    """

    x_hat: np.ndarray
    no_eff: np.ndarray


Detector = Callable[[Received], Posterior]
