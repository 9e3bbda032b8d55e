"""How many samples are due by a clock. The clock is passed in; nothing here waits."""

from __future__ import annotations

from collections.abc import Callable

SLIP_S = 0.5  # an air further behind its clock than this does not catch up: its time is moved


class WallClock:
    r"""Real pace: at time :math:`t`, :math:`\lfloor (t - t_0) f_s \rfloor` samples are due.

    Parameters
    ----------
    rate_hz : float
    clock : callable
        Seconds; it does not go back.
    """

    def __init__(self, rate_hz: float, clock: Callable[[], float]) -> None:
        self._rate_hz = rate_hz
        self._clock = clock
        self._began_s: float | None = None

    @property
    def running(self) -> bool:
        """Whether it has been started."""
        return self._began_s is not None

    def start(self, served: int = 0) -> None:
        """Sample ``served`` is due now."""
        self._began_s = self._clock() - served / self._rate_hz

    def due(self) -> int:
        """Samples due since the start; 0 before it."""
        return 0 if self._began_s is None else int((self._clock() - self._began_s) * self._rate_hz)

    def wait_s(self, sample: int) -> float:
        """Until that many are due; 0 if they are."""
        return 0.0 if self._began_s is None else max(0.0, self._began_s + sample / self._rate_hz - self._clock())

    def slip(self, served: int) -> int:
        """By how many samples time had to be moved, because ``served`` is too far behind; 0 if it is not."""
        behind = self.due() - served
        if behind <= SLIP_S * self._rate_hz:
            return 0
        self.start(served)
        return behind
