"""The receiving half of the Pluto radio: a thread that reads the device's buffer ahead of whoever asks for samples."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import numpy as np

from testbed.errors import RadioError
from testbed.radio.pluto_buffers import RX_DEVICE, Layout
from testbed.radio.pluto_device import PlutoDevice
from testbed.radio.pluto_watch import Watch

AHEAD_S = 2.0  # read and not yet asked for: what a device on the wall clock would lose while a picture is decoded
RX_FULL_SCALE = 1 << 11
LOOK_S = 0.1
CLOSE_S = 0.2
WOKEN_S = 2.0  # for the thread, once its wait in libiio was cancelled


class Receiver:
    """Opens the RX buffer and reads it until `close`.

    Parameters
    ----------
    device : PlutoDevice
    channels : int
    shape : Layout
        Its stale blocks are passed over: they may have been taken before the device was tuned.
    explained : callable
        Makes an error of libiio into one of ours.
    watch : Watch
        Told of each wait for a block.
    """

    def __init__(
        self,
        device: PlutoDevice,
        channels: int,
        shape: Layout,
        explained: Callable[[OSError, str], Exception],
        watch: Watch,
    ) -> None:
        self._device = device
        self._channels = channels
        self._explained = explained
        self._watch = watch
        self._stale_blocks = shape.stale_blocks
        self._buffer = device.open_buffer(RX_DEVICE, channels, shape.block_samples, shape.rx_blocks)
        self._losses = device.losses()
        ahead = device.sdr.sample_rate * AHEAD_S / shape.block_samples
        self._blocks: queue.Queue[tuple[int, np.ndarray]] = queue.Queue(max(2, int(ahead)))
        self._gap = 0  # samples that were lost before what is held, and are not handed out yet
        self._held = np.zeros((0, 2 * channels), dtype=np.int16)
        self._failure: Exception | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pluto-rx", daemon=True)
        self._thread.start()

    @property
    def detail(self) -> str:
        """How well the number of lost samples is known."""
        return self._losses.detail

    def take(self, count: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """[channel, count] complex64, zeros for lost ones, and each loss that begins here: (where, how many)."""
        out = np.zeros((count, 2 * self._channels), dtype=np.int16)
        filled, lost = 0, []
        while filled < count:
            if not self._gap and not len(self._held):
                self._gap, self._held = self._next()
                if self._gap:
                    lost.append((filled, self._gap))
            passed = min(self._gap, count - filled)
            self._gap -= passed
            filled += passed
            part = self._held[: count - filled] if not self._gap else self._held[:0]
            out[filled : filled + len(part)] = part
            self._held = self._held[len(part) :]
            filled += len(part)
        samples = (out * np.float32(1 / RX_FULL_SCALE)).view(np.complex64)
        return np.ascontiguousarray(samples.T), lost

    def close(self, gone: bool = False) -> None:
        """End the thread and destroy the buffer, without a word to a device that is ``gone``."""
        self._closing.set()
        self._thread.join(0 if gone else CLOSE_S)
        if gone or self._thread.is_alive():  # it waits in the device
            self._buffer.cancel()
            self._thread.join(WOKEN_S)
        self._buffer = None

    def _next(self) -> tuple[int, np.ndarray]:
        """Samples lost before the next block, and the block; a read that fails has its own time-out."""
        while True:
            try:
                return self._blocks.get(timeout=LOOK_S)
            except queue.Empty:
                if self._closing.is_set():
                    raise RadioError(f"{self._device.uri}: closed while receiving") from None
                if self._failure is not None:
                    raise self._failure from None

    def _run(self) -> None:
        buffer, received = self._buffer, 0
        try:
            for _ in range(self._stale_blocks):
                if not self._closing.is_set():
                    with self._watch.over(buffer):
                        buffer.refill()
                    received += len(buffer) // (4 * self._channels)
            self._losses.begin(received)
            received = 0
            while not self._closing.is_set():
                begun_s = time.monotonic()
                with self._watch.over(buffer):
                    buffer.refill()
                codes = np.frombuffer(buffer.read(), dtype="<i2").reshape(-1, 2 * self._channels)
                lost = self._losses.before(received, len(codes), begun_s, time.monotonic())
                received += len(codes)
                self._put(lost, codes)
        except OSError as error:
            self._failure = self._explained(error, "sends no samples")

    def _put(self, lost: int, codes: np.ndarray) -> None:
        """Queue a block; while the queue is full the device is not read, and loses samples."""
        while not self._closing.is_set():
            try:
                self._blocks.put((lost, codes), timeout=LOOK_S)
                return
            except queue.Full:
                continue
