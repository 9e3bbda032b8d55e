"""The Wiener filter of `server.estimation.profiles` for torch: with its gradient, without that of eigenvectors."""

from __future__ import annotations

from typing import Any

import torch


def spectra(r_t: torch.Tensor, r_f: torch.Tensor) -> tuple[torch.Tensor, ...]:
    r"""Eigenbases of both correlations, and :math:`1/(\lambda_t \lambda_f + 1)`.

    Parameters
    ----------
    r_t : [B, I, I] complex128
    r_f : [B, J, J] complex128
        Hermitian, both.

    Returns
    -------
    base_t : [B, I, I] complex128
    base_f : [B, J, J] complex128
    shrink : [B, I, J] float64
    """
    value_t, base_t = torch.linalg.eigh(r_t)
    value_f, base_f = torch.linalg.eigh(r_f)
    shrink = 1 / (value_t.clamp(min=0)[:, :, None] * value_f.clamp(min=0)[:, None, :] + 1)
    return base_t, base_f, shrink


class Whiten(torch.autograd.Function):
    r"""W with :math:`R_t W R_f^T + W = C`, so :math:`\mathrm{vec} W = (R_t \otimes R_f + I)^{-1} \mathrm{vec} C`.

    Gradients by the adjoint equation: with U solving the same for the gradient of W, those of :math:`R_t` and
    :math:`R_f^T` are :math:`-U (W R_f^T)^H` and :math:`-(R_t W)^H U`. Nothing divides by differences of eigenvalues.
    """

    @staticmethod
    def forward(ctx: Any, r_t: torch.Tensor, r_f: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        r"""Coefficients over their covariance, :math:`(R_t \otimes R_f + I)^{-1} \mathrm{vec}(C)`.

        Parameters
        ----------
        ctx : object
            Torch's, for the backward pass.
        r_t : [B, I, I] complex128
        r_f : [B, J, J] complex128
            Hermitian, both.
        c : [B, A, I, J] complex128

        Returns
        -------
        [B, A, I, J] complex128
        """
        base_t, base_f, shrink = spectra(r_t, r_f)
        w = solve(base_t, base_f, shrink, c)
        ctx.save_for_backward(r_t, r_f, base_t, base_f, shrink, w)
        return w

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        r_t, r_f, base_t, base_f, shrink, w = ctx.saved_tensors
        u = solve(base_t, base_f, shrink, grads[0])
        right = r_f.mT[:, None]
        for_t = -(u @ (w @ right).mH).sum(dim=1)
        for_f_transposed = -((r_t[:, None] @ w).mH @ u).sum(dim=1)
        return for_t, for_f_transposed.mT, None


def solve(base_t: torch.Tensor, base_f: torch.Tensor, shrink: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """The solution from the eigenbases; :math:`R_f^T` has the eigenvectors' conjugates.

    Parameters
    ----------
    base_t : [B, I, I] complex128
    base_f : [B, J, J] complex128
    shrink : [B, I, J] float64
    c : [B, A, I, J] complex128

    Returns
    -------
    [B, A, I, J] complex128
    """
    base_t, right = base_t[:, None], base_f.conj()[:, None]
    y = base_t.mH @ c @ right
    return base_t @ (y * shrink[:, None]) @ right.mH
