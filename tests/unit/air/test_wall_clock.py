"""Samples that are due, by a clock that the test moves."""

import pytest

from testbed.air.wall_clock import SLIP_S, WallClock


def test_samples_fall_due_at_the_rate():
    now = [100.0]
    clock = WallClock(1e6, lambda: now[0])
    assert (clock.running, clock.due(), clock.wait_s(5)) == (False, 0, 0.0)
    clock.start()
    assert clock.due() == 0
    now[0] += 0.25
    assert clock.due() == 250_000
    assert clock.wait_s(300_000) == pytest.approx(0.05)
    assert clock.wait_s(200_000) == 0.0


def test_time_is_moved_only_when_too_far_behind():
    """Half a second is caught up, more is not: what was missed is told, and the next sample is due at once."""
    now = [0.0]
    clock = WallClock(1000.0, lambda: now[0])
    clock.start()
    now[0] = SLIP_S
    assert clock.slip(0) == 0
    now[0] = 2.0
    assert clock.slip(500) == 1500
    assert clock.due() == 500
    assert clock.slip(500) == 0
