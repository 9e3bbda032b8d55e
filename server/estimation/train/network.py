"""The network: it improves the profiles under which the linear estimate is made."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from server.estimation.image import CHANNELS
from server.estimation.profiles import DOPPLER_BINS

CHANGE_LIMIT = 6.0  # of what one pass may add to a logarithm
GROWTH_LIMIT = 3.0  # of the logarithm of a growth that is believed
LOG_RANGE = (-12.0, 25.0)  # of a profile's logarithm: exp() stays finite whatever comes in
LOG_SCALE = 3.0  # brings logarithms to the range of other inputs


class Block(torch.nn.Module):
    """A residual block along the delays."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.first = torch.nn.Conv1d(width, width, kernel, padding=dilation * (kernel // 2), dilation=dilation)
        self.second = torch.nn.Conv1d(width, width, kernel, padding=dilation * (kernel // 2), dilation=dilation)
        torch.nn.init.zeros_(self.second.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


class ProfileNet(torch.nn.Module):
    """One pass: profiles, and how the pilots say that they should grow, to better profiles.

    With all its last layers zero it is one step of maximum likelihood (`server.estimation.profiles.growth`); what it
    learns is a residual to that, in logarithms. Convolutions alone touch the delay axis, so any waveform's grid fits.
    What concerns the whole frame (Doppler spectrum, inflation) is read from weighted means over delays.
    """

    def __init__(self, width: int = 32, kernel: int = 5, dilations: tuple[int, ...] = (1, 2, 3)) -> None:
        super().__init__()
        self.enter = torch.nn.Conv1d(CHANNELS + 2, width, kernel, padding=kernel // 2)
        self.blocks = torch.nn.ModuleList(Block(width, kernel, d) for d in dilations)
        self.attention = torch.nn.Conv1d(width, 1, 1)
        self.whole = torch.nn.Linear(2 * width + 2 * DOPPLER_BINS, width)
        self.spread = torch.nn.Linear(width, width)
        self.last = Block(width, kernel, 1)
        self.delay = torch.nn.Conv1d(width, 1, 1)
        self.doppler = torch.nn.Linear(width, DOPPLER_BINS)
        self.inflation = torch.nn.Linear(width, 1)
        for layer in (self.delay, self.doppler, self.inflation):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(
        self, image: torch.Tensor, delay: torch.Tensor, doppler: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One pass.

        Parameters
        ----------
        image : [B, CHANNELS, M] float32
        delay : [B, 2, M] float32
            Logarithms of the delay profile and of its growth.
        doppler : [B, 2, D] float32
            Logarithms of the Doppler profile and of its growth.

        Returns
        -------
        log_delay : [B, M] float32
        log_doppler : [B, D] float32
        log_inflation : [B] float32
        """
        delay = torch.cat([delay[:, :1], delay[:, 1:].clamp(-GROWTH_LIMIT, GROWTH_LIMIT)], dim=1)
        doppler = torch.cat([doppler[:, :1], doppler[:, 1:].clamp(-GROWTH_LIMIT, GROWTH_LIMIT)], dim=1)
        x = self.enter(torch.cat([image, delay / LOG_SCALE], dim=1))
        for block in self.blocks:
            x = block(x)
        weight = torch.softmax(self.attention(x), dim=2)
        means = [(weight * x).sum(dim=2), x.mean(dim=2), doppler.flatten(1) / LOG_SCALE]
        whole = F.relu(self.whole(torch.cat(means, dim=1)))
        x = F.relu(self.last(x + self.spread(whole)[:, :, None]))
        new_delay = (delay.sum(dim=1) + limited(self.delay(x)[:, 0])).clamp(*LOG_RANGE)
        new_doppler = torch.log_softmax(doppler.sum(dim=1) + limited(self.doppler(whole)), dim=1)
        inflation = self.inflation(whole)[:, 0].clamp(-math.log(4.0), math.log(4.0))
        return new_delay, new_doppler.clamp(min=LOG_RANGE[0]), inflation


def limited(change: torch.Tensor) -> torch.Tensor:
    """Smoothly within +-CHANGE_LIMIT."""
    return CHANGE_LIMIT * torch.tanh(change / CHANGE_LIMIT)
