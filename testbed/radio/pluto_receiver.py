"""The receiving half of the Pluto radio: a thread that reads the device's buffer ahead of whoever asks for samples."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import numpy as np

from testbed.errors import RadioError
from testbed.radio.pluto_device import RX_DEVICE, PlutoDevice

AHEAD_S = 2.0  # read and not yet asked for: what a device on the wall clock would lose while a picture is decoded
KERNEL_BUFFERS = 16  # 80 ms in the device at 1.92 MS/s
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
    block_samples : int
    explained : callable
        Makes an error of libiio into one of ours.
    """

    def __init__(
        self, device: PlutoDevice, channels: int, block_samples: int, explained: Callable[[OSError, str], Exception]
    ) -> None:
        self._device = device
        self._channels = channels
        self._explained = explained
        self._buffer = device.open_buffer(RX_DEVICE, channels, block_samples, KERNEL_BUFFERS)
        ahead = device.sdr.sample_rate * AHEAD_S / block_samples
        self._blocks: queue.Queue[tuple[np.ndarray, bool]] = queue.Queue(max(2, int(ahead)))
        self._held = np.zeros((0, 2 * channels), dtype=np.int16)
        self._failure: Exception | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pluto-rx", daemon=True)
        self._thread.start()

    def take(self, count: int) -> tuple[np.ndarray, list[str]]:
        """[channel, count] complex64 and what the device said of lost samples meanwhile."""
        parts, missing, lost = [], count, []
        while missing:
            if not len(self._held):
                self._held, overflowed = self._next()
                if overflowed:
                    lost.append("the device reports an overflow; how many samples were lost it does not say")
            parts.append(self._held[:missing])
            self._held = self._held[missing:]
            missing -= len(parts[-1])
        codes = np.concatenate(parts) if parts else self._held[:0]
        samples = (codes * np.float32(1 / RX_FULL_SCALE)).view(np.complex64)
        return np.ascontiguousarray(samples.T), lost

    def close(self) -> None:
        """End the thread and destroy the buffer."""
        self._closing.set()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():  # it waits in the device
            self._buffer.cancel()
            self._thread.join(WOKEN_S)
        self._buffer = None

    def _next(self) -> tuple[np.ndarray, bool]:
        """The next block; a read that fails has its own time-out."""
        while True:
            try:
                return self._blocks.get(timeout=LOOK_S)
            except queue.Empty:
                if self._closing.is_set():
                    raise RadioError(f"{self._device.uri}: closed while receiving") from None
                if self._failure is not None:
                    raise self._failure from None

    def _run(self) -> None:
        look_at = 0.0
        buffer = self._buffer
        try:
            while not self._closing.is_set():
                buffer.refill()
                codes = np.frombuffer(buffer.read(), dtype="<i2").reshape(-1, 2 * self._channels)
                overflowed = False
                if time.monotonic() >= look_at:  # two round trips
                    look_at = time.monotonic() + LOOK_S
                    overflowed = self._device.overflowed()
                self._put(codes, overflowed)
        except OSError as error:
            self._failure = self._explained(error, "sends no samples")

    def _put(self, codes: np.ndarray, overflowed: bool) -> None:
        """Queue a block; when the queue is full the device waits, and says so by an overflow."""
        while not self._closing.is_set():
            try:
                self._blocks.put((codes, overflowed), timeout=LOOK_S)
                return
            except queue.Full:
                continue
