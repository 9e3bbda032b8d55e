"""Where a stream is cut for SigMF: only zeros that an event explains are left out, and a segment begins behind them."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.radio.base import RadioEvent
from testbed.record.segmenting import Piece, Segmenter

COUNT = 20_000
GAPS = ((0, 40), (3000, 3001), (7000, 9500), (9500, 9600), (19_990, 20_000))


def stream(rng: np.random.Generator) -> np.ndarray:
    """Two antennas of noise, zeros in the gaps, and a stretch of zeros that nothing explains."""
    samples = rng.standard_normal((2, COUNT, 2), dtype=np.float32).view(np.complex64)[..., 0]
    for first, last in GAPS:
        samples[:, first:last] = 0
    samples[:, 12_000:12_100] = 0
    return samples


def cut(samples: np.ndarray, events: list[RadioEvent], edges: list[int]) -> list[Piece]:
    """What comes out of blocks with these edges; events ride with the block in which they begin."""
    segmenter, pieces = Segmenter(), []
    for first, last in zip([0, *edges], [*edges, COUNT], strict=True):
        riding = [event for event in events if first <= event.sample < last]
        pieces += segmenter.pieces(first, samples[:, first:last], riding)
    return pieces


@pytest.mark.parametrize("blocks", [1, 2, 7, 300])
def test_what_is_cut_out_are_the_gaps_and_nothing_else(rng: np.random.Generator, blocks: int):
    """However the stream comes in blocks: every sample outside of the gaps once and in its place, none of the gaps;
    a segment begins at the first sample, behind each gap, and where the radio was retuned."""
    samples = stream(rng)
    events = [RadioEvent("overflow", first, last - first) for first, last in GAPS] + [RadioEvent("retuned", 15_000, 0)]
    edges = sorted(rng.choice(np.arange(1, COUNT), blocks - 1, replace=False).tolist())
    pieces = cut(samples, events, edges)
    together = np.zeros_like(samples)
    for piece in pieces:
        together[:, piece.position : piece.position + piece.samples.shape[1]] = piece.samples
    assert np.array_equal(together, samples)
    assert sum(piece.samples.shape[1] for piece in pieces) == COUNT - sum(last - first for first, last in GAPS)
    assert [piece.position for piece in pieces if piece.begins] == [40, 3001, 9600, 15_000]


def test_samples_that_are_there_are_kept_whatever_an_event_says(rng: np.random.Generator):
    """An event that counts samples which are not zero: they stay, between two cuts; one that counts messages cuts
    nothing, and neither do zeros without an event."""
    samples = stream(rng)
    samples[:, 7000:9500] += 1
    events = [RadioEvent("late", 7000, 2500), RadioEvent("malformed", 100, 5000)]
    pieces = cut(samples, events, [5000])
    assert np.array_equal(np.concatenate([piece.samples for piece in pieces], axis=1), samples)
    assert [piece.position for piece in pieces if piece.begins] == [0, 7000, 9500]


def test_a_gap_that_goes_on_over_blocks_makes_one_cut(rng: np.random.Generator):
    """Its event rode with the first of them."""
    samples = stream(rng)
    pieces = cut(samples, [RadioEvent("overflow", 7000, 2600)], [7500, 8000, 9000])
    assert [piece.position for piece in pieces if piece.begins] == [0, 9600]
