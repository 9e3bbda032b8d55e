"""Connections and open buffers of virtual Plutos, the same whatever paces their samples. No sample moves here."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from testbed.air.iiod.buffers import TxBuffer
from testbed.air.iiod.device import TX, VirtualPluto
from testbed.air.iiod.protocol import Refused, Request

LOOK_S = 0.05  # how often one who waits looks whether patience is over or the client is gone
BUSY_TRIES_S = 0.05  # an OPEN may overtake the CLOSE before it: ops.c


T = TypeVar("T")


class Passage(Protocol):
    """What a connection wants of the air, whatever paces it."""

    def join(self, pluto: VirtualPluto) -> None:
        """A client connects; it may open a buffer, or not."""
        ...

    def leave(self, pluto: VirtualPluto) -> None:
        """A client is gone."""
        ...

    def open(self, pluto: VirtualPluto, side: str, request: Request) -> Any:
        """Open a buffer."""
        ...

    def close(self, pluto: VirtualPluto, buffer: Any) -> None:
        """Close a buffer; twice does nothing."""
        ...

    def push(self, pluto: VirtualPluto, buffer: TxBuffer, data: bytes | bytearray, gone: Callable[[], bool]) -> None:
        """Queue a block, once there is room."""
        ...

    def pull(self, pluto: VirtualPluto, buffer: Any, count: int, gone: Callable[[], bool]) -> memoryview:
        """The bytes of ``count`` samples of the buffer's columns."""
        ...

    def retire(self, pluto: VirtualPluto) -> None:
        """Nobody will connect to it any more."""
        ...


class Opening:
    """Who is connected and what is open; all methods may be called from any thread.

    Parameters
    ----------
    plutos : sequence of VirtualPluto
    pace : str
        What the devices' contexts say of it.
    receiving : type
        Of a receiver's buffers.
    """

    def __init__(self, plutos: Sequence[VirtualPluto], pace: str, receiving: Callable[..., Any]) -> None:
        self.plutos = list(plutos)
        self._receiving = receiving
        self._changed = threading.Condition()
        for pluto in self.plutos:
            pluto.pace = pace

    def between_steps(self, act: Callable[[], T]) -> T:
        """Do something while no samples move, and hand on what it gives."""
        with self._changed:
            return act()

    def join(self, pluto: VirtualPluto) -> None:
        """A client connects; it may open a buffer, or not."""
        with self._changed:
            pluto.clients += 1

    def leave(self, pluto: VirtualPluto) -> None:
        """A client is gone."""
        with self._changed:
            pluto.clients -= 1
            self._changed.notify_all()

    def open(self, pluto: VirtualPluto, side: str, request: Request) -> Any:
        """Open a buffer. Several clients share a side of a device; EBUSY if one of them would be cyclic, for longer
        than a moment."""
        with self._changed:
            if side == TX:
                buffer = TxBuffer(pluto.core(side), request, pluto.blocks[side])
                deadline = time.monotonic() + BUSY_TRIES_S
                while pluto.tx_buffers and (buffer.cyclic or any(other.cyclic for other in pluto.tx_buffers)):
                    if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                        raise Refused(errno.EBUSY)
                pluto.tx_buffers.append(buffer)
            else:
                buffer = self._receiving(pluto.core(side), request, pluto.blocks[side])
                pluto.rx_buffers.append(buffer)
            buffer.since = time.monotonic()
            self._touched(buffer.since)
            self._changed.notify_all()
        return buffer

    def close(self, pluto: VirtualPluto, buffer: Any) -> None:
        """Close a buffer: what still waits in it is lost, as on the device. Closing twice does nothing."""
        with self._changed:
            for buffers in (pluto.tx_buffers, pluto.rx_buffers):
                if buffer in buffers:
                    buffers.remove(buffer)
            self._touched(time.monotonic())
            self._changed.notify_all()

    def retire(self, pluto: VirtualPluto) -> None:
        """Nobody will connect to it any more."""

    def _touched(self, now_s: float) -> None:
        """A client did something at this moment."""

    def _wait(
        self,
        pluto: VirtualPluto,
        buffer: Any,
        done: Callable[[], bool],
        gone: Callable[[], bool],
        advance: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wait until it is done, letting time move by ``advance`` where it does.

        Raises
        ------
        Refused
            EBADF if the buffer is closed meanwhile; EPIPE if the client is gone; ETIMEDOUT if it took too long.
        """
        began = time.monotonic()
        while not done():
            if buffer not in pluto.tx_buffers and buffer not in pluto.rx_buffers:
                raise Refused(errno.EBADF)
            if advance():
                self._changed.notify_all()
                continue
            if gone():
                raise Refused(errno.EPIPE)
            if time.monotonic() > max(began, buffer.since) + pluto.timeout_s:
                raise Refused(errno.ETIMEDOUT)
            self._changed.wait(LOOK_S)
