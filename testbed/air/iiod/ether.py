"""What lies between virtual Plutos: samples move in lock step from those that transmit to those that receive.

Time is counted in samples and stands still until everybody who takes part has done their share: every receiver with
an open buffer asks (READBUF), every transmitter with an open buffer has delivered (WRITEBUF). A transmitter without an
open buffer contributes its tone generators, which are silent unless a client sets them. So what arrives depends on no
machine's speed; sample 0 is the first that a receiver asks for, and whoever opened a TX buffer before that is heard
from their own sample 0 on. Whoever has a buffer open and does nothing for ``patience_s`` is passed over: the receiver
loses samples (overflow), the transmitter sends zeros (underflow), and when nobody listens at all, what is sent goes
unheard.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from testbed.air.iiod.buffers import RxBuffer, TxBuffer
from testbed.air.iiod.device import ADC_OVERFLOW, DAC_UNDERFLOW, RX, TX, VirtualPluto
from testbed.air.iiod.frontend import received, transmitted
from testbed.air.iiod.protocol import Refused, Request

MAX_STEP = 16_384  # samples at a time; what arrives does not depend on it
LOOK_S = 0.05  # how often one who waits looks whether patience is over or the client is gone
BUSY_TRIES_S = 0.05  # an OPEN may overtake the CLOSE before it: ops.c


class Mixer(Protocol):
    """What `testbed.air.medium.Medium` does."""

    def mix(self, transmitted: Mapping[int, np.ndarray], first_sample: int) -> np.ndarray: ...


class Hearing:
    """Whom one Pluto hears: users, each a Pluto's TX channel, through a mixer made for the sample rate in force."""

    def __init__(
        self,
        receiver: VirtualPluto,
        users: Mapping[int, tuple[VirtualPluto, int]],
        make: Callable[[float], Mixer],
    ) -> None:
        self.receiver = receiver
        self.users = dict(users)
        self._make = make
        self._rate_hz = 0.0
        self._mixer: Mixer | None = None

    def receive(self, sent: Mapping[VirtualPluto, np.ndarray | None], first_sample: int, count: int) -> np.ndarray:
        """[count, columns] int16 for the receiver's buffer."""
        rate_hz = self.receiver.rate_hz(RX)
        if self._mixer is None or self._rate_hz != rate_hz:
            self._mixer, self._rate_hz = self._make(rate_hz), rate_hz
        waves = {
            user: transmitted(pluto, channel, sent.get(pluto), self.receiver, first_sample, count)
            for user, (pluto, channel) in self.users.items()
        }
        return received(self.receiver, self._mixer.mix(waves, first_sample))


