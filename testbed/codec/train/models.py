"""The networks: a residual DeepJSCC encoder and decoder. Nothing here knows a channel, a data set or a file."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

COMPLEX_CHANNELS = 8  # per 4x4 patch of 48 source values: k/n = 8/48 = 1/6
STRIDE = 4


class Residual(nn.Module):
    r"""Two 3x3 convolutions around a GELU, added to their input: :math:`x + W_2\,\phi(W_1 x)`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.gelu(self.first(x)))


class Encoder(nn.Module):
    r"""Picture to channel symbols of unit mean power.

    Works at 1/2 and then at 1/4 of the picture's resolution, where a convolution costs 16 times less than on pixels.
    The output is scaled so that :math:`\frac1k\sum_{i=1}^{k}|x_i|^2 = 1` over the k complex symbols of each picture.

    Shapes: [B, 3, H, W] float32 in 0..1, H and W multiples of 4 -> [B, 16, H/4, W/4] float32;
    channels 0..7 are the real parts of the 8 complex symbols at a position, 8..15 their imaginary parts.
    """

    def __init__(self, width: int = 64, blocks: int = 3, complex_channels: int = COMPLEX_CHANNELS) -> None:
        super().__init__()
        half = width // 2
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, half, 3, padding=1),
            Residual(half),
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * half, width, 3, padding=1),
            *[Residual(width) for _ in range(blocks)],
            nn.Conv2d(width, 2 * complex_channels, 3, padding=1),
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        raw = self.layers(pictures - 0.5).float()
        # Twice the mean over reals is the mean over complex symbols.
        power = 2.0 * raw.square().mean(dim=(1, 2, 3), keepdim=True)
        return raw * torch.rsqrt(power + 1e-12)


class Decoder(nn.Module):
    r"""Received symbols and their effective noise to a picture.

    Each symbol is first shrunk to its linear MMSE estimate, :math:`w\hat x` with :math:`w = 1/(1+N_0)`, and the weights
    go in beside the symbols: a lost symbol (:math:`N_0 = \infty`) enters as zero with weight zero, an erasure.

    Shapes: symbols [B, 16, h, w] float32 (finite), no_eff [B, 8, h, w] float32 (variance of the complex error, may be
    infinite) -> [B, 3, 4h, 4w] float32, not limited to 0..1.
    """

    def __init__(self, width: int = 64, blocks: int = 6, complex_channels: int = COMPLEX_CHANNELS) -> None:
        super().__init__()
        half = width // 2
        self.layers = nn.Sequential(
            nn.Conv2d(3 * complex_channels, width, 3, padding=1),
            *[Residual(width) for _ in range(blocks)],
            nn.Conv2d(width, 4 * half, 3, padding=1),
            nn.PixelShuffle(2),
            Residual(half),
            nn.Conv2d(half, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def forward(self, symbols: torch.Tensor, no_eff: torch.Tensor) -> torch.Tensor:
        """The picture; every symbol is weighed by what its noise leaves of it, :math:`1 / (1 + N_0)`.

        Parameters
        ----------
        symbols : [B, 2C, h, w] float32
            C real parts, then C imaginary parts.
        no_eff : [B, C, h, w] float32
            Error variances; infinite where lost.

        Returns
        -------
        [B, 3, H, W] float32
            About 0 to 1.
        """
        weight = 1.0 / (1.0 + no_eff)
        shrunk = symbols * torch.cat([weight, weight], dim=1)
        return self.layers(torch.cat([shrunk, weight], dim=1)).float() + 0.5
