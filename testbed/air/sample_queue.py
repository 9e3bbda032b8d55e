"""A queue of samples between port and medium: pushed in pieces, popped in others, with gaps where some are lost."""

from __future__ import annotations

from collections import deque

import numpy as np

NOTHING = np.zeros(0, dtype=np.complex64)


class SampleQueue:
    """Samples in order. ``held`` counts them; lost ones are counted where they are missing, and not held."""

    def __init__(self) -> None:
        self.held = 0
        self._pieces: deque[tuple[int, np.ndarray]] = deque()  # how many are lost before each piece, and the piece
        self._lost = 0  # behind the last piece

    def push(self, samples: np.ndarray) -> None:
        """Add [n] complex64 behind the end."""
        if len(samples):
            self._pieces.append((self._lost, samples))
            self._lost = 0
            self.held += len(samples)

    def lose(self, count: int) -> None:
        """So many that would stand here are lost."""
        self._lost += count

    def pop(self, count: int) -> np.ndarray:
        """Exactly ``count`` of those held, whatever is lost between them."""
        taken = []
        while count:
            _, samples = self.pop_run(count)
            taken.append(samples)
            count -= len(samples)
        return taken[0] if len(taken) == 1 else np.concatenate(taken or [NOTHING])

    def pop_run(self, count: int) -> tuple[int, np.ndarray]:
        """How many are lost before the next samples, and at most ``count`` of these, without a gap between them."""
        if not count:
            return 0, NOTHING
        if not self._pieces:
            lost, self._lost = self._lost, 0
            return lost, NOTHING
        lost = self._pieces[0][0]
        taken: list[np.ndarray] = []
        while count and self._pieces and (not taken or not self._pieces[0][0]):
            _, piece = self._pieces.popleft()
            if len(piece) > count:
                self._pieces.appendleft((0, piece[count:]))
                piece = piece[:count]
            taken.append(piece)
            count -= len(piece)
            self.held -= len(piece)
        return lost, taken[0] if len(taken) == 1 else np.concatenate(taken or [NOTHING])

    def put_back(self, lost: int, samples: np.ndarray) -> None:
        """Undo a `pop_run`."""
        if len(samples):
            self._pieces.appendleft((lost, samples))
            self.held += len(samples)
        else:
            self._lost += lost

    @property
    def lost(self) -> int:
        """How many are lost behind all that is held."""
        return self._lost

    def clear(self) -> None:
        """Forget all."""
        self._pieces.clear()
        self.held = self._lost = 0