class Ether:
    """Several virtual Plutos and what they hear of each other; all methods may be called from any thread.

    Parameters
    ----------
    plutos : sequence of VirtualPluto
    hearings : sequence of Hearing
        A Pluto that has none receives zeros. A Pluto in digital loopback is an island with a time of its own.
    patience_s : float
        How long time stands still for whoever has a buffer open and does nothing; infinite for a run that must be
        the same each time.
    """

    def __init__(self, plutos: Sequence[VirtualPluto], hearings: Sequence[Hearing], patience_s: float) -> None:
        self.plutos = list(plutos)
        self.position = 0
        self.patience_s = patience_s
        self._hearings = {hearing.receiver: hearing for hearing in hearings}
        self._islands = dict.fromkeys(self.plutos, 0)
        self._changed = threading.Condition()
        self._quiet_since = time.monotonic()
        for pluto in self.plutos:
            pluto.rx_overdue = partial(self._idle, pluto)

    def open(self, pluto: VirtualPluto, side: str, request: Request) -> TxBuffer | RxBuffer:
        """Open a buffer; EBUSY if another client has it for longer than a moment."""
        kind = TxBuffer if side == TX else RxBuffer
        buffer = kind(pluto.core(side), request, pluto.blocks[side])
        deadline = time.monotonic() + BUSY_TRIES_S
        with self._changed:
            while (pluto.tx if side == TX else pluto.rx) is not None:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise Refused(errno.EBUSY)
            buffer.since = self._quiet_since = time.monotonic()
            if isinstance(buffer, TxBuffer):
                pluto.tx = buffer
            else:
                pluto.rx = buffer
            self._changed.notify_all()
        return buffer

    def close(self, pluto: VirtualPluto, buffer: TxBuffer | RxBuffer) -> None:
        """Close a buffer: what still waits in it is lost, as on the device. Closing twice does nothing."""
        with self._changed:
            if pluto.tx is buffer:
                pluto.tx = None
            if pluto.rx is buffer:
                pluto.rx = None
            self._quiet_since = time.monotonic()
            self._changed.notify_all()

    def push(self, pluto: VirtualPluto, buffer: TxBuffer, data: bytes, gone: Callable[[], bool]) -> None:
        """Queue a block, once there is room.

        Raises
        ------
        Refused
            ETIMEDOUT if time did not move; EPIPE if the client went away; as `TxBuffer.push` has it.
        """
        with self._changed:
            if buffer.started and not buffer.cyclic and self._overdue(buffer):
                pluto.status[TX] |= DAC_UNDERFLOW
            if not buffer.cyclic:
                self._wait(pluto, buffer, lambda: buffer.has_room, gone)
            buffer.push(data)
            buffer.since = time.monotonic()
            self._changed.notify_all()

    def pull(self, pluto: VirtualPluto, buffer: RxBuffer, count: int, gone: Callable[[], bool]) -> bytes:
        """``count`` samples of the buffer's columns; raises as `push` does."""
        with self._changed:
            buffer.ask(count)
            self._quiet_since = time.monotonic()
            try:
                self._wait(pluto, buffer, lambda: not buffer.missing, gone)
                return buffer.take()
            finally:
                buffer.missing = 0
                buffer.since = self._quiet_since = time.monotonic()

    def _wait(
        self, pluto: VirtualPluto, buffer: TxBuffer | RxBuffer, done: Callable[[], bool], gone: Callable[[], bool]
    ) -> None:
        """Let time move until it is done. Whoever waits does the work of the air."""
        began = time.monotonic()
        while not done():
            if buffer is not pluto.tx and buffer is not pluto.rx:
                raise Refused(errno.EBADF)
            if self._advance():
                self._changed.notify_all()
                continue
            if gone():
                raise Refused(errno.EPIPE)
            if time.monotonic() > max(began, buffer.since) + pluto.timeout_s:
                raise Refused(errno.ETIMEDOUT)
            self._changed.wait(LOOK_S)

    def _advance(self) -> bool:
        """Let time move by one step where it can."""
        looped = [pluto for pluto in self.plutos if pluto.loopback == 1]
        moved = self._step([pluto for pluto in self.plutos if pluto.loopback != 1], None)
        for pluto in looped:
            moved |= self._step([pluto], pluto)
        return moved

    def _idle(self, pluto: VirtualPluto) -> bool:
        return pluto.rx is not None and not pluto.rx.missing and self._overdue(pluto.rx)

    def _overdue(self, buffer: TxBuffer | RxBuffer) -> bool:
        return time.monotonic() - buffer.since > self.patience_s

    def _step(self, members: list[VirtualPluto], loop: VirtualPluto | None) -> bool:
        """One step of those who share a time; False if somebody is to be waited for."""
        count = self._span(members)
        if not count:
            return False
        first = self.position if loop is None else self._islands[loop]
        sent = {pluto: self._take(pluto, first, count) for pluto in members}
        for pluto in members:
            if pluto.rx is None:
                continue
            if not pluto.rx.missing:
                pluto.status[RX] |= ADC_OVERFLOW
                continue
            pluto.rx.push(self._receive(pluto, sent, first, count, loop is not None))
            pluto.rx.since = time.monotonic()
        if loop is None:
            self.position += count
        else:
            self._islands[loop] += count
        return True

    def _span(self, members: list[VirtualPluto]) -> int:
        """How many samples can pass now."""
        receivers = [pluto.rx for pluto in members if pluto.rx is not None]
        senders = [pluto.tx for pluto in members if pluto.tx is not None]
        asking = [rx for rx in receivers if rx.missing]
        if any(not rx.missing and not self._overdue(rx) for rx in receivers):
            return 0
        if not asking:
            unheard = time.monotonic() - self._quiet_since > self.patience_s
            if not unheard or not any(tx.loaded and not tx.cyclic for tx in senders):
                return 0
        count = min([MAX_STEP, *(rx.missing for rx in asking)])
        for tx in senders:
            if tx.loaded and not tx.cyclic:
                count = min(count, tx.samples)
            elif not tx.loaded and not self._overdue(tx):
                return 0
        return count

    def _take(self, pluto: VirtualPluto, first: int, count: int) -> np.ndarray | None:
        """[count, columns] int16 of what one Pluto's DAC gets; None is silence."""
        if pluto.tx is None:
            return pluto.dds.codes(first, count)
        if not pluto.tx.loaded:
            pluto.status[TX] |= DAC_UNDERFLOW
            return None
        codes = pluto.tx.pop(count)
        if pluto.tx.loaded or not self._overdue(pluto.tx):
            pluto.tx.since = time.monotonic()
        return codes

    def _receive(
        self, pluto: VirtualPluto, sent: Mapping[VirtualPluto, np.ndarray | None], first: int, count: int, looped: bool
    ) -> np.ndarray:
        """[count, columns] int16 for one Pluto's buffer."""
        own = sent.get(pluto)
        hearing = self._hearings.get(pluto)
        if looped and own is not None:
            return own >> 4  # the DAC's 12 bits stand at the top of 16, the ADC's at the bottom
        if looped or hearing is None:
            return np.zeros((count, 2 * pluto.channels), dtype=np.int16)
        return hearing.receive(sent, first, count)
