"""Work ahead of who takes it: how far, in which order, and what becomes of its errors."""

from __future__ import annotations

import threading
import time

import pytest

from edge.ahead import Ahead


def wait_until(condition) -> None:
    """Wait for what must come; the limit only ends a broken test."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "what must come did not come"
        time.sleep(0.005)


def test_it_runs_ahead_so_far_and_no_further():
    """Limit 3: three items wait, a fourth is in its hands; each that is taken lets it make one more."""
    made: list[int] = []

    def items():
        for number in range(10):
            made.append(number)
            yield number

    ahead = Ahead(items(), 3, "test")
    wait_until(ahead.filled)
    wait_until(lambda: len(made) == 4)
    time.sleep(0.05)
    assert len(made) == 4
    taking = iter(ahead)
    assert next(taking) == 0
    wait_until(lambda: len(made) == 5)
    assert list(taking) == list(range(1, 10))


def test_less_than_the_limit_is_filled_when_it_ends():
    ahead = Ahead(iter([1, 2]), 100, "test")
    wait_until(ahead.filled)
    assert list(ahead) == [1, 2]
    assert ahead.waits == 0


def test_an_error_comes_behind_what_was_made_before_it():
    def items():
        yield 1
        raise ValueError("no more")

    taking = iter(Ahead(items(), 5, "test"))
    assert next(taking) == 1
    with pytest.raises(ValueError, match="no more"):
        next(taking)


def test_an_error_is_seen_by_who_waits_for_it_to_be_filled():
    def items():
        raise ValueError("none at all")
        yield

    ahead = Ahead(items(), 5, "test")
    with pytest.raises(ValueError, match="none at all"):
        wait_until(ahead.filled)


def test_close_releases_who_waits_on_either_side():
    """A taker that finds nothing, and a maker whose queue is full."""
    gate = threading.Event()

    def slow():
        gate.wait(20)
        yield 1

    empty = Ahead(slow(), 1, "test")
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.extend(empty), daemon=True)
    thread.start()
    wait_until(lambda: empty.waits == 1)
    empty.close()
    gate.set()
    thread.join(20)
    assert not thread.is_alive()
    assert got == []
    full = Ahead(iter(range(100)), 2, "test")
    wait_until(full.filled)
    full.close()
    wait_until(lambda: full._ended)
