"""What waits between a client and the air: blocks to transmit, and a request for samples. No sockets, no locks."""

from __future__ import annotations

import errno
import itertools
import math
from collections import deque

import numpy as np

from testbed.air.iiod.context import Device
from testbed.air.iiod.protocol import Refused, Request

BLOCKS = 4  # of a buffer, the kernel's default; SET BUFFERS_COUNT changes it
MAX_BYTES = 64 * 2**20  # of one block
MAX_GAPS = 64  # that are remembered
NUMBERS = itertools.count(1)


class Opened:
    """One opened buffer: its block size and which of the device's columns it carries."""

    def __init__(self, device: Device, request: Request, blocks: int) -> None:
        if not device.scanned:
            raise Refused(errno.ENODEV)
        if request.mask_digits != device.mask_digits:
            raise Refused(errno.EINVAL)
        self.columns = [i for i in range(device.scanned) if request.mask >> i & 1]
        if not self.columns or request.mask >> device.scanned:
            raise Refused(errno.EINVAL)
        self.all_columns = device.scanned
        self.blocks = blocks
        self.block_samples = request.number
        self.frame_bytes = 2 * len(self.columns)
        self.mask, self.mask_digits = request.mask, request.mask_digits
        self.since = 0.0  # when it last did what the air waits for
        if self.block_samples * self.frame_bytes > MAX_BYTES:
            raise Refused(errno.ENOMEM)

    @property
    def block_bytes(self) -> int:
        """Of one block."""
        return self.block_samples * self.frame_bytes


class TxBuffer(Opened):
    """Blocks that wait to leave; a cyclic one leaves over and over."""

    def __init__(self, device: Device, request: Request, blocks: int) -> None:
        super().__init__(device, request, blocks)
        self.cyclic = request.cyclic
        self.samples = 0  # that wait
        self.started_s = math.inf  # when its first block came, on the monotonic clock
        self.moving = False  # a sample has left
        self._queue: deque[np.ndarray] = deque()
        self._begin = 0  # within the first block

    @property
    def has_room(self) -> bool:
        """Whether another block may come."""
        return len(self._queue) < self.blocks

    @property
    def loaded(self) -> bool:
        """Whether anything waits."""
        return bool(self._queue)

    @property
    def starting(self) -> bool:
        """Whether a stream waits whose first sample has not left."""
        return self.loaded and not self.cyclic and not self.moving

    def push(self, data: bytes, now_s: float = 0.0) -> None:
        """Queue the bytes of a block, or of its beginning.

        Raises
        ------
        Refused
            EBUSY for a second block of a cyclic buffer; EINVAL if the bytes are no whole samples or more than a block.
        """
        if self.cyclic and self._queue:
            raise Refused(errno.EBUSY)
        if not data or len(data) % self.frame_bytes or len(data) > self.block_bytes:
            raise Refused(errno.EINVAL)
        codes = np.frombuffer(data, dtype="<i2").reshape(-1, len(self.columns))
        block = np.zeros((len(codes), self.all_columns), dtype=np.int16)
        block[:, self.columns] = codes
        self._queue.append(block)
        self.started_s = min(self.started_s, now_s)
        self.samples += len(block)

    def pop(self, count: int) -> np.ndarray:
        """[count, columns] int16; what is missing at the end is zeros."""
        self.moving = True
        out = np.zeros((count, self.all_columns), dtype=np.int16)
        filled = 0
        while filled < count and self._queue:
            block = self._queue[0]
            part = block[self._begin : self._begin + count - filled]
            out[filled : filled + len(part)] = part
            filled += len(part)
            self._begin += len(part)
            if self._begin == len(block):
                self._begin = 0
                if not self.cyclic:
                    self._queue.popleft()
        if not self.cyclic:
            self.samples -= filled
        return out

    def peek(self, count: int) -> np.ndarray:
        """[count, columns] int16 of what leaves next, repeated where less than that waits. Nothing is taken."""
        kept = deque(self._queue), self._begin, self.samples, self.moving
        try:
            codes = self.pop(count if self.cyclic else min(count, self.samples))
        finally:
            self._queue, self._begin, self.samples, self.moving = kept
        return (
            np.resize(codes, (count, self.all_columns)) if len(codes) else np.zeros((count, self.all_columns), np.int16)
        )


class RxBuffer(Opened):
    """Samples that a client has asked for and not got yet."""

    def __init__(self, device: Device, request: Request, blocks: int) -> None:
        super().__init__(device, request, blocks)
        self.number = next(NUMBERS)
        self.missing = 0
        self.delivered = 0  # samples since it opened
        self.gaps: deque[tuple[int, int]] = deque(maxlen=MAX_GAPS)  # (delivered before it, samples lost)
        self._parts: list[np.ndarray] = []

    def lose(self, count: int) -> None:
        """So many samples passed while nobody asked for them."""
        if self.gaps and self.gaps[-1][0] == self.delivered:
            count += self.gaps.pop()[1]
        self.gaps.append((self.delivered, count))

    def ask(self, count: int) -> None:
        """A READBUF begins."""
        self.missing = count
        self._parts = []

    def push(self, codes: np.ndarray) -> None:
        """[n, all columns] int16, at most as many as are missing."""
        self._parts.append(codes[:, self.columns])
        self.missing -= len(codes)
        self.delivered += len(codes)

    def take(self) -> bytes:
        """What has come, in the client's order of columns."""
        parts, self._parts, self.missing = self._parts, [], 0
        return np.concatenate(parts).astype("<i2", copy=False).tobytes() if parts else b""
