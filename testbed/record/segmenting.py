"""Where a stream of samples is cut into SigMF's capture segments. Arrays and events; no file, no clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec
import numpy as np

from testbed.radio.base import RadioEvent

NO_SAMPLES = ("malformed",)  # kinds of event whose count is one of messages


class Piece(msgspec.Struct, frozen=True):
    """Neighbouring samples of a stream, and whether a segment begins with them."""

    position: int
    samples: np.ndarray
    begins: bool


class Segmenter:
    """Cuts blocks at what events name. What was lost and is there as zeros is left out; all else comes out once.

    A segment begins with the first sample, behind each gap, at each sample that an event names, and behind the last of
    those that it counts. Only zeros are ever left out, so the stream can be put together again exactly.
    """

    def __init__(self) -> None:
        self._end: int | None = None  # position behind the last piece
        self._cuts: set[int] = set()  # positions that events named, not passed yet
        self._gaps: list[tuple[int, int]] = []

    def pieces(self, position: int, samples: np.ndarray, events: Sequence[RadioEvent]) -> Iterator[Piece]:
        """The pieces of one block.

        Parameters
        ----------
        position : int
            In the stream, of its first sample; later than that of any sample before.
        samples : [antenna, n] complex64
        events : sequence of RadioEvent
            That ride with it.

        Returns
        -------
        iterator of Piece
        """
        end = position + samples.shape[1]
        for event in events:
            if event.kind not in NO_SAMPLES:
                self._cuts |= {event.sample, event.sample + event.count}
                self._gaps.append((event.sample, event.sample + event.count))
        edges = sorted({position, end, *(cut for cut in self._cuts if position < cut < end)})
        for first, last in pairwise(edges):
            part = samples[:, first - position : last - position]
            if any(a <= first < b for a, b in self._gaps) and not part.any():
                continue
            yield Piece(first, part, first != self._end or first in self._cuts)
            self._end = last
        self._cuts = {cut for cut in self._cuts if cut >= end}
        self._gaps = [(a, b) for a, b in self._gaps if b > end]
