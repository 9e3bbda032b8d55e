"""Where and how many samples a Pluto lost, from what a device can say: a list of gaps, or one bit and the clock."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.radio.pluto_losses import LOOK_S, ClockedLosses, CountedLosses

RATE = 1.92e6
BLOCK = 9600  # 5 ms
QUEUED = 16  # blocks in the device


class Device:
    """Hardware that fills blocks by the wall clock, keeps 16, and loses what comes while all are full."""

    def __init__(self, rng: np.random.Generator, drift: float) -> None:
        self.rate_hz = RATE * (1 + drift)
        self.rng = rng
        self.lost: list[tuple[int, int]] = []  # (samples delivered before, samples lost)
        self.bit = False
        self._delivered = 0
        self._offset = 0  # samples lost so far
        self._now_s = 0.0
        self._read_to = 0  # position on the air behind what was read

    def take(self) -> bool:
        bit, self.bit = self.bit, False
        return bit

    def examine(self) -> None:
        self.take()

    def read(self, idle_s: float) -> tuple[int, int, float, float]:
        """The next block, asked for ``idle_s`` after the one before: (first, count, begun, ended)."""
        self._now_s += idle_s
        taken = int(self._now_s * self.rate_hz)
        behind = taken - (self._read_to // BLOCK + QUEUED + 1) * BLOCK
        if behind > 0 and not self._stalled:
            self._stalled = self._read_to + QUEUED * BLOCK
            self.bit = True
        if self._stalled and self._read_to >= self._stalled:  # what was queued is read: from here on it is fresh
            lost = taken - self._read_to
            self.lost.append((self._delivered, lost))
            self._offset += lost
            self._read_to = taken
            self._stalled = 0
        begun = self._now_s
        ready = (self._read_to + BLOCK) / self.rate_hz
        self._now_s = max(begun + 1e-4, ready) + self.rng.exponential(2e-4)
        first = self._delivered
        self._read_to += BLOCK
        self._delivered += BLOCK
        return first, BLOCK, begun, self._now_s

    _stalled = 0


@pytest.mark.parametrize("drift", [-25e-6, 0.0, 25e-6])
def test_a_clock_counts_what_hardware_lost(drift: float, rng: np.random.Generator):
    """Three stalls within a minute at 25 ppm: each found at its place, its length right to 2 ms; none invented."""
    device = Device(rng, drift)
    losses = ClockedLosses(RATE, device)  # type: ignore[arg-type]
    device.bit = True  # from before
    losses.begin(0)
    found = []
    for i in range(12_000):
        first, count, begun, ended = device.read({3000: 0.4, 6000: 1.7, 9000: 4.0}.get(i, 1e-4))
        if lost := losses.before(first, count, begun, ended):
            found.append((first, lost))
    assert len(found) == len(device.lost) == 3
    for (where, lost), (true_where, true_lost) in zip(found, device.lost, strict=True):
        assert abs(where - true_where) <= BLOCK
        assert abs(lost - true_lost) < 2e-3 * RATE + BLOCK * abs(where != true_where)


def test_a_bit_that_was_set_is_at_least_one_sample():
    """Also where the clock shows nothing: an event is not swallowed."""

    class Bit:
        """Set at the second look."""

        looks = 0

        def take(self) -> bool:
            self.looks += 1
            return self.looks == 2

    losses = ClockedLosses(RATE, Bit())  # type: ignore[arg-type]
    step = BLOCK / RATE
    lost = [losses.before(i * BLOCK, BLOCK, i * step, (i + 1) * step) for i in range(60)]
    assert sum(lost) == 1


def test_gaps_are_counted_once_and_where_they_are():
    """A gap that still grows behind the present block is counted with the next; one that was told is not told again."""
    gaps: list[tuple[int, int]] = []
    losses = CountedLosses(lambda: list(gaps))

    def before(first: int, at_s: float) -> int:
        return losses.before(first, 100, at_s, at_s)

    assert before(0, 1.0) == 0
    gaps.append((100, 30))
    assert before(100, 2.0) == 30
    assert before(200, 3.0) == 0
    gaps.append((400, 7))
    assert before(300, 4.0) == 0  # it lies behind this block
    gaps[-1] = (400, 9)
    assert before(400, 4.0 + LOOK_S / 10) == 9
    gaps.append((500, 5))
    assert before(500, 4.0 + LOOK_S / 5) == 0  # not looked at yet
    assert before(600, 5.0) == 5
    del gaps[0]
    assert before(700, 6.0) == 0


def test_gaps_before_the_first_block_that_is_wanted_are_not_told():
    """Of 300 samples that are passed over; a gap within them is nobody's, one right behind them is."""
    gaps = [(0, 50), (200, 7)]
    losses = CountedLosses(lambda: list(gaps))
    losses.begin(300)
    gaps.append((400, 11))
    assert losses.before(0, 100, 1.0, 1.0) == 0
    assert losses.before(100, 100, 2.0, 2.0) == 11
