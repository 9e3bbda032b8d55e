"""What paces virtual Plutos in real pace: the machine's monotonic clock, or one that goes slower."""

from __future__ import annotations

import time
from typing import Protocol


class Pacer(Protocol):
    """Time that passes by itself."""

    speed: float  # of its seconds over the machine's; 0 where it stands until somebody moves it

    def now_s(self) -> float:
        """Seconds since any moment; never less than before."""
        ...


class WallClock:
    """The machine's own time, or a fraction of it.

    Parameters
    ----------
    speed : float
        0.1: ten seconds of the machine are one here, so that a machine that is too slow for a rate keeps up with it.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed

    def now_s(self) -> float:
        """See `Pacer`."""
        return time.monotonic() * self.speed


class Stepped:
    """Time that stands until somebody moves it, by `testbed.air.iiod.live.LiveEther.advance`."""

    speed = 0.0

    def now_s(self) -> float:
        """See `Pacer`."""
        return 0.0
