"""What paces virtual Plutos in real pace: the machine's monotonic clock, or one that goes slower or waits."""

from __future__ import annotations

import time
from typing import Protocol

SLACK_S = 0.02  # at most, by which a clock that waits is ahead of its samples


class Pacer(Protocol):
    """Time that passes by itself."""

    speed: float  # of its seconds over the machine's; 0 where it stands until somebody moves it
    patience_s: float  # of the machine's, for which it stands still for a client that is late; 0: never

    def now_s(self, passed_s: float) -> float:
        """Seconds since the first call; never less than before.

        Parameters
        ----------
        passed_s : float
            Of them, those in which samples have moved.

        Returns
        -------
        float
        """
        ...


class WallClock:
    """The machine's own time, or a fraction of it; or one that stretches where it would go ahead of its samples.

    Parameters
    ----------
    speed : float
        0.1: ten seconds of the machine are one here, so that a machine that is too slow for a rate keeps up with it.
    patience_s : float
        See `Pacer`. Where it is more than 0, time never runs ahead of the samples by more than ``SLACK_S``: a machine
        that is too slow is late with nothing, and what is received depends on no machine's load.
    """

    def __init__(self, speed: float = 1.0, patience_s: float = 0.0) -> None:
        self.speed = speed
        self.patience_s = patience_s
        self._begun_s: float | None = None

    def now_s(self, passed_s: float) -> float:
        """See `Pacer`."""
        now_s = time.monotonic() * self.speed
        if self._begun_s is None:
            self._begun_s = now_s
        if self.patience_s:
            self._begun_s = max(self._begun_s, now_s - passed_s - SLACK_S)
        return now_s - self._begun_s


class Stepped:
    """Time that stands until somebody moves it, by `testbed.air.iiod.live.LiveEther.advance`."""

    speed = 0.0
    patience_s = 0.0

    def now_s(self, passed_s: float) -> float:
        """See `Pacer`."""
        return 0.0
