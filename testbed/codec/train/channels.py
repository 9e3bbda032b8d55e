"""Channels a gradient can pass: what a symbol meets between encoder and decoder while they are trained."""

from __future__ import annotations

import torch


def draw_no_eff(
    groups: int,
    shape: tuple[int, ...],
    generator: torch.Generator,
    *,
    snr_db: tuple[float, float],
    fading_share: float,
    erasure_share: float,
) -> torch.Tensor:
    r"""Effective noise variances as a receiver would report them, one draw of the link for each group of pictures.

    A share ``1 - fading_share`` of the groups meets plain AWGN: one variance for all symbols. The others meet what
    detection leaves of a Rayleigh channel after interleaving: :math:`N_0/g` with :math:`g` exponential (one degree of
    diversity) or the mean of two exponentials, independent from symbol to symbol. Half of those also lose a share of
    symbols, up to ``erasure_share``, altogether (:math:`N_0 = \infty`).

    Parameters
    ----------
    groups : int
        Number of independent links.
    shape : (P, C, h, w)
        Pictures in a group, complex channels, rows and columns of symbols.
    generator : torch.Generator
    snr_db : (low, high)
        Range, uniform in dB, of the mean SNR, Es/N0 per complex channel use.
    fading_share, erasure_share : float in 0..1

    Returns
    -------
    [groups, P, C, h, w] float32
    """

    def uniform(*size: int) -> torch.Tensor:
        return torch.rand(*size, generator=generator)

    low, high = snr_db
    one_each = (groups, 1, 1, 1, 1)
    mean_no = 10.0 ** (-(low + (high - low) * uniform(*one_each)) / 10.0)
    first = -torch.log1p(-uniform(groups, *shape))
    second = -torch.log1p(-uniform(groups, *shape))
    diversity = uniform(*one_each) < 0.5
    gain = torch.where(diversity, 0.5 * (first + second), first).clamp_min(1e-4)
    lost_share = erasure_share * uniform(*one_each) * (uniform(*one_each) < 0.5)
    faded = torch.where(uniform(groups, *shape) < lost_share, torch.inf, mean_no / gain)
    fades = uniform(*one_each) < fading_share
    return torch.where(fades, faded, mean_no.expand(groups, *shape))


def add_noise(symbols: torch.Tensor, no_eff: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    r"""Unbiased detection: :math:`\hat x = x + e`, :math:`e \sim \mathcal{CN}(0, N_0)`; erased symbols become zero.

    Parameters
    ----------
    symbols : [B, 2C, ...] float32
        C real parts, then C imaginary parts.
    no_eff : [B, C, ...] float32
        :math:`N_0`; infinite where erased.
    generator : torch.Generator

    Returns
    -------
    [B, 2C, ...] float32
    """
    per_real = torch.cat([no_eff, no_eff], dim=1) / 2.0
    erased = torch.isinf(per_real)
    noise = torch.randn(symbols.shape, generator=generator) * per_real.masked_fill(erased, 0.0).sqrt()
    return (symbols + noise).masked_fill(erased, 0.0)
