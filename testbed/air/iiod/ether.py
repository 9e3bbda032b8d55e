"""What lies between virtual Plutos: samples move in lock step from those that transmit to those that receive.

Time is counted in samples and stands still until everybody who takes part has done their share: every receiver with
an open buffer asks (READBUF), every transmitter with an open buffer has delivered (WRITEBUF). A transmitter without an
open buffer contributes its tone generators, which are silent unless a client sets them. So what arrives depends on no
machine's speed; sample 0 is the first that a receiver asks for, and whoever opened a TX buffer before that is heard
from their own sample 0 on. A stream that begins waits for a while for clients that are connected and have no buffer
open, and for transmitters that have not begun, so that one who listens already changes nothing for who is about to.
Whoever has a buffer open and does nothing for ``patience_s`` is passed over: the receiver loses samples (overflow), the
transmitter sends zeros (underflow), and when nobody listens at all, what is sent goes unheard.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from testbed.air.iiod.buffers import RxBuffer, TxBuffer, joined
from testbed.air.iiod.device import ADC_OVERFLOW, DAC_UNDERFLOW, RX, TX, VirtualPluto
from testbed.air.iiod.hearing import PROBE_SAMPLES, Hearing
from testbed.air.iiod.opening import Opening

MAX_STEP = 16_384  # samples at a time; what arrives does not depend on it
HOLD_S = (
    1.5  # for a stream to begin, below the 2.5 s that a client waits for an answer; with less patience, four times that
)
HOLD_OF_PATIENCE = 4
RECENT_S = 0.1  # a level that was measured so long ago stands


class Ether(Opening):
    """Several virtual Plutos and what they hear of each other; all methods may be called from any thread.

    Parameters
    ----------
    plutos : sequence of VirtualPluto
    hearings : sequence of Hearing
        A Pluto that has none receives zeros, at once: time does not wait for it. A Pluto in digital loopback is an
        island with a time of its own.
    patience_s : float
        How long time stands still for whoever has a buffer open and does nothing; infinite for a run that must be
        the same each time.
    """

    def __init__(self, plutos: Sequence[VirtualPluto], hearings: Sequence[Hearing], patience_s: float) -> None:
        super().__init__(plutos, "lock-step" if math.isinf(patience_s) else "patient", RxBuffer)
        self.position = 0
        self.patience_s = patience_s
        self.hold_s = min(HOLD_S, HOLD_OF_PATIENCE * patience_s)
        self._hearings = {hearing.receiver: hearing for hearing in hearings}
        self._islands = dict.fromkeys(self.plutos, 0)
        self._quiet_since = time.monotonic()
        self._moved_s = -math.inf
        for pluto in self.plutos:
            pluto.rx_overdue = partial(self._idle, pluto)
            pluto.phy.measure = partial(self._measure, pluto)

    def push(self, pluto: VirtualPluto, buffer: TxBuffer, data: bytes | bytearray, gone: Callable[[], bool]) -> None:
        """Queue a block, once there is room.

        Raises
        ------
        Refused
            ETIMEDOUT if time did not move; EPIPE if the client went away; as `TxBuffer.push` has it.
        """
        with self._changed:
            if buffer.started_s < math.inf and not buffer.cyclic and self._overdue(buffer):
                pluto.status[TX] |= DAC_UNDERFLOW
            if not buffer.cyclic:
                self._wait(pluto, buffer, lambda: buffer.has_room, gone, self._advance)
            buffer.since = time.monotonic()
            buffer.push(data, buffer.since)
            self._changed.notify_all()

    def pull(self, pluto: VirtualPluto, buffer: RxBuffer, count: int, gone: Callable[[], bool]) -> memoryview:
        """``count`` samples of the buffer's columns; raises as `push` does."""
        with self._changed:
            buffer.ask(count)
            self._quiet_since = time.monotonic()
            try:
                self._wait(pluto, buffer, lambda: not buffer.missing, gone, self._advance)
                return buffer.take()
            finally:
                buffer.missing = 0
                buffer.since = self._quiet_since = time.monotonic()

    def _touched(self, now_s: float) -> None:
        self._quiet_since = now_s

    def _advance(self) -> bool:
        """Let time move by one step where it can."""
        moved = self._step([pluto for pluto in self.plutos if pluto.loopback != 1], None)
        for pluto in self.plutos:
            if pluto.loopback == 1:
                moved |= self._step([pluto], pluto)
            elif pluto not in self._hearings:
                moved |= _serve_deaf(pluto)
        return moved

    def _idle(self, pluto: VirtualPluto) -> bool:
        return any(not rx.missing and self._overdue(rx) for rx in pluto.rx_buffers)

    def _measure(self, pluto: VirtualPluto) -> None:
        """What a Pluto's receiver hears at this moment, whether anybody takes its samples or not."""
        with self._changed:
            hearing = self._hearings.get(pluto)
            if hearing is None or pluto.loopback == 1:
                return
            if pluto.rx_buffers and time.monotonic() - self._moved_s < RECENT_S:
                return  # as it was measured of the samples that passed
            sent = {other: self._peek(other) for other in self.plutos if other.loopback != 1}
            hearing.measure(sent, self.position, PROBE_SAMPLES)

    def _peek(self, pluto: VirtualPluto) -> np.ndarray | None:
        """[PROBE_SAMPLES, columns] int16 of what a Pluto's DAC gets next; None is silence."""
        if not pluto.tx_buffers:
            return pluto.dds.codes(self.position, PROBE_SAMPLES)
        return joined([(tx, tx.peek(PROBE_SAMPLES)) for tx in pluto.tx_buffers if tx.loaded])

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
            asking = [rx for rx in pluto.rx_buffers if rx.missing and self._takes_part(pluto)]
            codes = self._receive(pluto, sent, first, count, loop is not None) if asking else None
            for rx in pluto.rx_buffers if self._takes_part(pluto) else ():
                if rx.missing and codes is not None:
                    rx.push(codes)
                    rx.since = time.monotonic()
                else:
                    pluto.status[RX] |= ADC_OVERFLOW
                    rx.lose(count)
        self._moved_s = time.monotonic()
        if loop is None:
            self.position += count
        else:
            self._islands[loop] += count
        return True

    def _span(self, members: list[VirtualPluto]) -> int:
        """How many samples can pass now."""
        receivers = [rx for pluto in members if self._takes_part(pluto) for rx in pluto.rx_buffers]
        senders = [tx for pluto in members for tx in pluto.tx_buffers]
        asking = [rx for rx in receivers if rx.missing]
        if any(not rx.missing and not self._overdue(rx) for rx in receivers):
            return 0
        if not asking:
            unheard = time.monotonic() - self._quiet_since > self.patience_s
            if not unheard or not any(tx.loaded and not tx.cyclic for tx in senders):
                return 0
        if self._held(members, senders):
            return 0
        count = min([MAX_STEP, *(rx.missing for rx in asking)])
        for tx in senders:
            if tx.loaded and not tx.cyclic:
                count = min(count, tx.samples)
            elif not tx.loaded and not self._overdue(tx):
                return 0
        return count

    def _held(self, members: list[VirtualPluto], senders: list[TxBuffer]) -> bool:
        """Whether a stream that begins still waits for others who may take part."""
        begun_s = min((tx.started_s for tx in senders if tx.starting), default=math.inf)
        if time.monotonic() - begun_s > self.hold_s or begun_s == math.inf:
            return False
        return any(math.isinf(tx.started_s) for tx in senders) or any(pluto.has_idle_client for pluto in members)

    def _takes_part(self, pluto: VirtualPluto) -> bool:
        """Whether time waits for its receiver."""
        return pluto in self._hearings or pluto.loopback == 1

    def _take(self, pluto: VirtualPluto, first: int, count: int) -> np.ndarray | None:
        """[count, columns] int16 of what one Pluto's DAC gets; None is silence."""
        if not pluto.tx_buffers:
            return pluto.dds.codes(first, count)
        parts = []
        for tx in pluto.tx_buffers:
            if not tx.loaded:
                pluto.status[TX] |= DAC_UNDERFLOW
                continue
            parts.append((tx, tx.pop(count)))
            if tx.loaded or not self._overdue(tx):
                tx.since = time.monotonic()
        return joined(parts)

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


def _serve_deaf(pluto: VirtualPluto) -> bool:
    """Zeros for the receiver of a Pluto that hears nobody."""
    asking = [rx for rx in pluto.rx_buffers if rx.missing]
    for rx in asking:
        rx.push(np.zeros((rx.missing, rx.all_columns), dtype=np.int16))
    return bool(asking)
