"""The sending half of the Pluto radio: whole blocks into the device's queue, and what befell them there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from testbed.errors import PeerLost, RadioError
from testbed.radio.base import RadioEvent
from testbed.radio.pluto_buffers import TX_DEVICE, Layout
from testbed.radio.pluto_device import PlutoDevice
from testbed.radio.pluto_watch import Watch

TX_FULL_SCALE = 1 << 14
CLOSE_S = 0.1  # for a block on its way
WOKEN_S = 2.0  # for a thread whose wait in libiio was cancelled
MAX_EVENTS = 1000  # that nobody asked for


class Sender:
    """Opens the TX buffer, and fills it as `send` is called.

    Parameters
    ----------
    device : PlutoDevice
    channels : int
    shape : Layout
    lead_samples : int
        Of silence before the first sample.
    may_send : callable
        Raises if nothing may be sent any more.
    explained : callable
        Makes an error of libiio into one of ours.
    watch : Watch
        Told of each wait for room.
    """

    def __init__(
        self,
        device: PlutoDevice,
        channels: int,
        shape: Layout,
        lead_samples: int,
        may_send: Callable[[], None],
        explained: Callable[[OSError, str], RadioError | PeerLost],
        watch: Watch,
    ) -> None:
        self._uri = device.uri
        self._channels, self._layout, self._lead = channels, shape, lead_samples
        self._may_send, self._explained, self._watch = may_send, explained, watch
        self._lock = threading.RLock()
        self._buffer = device.open_buffer(TX_DEVICE, channels, shape.block_samples, shape.tx_blocks)
        self._underflows = device.underflows(shape.tx_samples)
        self._held = np.zeros((channels, lead_samples), dtype=np.complex64)
        self._pushed = 0
        self._finished = False
        self._events: list[RadioEvent] = []

    def send(self, x: np.ndarray) -> None:
        """[channel, n] complex64 within full scale; what does not fill a block waits for more, or for `finish`."""
        with self._lock:
            self._may_send()
            if self._finished:
                raise RadioError(f"{self._uri}: send after finish: open the radio anew to send more")
            block = self._layout.block_samples
            x = np.concatenate([self._held, x], axis=1)
            whole = x.shape[1] // block * block
            self._held = x[:, whole:]
            for begin in range(0, whole, block):
                self._push(x[:, begin : begin + block])

    def finish(self) -> None:
        """So many blocks of silence go after the last that it has left; then the device sends zeros by itself."""
        with self._lock:
            if self._finished:
                return
            self._may_send()
            silence = np.zeros((self._channels, self._layout.block_samples), dtype=np.complex64)
            if self._held.shape[1]:
                self._push(np.concatenate([self._held, silence], axis=1)[:, : silence.shape[1]])
            for _ in range(self._layout.tx_blocks + 1):
                self._push(silence)
            self._finished = True
            self._buffer = None  # destroys it

    def events(self) -> tuple[RadioEvent, ...]:
        """What befell the samples since it was asked last."""
        events, self._events = self._events, []
        return tuple(events)

    def is_idle(self) -> bool:
        """Whether nobody waits in the buffer, or soon does not."""
        idle = self._lock.acquire(timeout=CLOSE_S)
        if idle:
            self._lock.release()
        return idle

    def wake(self) -> None:
        """End a wait in the buffer; libiio then complains on standard error."""
        if self._buffer is not None:
            self._buffer.cancel()
            if self._lock.acquire(timeout=WOKEN_S):  # nobody may be in a buffer that is destroyed
                self._lock.release()

    def drop(self) -> None:
        """Destroy the buffer."""
        self._buffer = None

    def _push(self, x: np.ndarray) -> None:
        """One block of [channel, n] within full scale."""
        codes = np.ascontiguousarray(x.T).view(np.float32) * np.float32(TX_FULL_SCALE)
        self._may_send()
        failure = self._write(bytearray(np.rint(codes).astype("<i2").tobytes()))
        if failure is not None:
            raise failure

    def _write(self, block: bytearray) -> RadioError | PeerLost | None:
        """Hand one block to libiio. What failed is returned: raised from here, it would keep the buffer alive."""
        buffer = self._buffer
        if buffer is None:
            return RadioError(f"{self._uri}: closed while waiting")
        try:
            self._note_underflow()
            buffer.write(block)
            begun_s = time.monotonic()
            with self._watch.over(buffer):
                buffer.push()
            if self._underflows is not None:
                self._underflows.ended(self._layout.block_samples, begun_s, time.monotonic())
            self._pushed += self._layout.block_samples
        except OSError as error:
            return self._explained(error, "takes no samples")
        return None

    def _note_underflow(self) -> None:
        missing = self._underflows.begins(time.monotonic()) if self._underflows is not None else 0
        if missing and len(self._events) < MAX_EVENTS:
            first = max(0, self._pushed - self._lead)
            self._events.append(RadioEvent("underflow", first, missing, "silence went out before this sample"))
