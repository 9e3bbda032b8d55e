"""A stream of samples that is addressed by position, whatever the chunks in which it came."""

from __future__ import annotations

import numpy as np


class SampleStream:
    """Samples of all antennas from some position on; what lies before it has been dropped.

    Memory grows with what is held, not with what has passed.
    """

    def __init__(self, antennas: int) -> None:
        self._held = np.empty((antennas, 1 << 16), dtype=np.complex64)
        self._first = 0  # stream position of the column `_offset`
        self._offset = 0
        self._count = 0

    @property
    def end(self) -> int:
        """Position behind the last sample."""
        return self._first + self._count

    def append(self, samples: np.ndarray) -> None:
        """Add [antenna, n] complex64 behind the end."""
        added = samples.shape[1]
        if self._offset + self._count + added > self._held.shape[1]:
            kept = self._held[:, self._offset : self._offset + self._count]
            if 2 * (self._count + added) > self._held.shape[1]:
                grown = np.empty((len(self._held), 4 * (self._count + added)), dtype=np.complex64)
                grown[:, : self._count] = kept
                self._held = grown
            else:
                self._held[:, : self._count] = kept.copy()
            self._offset = 0
        begin = self._offset + self._count
        self._held[:, begin : begin + added] = samples
        self._count += added

    def view(self, first: int, count: int) -> np.ndarray:
        """Samples from a position on; the caller has looked at `end`.

        Parameters
        ----------
        first, count : int

        Returns
        -------
        [antenna, count] complex64
            Valid until the next `append`.
        """
        begin = self._offset + first - self._first
        return self._held[:, begin : begin + count]

    def drop_before(self, position: int) -> None:
        """Forget what lies before ``position``; it may lie behind the end."""
        gone = min(max(position - self._first, 0), self._count)
        self._first += gone
        self._offset += gone
        self._count -= gone
