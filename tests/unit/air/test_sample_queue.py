"""The queue against a plain list in which a lost sample is None."""

from __future__ import annotations

import numpy as np

from testbed.air.sample_queue import SampleQueue


def test_whatever_the_pieces_samples_and_gaps_come_out_in_order(rng):
    """2000 random pushes, losses and pops: each run lies between gaps, and each gap is told before what follows it."""
    queue, model, out = SampleQueue(), [], []
    number = 0
    for _ in range(2000):
        kind = rng.integers(4)
        count = int(rng.integers(0, 9))
        if kind == 0:
            queue.push(np.arange(number, number + count).astype(np.complex64))
            model += range(number, number + count)
            number += count
        elif kind == 1:
            queue.lose(count)
            model += [None] * count
        else:
            lost, run = queue.pop_run(count)
            if kind == 3 and (lost or len(run)):
                queue.put_back(lost, run)
                again = queue.pop_run(count)
                assert again[0] == lost
                assert np.array_equal(again[1], run)
            assert len(run) <= count
            out += [None] * lost + [int(x.real) for x in run]
        assert queue.held == sum(x is not None for x in model) - sum(x is not None for x in out)
    while queue.held or queue.lost:
        lost, run = queue.pop_run(5)
        out += [None] * lost + [int(x.real) for x in run]
    assert out == model


def test_pop_gives_exactly_so_many():
    queue = SampleQueue()
    for first in (0, 3, 4):
        queue.push(np.arange(first, first + (3, 1, 6)[(0, 3, 4).index(first)]).astype(np.complex64))
    assert np.array_equal(queue.pop(5), np.arange(5))
    assert np.array_equal(queue.pop(5), np.arange(5, 10))
    assert len(queue.pop(0)) == queue.held == 0


def test_what_is_cleared_is_forgotten():
    queue = SampleQueue()
    queue.push(np.ones(3, np.complex64))
    queue.lose(4)
    queue.clear()
    assert queue.pop_run(9)[0] == 0
    assert queue.held == queue.lost == 0
