"""The sample stream against one long array."""

from __future__ import annotations

import numpy as np

from testbed.phy.stream import SampleStream


def test_a_stream_holds_what_was_appended_and_not_dropped(rng):
    """400 random appends, views and drops over 2e6 samples: views equal the long array; memory stays bounded."""
    whole = rng.standard_normal((2, 2_000_000)).astype(np.complex64)
    stream, first, end = SampleStream(2), 0, 0
    for _ in range(400):
        count = int(rng.integers(0, 10_000))
        stream.append(whole[:, end : end + count])
        end = min(end + count, whole.shape[1])
        assert stream.end == end
        begin = int(rng.integers(first, end + 1))
        wanted = int(rng.integers(0, end - begin + 1))
        assert np.array_equal(stream.view(begin, wanted), whole[:, begin : begin + wanted])
        first = max(first, end - int(rng.integers(0, 40_000)))
        stream.drop_before(first)
    assert stream._held.shape[1] < 300_000


def test_dropping_past_the_end_keeps_count():
    """Positions go on behind the end, as after a frame that was longer than what had arrived."""
    stream = SampleStream(1)
    stream.append(np.arange(10, dtype=np.complex64)[None])
    stream.drop_before(50)
    assert stream.end == 10
    stream.append(np.arange(10, 20, dtype=np.complex64)[None])
    assert stream.view(12, 3).real.tolist() == [[12, 13, 14]]
