"""What a channel estimator takes, returns and assumes, whatever its method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from testbed.phy.waveform import Waveform

LINE_OF_SIGHT = 1.7  # widest spectrum over Doppler shift: a line of sight at 0.7 f_D is taken for its middle


class ChannelEstimate(msgspec.Struct, frozen=True):
    """The channel of every pilot slot on every resource element of a frame's body, and how well it is known.

    Attributes
    ----------
    h_hat : [S, F, A, U] complex64
        In units of the received grid: transmitted symbols have unit power, so it holds the transmitter's amplitude and
        each user's rotation. A view of [A, U, S, F], which `server.detection` takes without a copy.
    error_variance : [S, F, U] float32
        :math:`E|h - \\hat{h}|^2` of one antenna.
    no : float
        Noise variance of a received resource element, per antenna.
    user_cfo_hz : [U] float64
        Offset of each user that is left in the grid.
    """

    h_hat: np.ndarray
    error_variance: np.ndarray
    no: float
    user_cfo_hz: np.ndarray


class Fading(NamedTuple):
    """What a link is like, as far as it is known."""

    delay_spread_s: float
    doppler_hz: float


class Estimator(Protocol):
    """Channel estimation for one waveform and number of antennas."""

    def __call__(self, grid: np.ndarray) -> ChannelEstimate:
        """Estimate the channel of a frame.

        Parameters
        ----------
        grid : [A, S, F] complex64
            Received body, common frequency offset removed, FFT windows placed so that all paths fall in the prefix.

        Returns
        -------
        ChannelEstimate

        Raises
        ------
        ShapeError
            If the grid is not a body of the waveform.
        """
        ...

    def warnings(self, links: Sequence[Fading]) -> list[str]:
        """What lies outside the estimator's assumptions or training, one sentence each.

        Parameters
        ----------
        links : sequence of Fading
            Those of the air; none where the air is not known.

        Returns
        -------
        list of str
        """
        ...


Factory = Callable[[Waveform, int], Estimator]
Method = Callable[[np.ndarray, Waveform], ChannelEstimate]


class Assumptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an estimator holds what it reports; None: everywhere. Ranges include both ends."""

    doppler_hz: tuple[float, float] | None = None
    delay_spread_s: tuple[float, float] | None = None
    antennas: tuple[int, int] | None = None
    pilot_slots: tuple[int, int] | None = None
    profile: str | None = None  # of the waveform


@dataclass(frozen=True)
class Assuming:
    """An `Estimator` from a method and what that assumes.

    Parameters
    ----------
    name : str
    method : callable
        ``(grid, waveform) -> ChannelEstimate``.
    assumptions : Assumptions
    waveform : Waveform
    antennas : int
    verb : str
        How the name goes on to the assumptions.
    advice : str
        What to do where they do not hold.
    """

    name: str
    method: Method
    assumptions: Assumptions
    waveform: Waveform
    antennas: int
    verb: str = "assumes"
    advice: str = "expect more error than it reports, or take server.estimator = lmmse"

    def __call__(self, grid: np.ndarray) -> ChannelEstimate:
        """See `Estimator`."""
        return self.method(grid, self.waveform)

    def warnings(self, links: Sequence[Fading]) -> list[str]:
        """See `Estimator.warnings`."""
        here: list[tuple[str, float]] = [("antennas", self.antennas), ("pilot_slots", self.waveform.pilot_slots)]
        for link in links:
            here += [("delay_spread_s", link.delay_spread_s), ("doppler_hz", link.doppler_hz)]
        lines = []
        if self.assumptions.profile not in (None, self.waveform.profile):
            lines.append(self._line(f"waveform.profile {self.assumptions.profile}", self.waveform.profile))
        for key, value in here:
            known = getattr(self.assumptions, key)
            if known is not None and not known[0] <= value <= known[1]:
                lines.append(self._line(f"{key} from {known[0]:g} to {known[1]:g}", f"{value:g}"))
        return list(dict.fromkeys(lines))

    def _line(self, assumed: str, found: str) -> str:
        return f"{self.name} {self.verb} {assumed}, here it is {found}: {self.advice}"


def most_pilot_slots(waveform: Waveform, delay_samples: float) -> int:
    """Users whose combs still tell delays up to ``delay_samples`` apart.

    Parameters
    ----------
    waveform : Waveform
    delay_samples : float

    Returns
    -------
    int
    """
    return int(waveform.fft_size // delay_samples)
