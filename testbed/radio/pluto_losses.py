"""How many samples a Pluto lost, and where: told by a virtual one, or of hardware by this machine's clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from testbed.radio.pluto_status import StatusBit

LOOK_S = 0.1  # between two looks at the device: a round trip each
DELAYS = 200  # of blocks that were waited for, a second's worth: what the least of them is follows a drifting clock


class Losses(Protocol):
    """Told of each block as it comes; says how many samples were lost right before it."""

    detail: str  # of an event: how well the number is known

    def begin(self, first: int) -> None:
        """Told before the first block: ``first`` samples came since the buffer was opened, and nobody wants them."""
        ...

    def before(self, first: int, count: int, begun_s: float, ended_s: float) -> int:
        """Samples lost between the block before and this one.

        Parameters
        ----------
        first : int
            Samples that came since `begin` and before this block, those lost left out.
        count : int
            Of this block.
        begun_s, ended_s : float
            When it was asked for and when it was there, on the monotonic clock.
        """
        ...


class CountedLosses:
    """Of a virtual Pluto, which keeps a list of gaps: (samples delivered before it, samples lost); exact."""

    detail = "the device counted them"

    def __init__(self, gaps: Callable[[], Sequence[tuple[int, int]]]) -> None:
        self._gaps = gaps
        self._known: dict[int, int] = {}
        self._origin = 0
        self._look_at_s = 0.0

    def begin(self, first: int) -> None:
        """See `Losses.begin`. A gap right there is counted from here on."""
        self._origin = first
        self._known = {delivered: lost for delivered, lost in self._gaps() if delivered <= first}

    def before(self, first: int, count: int, begun_s: float, ended_s: float) -> int:
        """See `Losses.before`. A gap behind this block may still grow: it is counted with the next."""
        if ended_s < self._look_at_s:
            return 0
        self._look_at_s = ended_s + LOOK_S
        lost = 0
        gaps = self._gaps()
        for delivered, total in gaps:
            if delivered >= self._origin + first + count:
                self._look_at_s = 0.0
                continue
            lost += total - self._known.get(delivered, 0)
            self._known[delivered] = total
        self._known = {delivered: self._known[delivered] for delivered, _ in gaps if delivered in self._known}
        return lost


class ClockedLosses:
    r"""Of hardware, whose status bit says that samples were lost, not how many.

    A block that was waited for holds samples that have just been taken: its delay
    :math:`d = t - (n + m) / f_s` behind the sample count :math:`n + m` is least then, and jumps by what was lost,
    :math:`L = f_s (d - d_{\min})`. As exact as a thread wakes: about a millisecond. The gap is put before the first
    block that was waited for, since what the device had queued when it overflowed comes first.

    Parameters
    ----------
    rate_hz : float
    bit : StatusBit
        Whether the device lost samples.
    """

    detail = "counted by this machine's clock, to about a millisecond"

    def __init__(self, rate_hz: float, bit: StatusBit) -> None:
        self._rate_hz = rate_hz
        self._bit = bit
        self._pending = False
        self._lost = 0
        self._delays_s: deque[float] = deque(maxlen=DELAYS)
        self._look_at_s = 0.0

    def begin(self, first: int) -> None:
        """See `Losses.begin`: what the bit says until here is of no interest."""
        self._bit.examine()

    def before(self, first: int, count: int, begun_s: float, ended_s: float) -> int:
        """See `Losses.before`; at least 1 where the bit was set."""
        if ended_s >= self._look_at_s:
            self._look_at_s = ended_s + LOOK_S
            self._pending |= self._bit.take()
        if ended_s - begun_s < count / self._rate_hz / 2:
            return 0
        delay_s = ended_s - (first + self._lost + count) / self._rate_hz
        lost = 0
        if self._pending:
            self._pending = False
            lost = max(1, round((delay_s - min(self._delays_s, default=delay_s)) * self._rate_hz))
            self._lost += lost
            delay_s -= lost / self._rate_hz
        self._delays_s.append(delay_s)
        return lost
