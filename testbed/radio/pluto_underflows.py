"""How many samples a Pluto lacked while it transmitted, and where: by count, this machine's clock and a bit."""

from __future__ import annotations

from collections import deque

from testbed.radio.pluto_status import StatusBit

LOOK_S = 0.1  # between two looks at the device: a round trip each
DELAYS = 200  # of blocks that waited for room, a second's worth: what the least of them is follows a drifting clock


class Underflows:
    r"""Of a stream of blocks that are pushed into a queue of :math:`Q` samples, which the device empties.

    A push that waits for room ends when the queue is full again: then :math:`n` samples were sent and :math:`n - Q`
    have left, so :math:`d = t - n / f_s` is the same for each of them but for the delay of waking up. It is greater
    where the queue is not full, and grows by what the device did without. A push that begins at :math:`t` after
    :math:`n` samples finds

    .. math:: q = Q - f_s (t - n / f_s - d_{\min})

    samples in the queue; :math:`-q`, where it is positive, is how long silence went out. Before the first push that
    waited, the queue began to empty when the first block was there. What the clock finds counts where the device's bit
    confirms it, as long as that bit can be trusted (else the device itself was late, as an emulator may be); a bit that
    was set without it counts as one sample.

    Parameters
    ----------
    rate_hz : float
    queued_samples : int
        Q, of a full queue.
    bit : StatusBit
    """

    def __init__(self, rate_hz: float, queued_samples: int, bit: StatusBit) -> None:
        self._rate_hz, self._queued, self._bit = rate_hz, queued_samples, bit
        self._sent = self._missing = 0
        self._begun_s = 0.0
        self._delays_s: deque[float] = deque(maxlen=DELAYS)
        self._examined = False
        self._look_at_s = 0.0

    def begins(self, now_s: float) -> int:
        """Told before each push; how many samples the device did without since the last one.

        Parameters
        ----------
        now_s : float
            On the monotonic clock.
        """
        if not self._sent:
            return 0
        missing = max(0, round(-self._waiting(now_s)))
        self._missing += missing
        return self._confirmed(missing, now_s) if self._examined and self._bit.trusted else missing

    def ended(self, count: int, begun_s: float, ended_s: float) -> None:
        """Told after each push.

        Parameters
        ----------
        count : int
            Samples that were pushed.
        begun_s, ended_s : float
            On the monotonic clock.
        """
        if not self._sent:
            self._begun_s = ended_s
        self._sent += count
        delay_s = ended_s - (self._sent + self._missing) / self._rate_hz
        waited = ended_s - begun_s > count / self._rate_hz / 2
        if waited or delay_s < self._least_s():
            self._delays_s.append(delay_s)
        if waited and not self._examined:  # the queue is full: if the bit is set now, it always is
            self._examined = True
            self._bit.examine()

    def _waiting(self, now_s: float) -> float:
        """Samples in the queue."""
        delay_s = now_s - (self._sent + self._missing) / self._rate_hz
        return self._queued - self._rate_hz * (delay_s - self._least_s())

    def _least_s(self) -> float:
        """Of the delays; before there is one, as if the queue had begun to empty with the first block."""
        return min(self._delays_s, default=self._begun_s - self._queued / self._rate_hz)

    def _confirmed(self, missing: int, now_s: float) -> int:
        """What the bit leaves of it."""
        if not missing and now_s < self._look_at_s:
            return 0
        self._look_at_s = now_s + LOOK_S
        return max(1, missing) if self._bit.take() else 0
