"""Work behind a queue: in order, all of it, its errors told; who gives it waits only when the queue is full."""

from __future__ import annotations

import threading

import pytest

from testbed.background import Behind

PATIENCE_S = 20.0  # for what takes milliseconds


def test_all_is_done_in_order():
    """A thousand items through a queue of three."""
    done: list[int] = []
    behind = Behind(done.append, 3, "test")
    for i in range(1000):
        behind.put(i)
    behind.close()
    assert done == list(range(1000))


def test_who_puts_does_not_wait_for_the_work():
    """The work stands still: as many items are taken as the queue holds, and one more that is being worked on."""
    go, begun, done = threading.Event(), threading.Event(), []

    def work(item: int) -> None:
        begun.set()
        assert go.wait(PATIENCE_S)
        done.append(item)

    behind = Behind(work, 5, "test")
    behind.put(0)
    assert begun.wait(PATIENCE_S)
    for i in range(1, 6):
        behind.put(i)
    assert not done
    assert behind.waits == 0
    threading.Timer(0.05, go.set).start()
    behind.put(6)
    assert behind.waits == 1
    behind.close()
    assert done == list(range(7))


@pytest.mark.parametrize("full", [False, True])
def test_what_the_work_raises_reaches_who_puts(full):
    """At the latest when it closes, and also who waits for room."""
    go = threading.Event()

    def work(item: int) -> None:
        assert go.wait(PATIENCE_S)
        raise ValueError(f"item {item}")

    behind = Behind(work, 2 if full else 100, "test")
    threading.Timer(0.05, go.set).start()
    with pytest.raises(ValueError, match="item 0"):
        for i in range(4):
            behind.put(i)
        behind.close()
    with pytest.raises(ValueError, match="item 0"):
        behind.close()


def test_nothing_put_is_nothing_done():
    """It closes at once."""
    Behind(print, 1, "test").close()
