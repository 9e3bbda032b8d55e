"""Virtual Plutos in real pace: samples move as time passes, whether clients are there or not.

A buffer of a receiver is a ring of blocks that fill and then stall, that of a transmitter a queue that is empty or not:
whoever is late loses samples or sends silence, and the device's flags, its list of gaps and the port's counts say so.
What the emulator itself is late with is charged to nobody: it waits so long for clients before it passes them over, up
to a limit. Behind that limit, on a machine that is too slow, all lose what passed meanwhile.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from testbed.air.iiod.buffers import DmaBuffer, TxBuffer
from testbed.air.iiod.device import RX, TX, VirtualPluto
from testbed.air.iiod.live_device import LiveDevice
from testbed.air.iiod.opening import Opening
from testbed.air.iiod.pace import Pacer, WallClock
from testbed.air.port_status import PortMeter, PortStatus
from testbed.air.world import World

TICK_S = 0.01  # between two looks at the clock; a client that waits for a shorter block is looked after sooner
LEAST_TICK_S = 0.0005
MAX_STEP = 32_768  # samples at a time
LATE_S = 0.5  # behind the clock, after which all lose what passed
GRACE_S = 0.1  # that a client gets at most for what the emulator is late
LEVEL_S = 0.1  # for a level to be measured
RECENT_S = 0.1  # a level that was measured so long ago stands
FASTEST = 0.999  # a clock that is 1000 ppm fast: no radio's is
NS = 1e9

T = TypeVar("T")
log = logging.getLogger(__name__)


class LiveEther(Opening):
    """Several virtual Plutos and the world between them; all methods may be called from any thread.

    Parameters
    ----------
    devices : sequence of LiveDevice
    world : World
        Its stations have the devices' names.
    pacer : Pacer
    """

    def __init__(self, devices: Sequence[LiveDevice], world: World, pacer: Pacer | None = None) -> None:
        super().__init__([device.pluto for device in devices], "realtime", DmaBuffer)
        self.world = world
        self._devices = {device.pluto: device for device in devices}
        self._pacer: Pacer = pacer or WallClock()
        self._pacer.now_s(0.0)
        self._left = set(self.plutos)
        self._orders: deque[Callable[[], None]] = deque()
        self._ended = threading.Event()
        self._awake = threading.Event()
        for device in devices:
            device.pluto.phy.measure = partial(self._measure, device)
        self._thread = threading.Thread(target=self._run, name="air", daemon=True)
        if self._pacer.speed:
            self._thread.start()

    @property
    def late_s(self) -> float:
        """By how much samples are behind the clock."""
        passed_s = self.world.now_ns / NS
        return self._pacer.now_s(passed_s) - passed_s

    def between_steps(self, act: Callable[[], T]) -> T:
        """As `Opening.between_steps`; the thread that lets time pass does it."""
        if not self._thread.is_alive():
            return act()
        done: list[T] = []
        with self._changed:
            self._orders.append(lambda: done.append(act()))
            self._awake.set()
            self._changed.wait_for(lambda: done or not self._thread.is_alive())
        return done[0] if done else act()

    def retire(self, pluto: VirtualPluto) -> None:
        """Nobody will connect to it any more; with the last one time ends."""
        self._left.discard(pluto)
        if not self._left:
            self._ended.set()
            self._awake.set()
            if self._thread.is_alive() and threading.current_thread() is not self._thread:
                self._thread.join(10 * LATE_S)

    def push(self, pluto: VirtualPluto, buffer: TxBuffer, data: bytes | bytearray, gone: Callable[[], bool]) -> None:
        """Queue a block, once there is room.

        Raises
        ------
        Refused
            As `Opening` has it, and `TxBuffer.push`.
        """
        with self._changed:
            if not buffer.cyclic:
                self._wait(pluto, buffer, lambda: buffer.has_room, gone)
            buffer.since = time.monotonic()
            buffer.push(data, buffer.since)
            buffer.stalled_s = math.inf

    def pull(self, pluto: VirtualPluto, buffer: DmaBuffer, count: int, gone: Callable[[], bool]) -> memoryview:
        """Up to ``count`` samples of the buffer's columns: the oldest block, or the rest of one; raises as `push`."""
        parts = []
        with self._changed:
            while count:
                buffer.release()
                if not buffer.ready:
                    self._awake.set()
                self._wait(pluto, buffer, lambda: buffer.ready, gone)
                parts.append(buffer.take(count))
                count -= len(parts[-1]) // buffer.frame_bytes
            buffer.since = time.monotonic()
        return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))

    def status(self, now_s: float) -> list[PortStatus]:
        """How every port stands; rates and levels are of the time since the last call, by a monotonic clock."""
        return [
            meter.status(now_s)
            for device in self._devices.values()
            for meter in (*device.transmitters, *device.receivers)
        ]

    def counts(self) -> list[PortMeter]:
        """What every port has clipped, lost and missed since the start."""
        return [meter for device in self._devices.values() for meter in (*device.transmitters, *device.receivers)]

    def passed(self, name: str) -> int:
        """Samples that have passed at a receiver while it had a buffer open."""
        return next(device.passed for device in self._devices.values() if device.name == name)

    def advance(self, until_s: float) -> bool:
        """Let samples pass until ``until_s`` after the beginning; False if a client is waited for."""
        until_ns = int(until_s * NS)
        if until_ns - self.world.now_ns > LATE_S * NS:
            log.warning("the air was %.1f s late: what passed meanwhile is lost", (until_ns - self.world.now_ns) / NS)
            self._skip(until_ns)
        while self.world.now_ns < until_ns:
            with self._changed:
                if self._waits():
                    return False
                end_ns = self._end(until_ns)
            self._step(end_ns)
        return True

    def _run(self) -> None:
        """Until the last device is retired."""
        while not self._ended.is_set():
            try:
                kept_up = self.advance(self._pacer.now_s(self.world.now_ns / NS))
            except Exception:
                log.exception("the air between virtual Plutos failed")
                raise
            self._awake.wait(self._pause_s() if kept_up else LEAST_TICK_S)
            self._awake.clear()

    def _pause_s(self) -> float:
        """Until the next look: until the block is full that somebody waits for."""
        with self._changed:
            missing_s = [
                rx.missing / pluto.rate_hz(RX) for pluto in self.plutos for rx in pluto.rx_buffers if rx.missing
            ]
        return max(min([TICK_S, *missing_s]), LEAST_TICK_S) / self._pacer.speed

    def _waits(self) -> bool:
        """Whether a client still has time for what the emulator was late with."""
        now_s = time.monotonic()
        return any(
            buffer.stalled_s <= now_s < buffer.stalled_s + buffer.grace_s
            for device in self._devices.values()
            for buffer in device.buffers
        )

    def _end(self, until_ns: int) -> int:
        """Where the next step ends: no buffer overflows or starves within it that has not before."""
        now_ns, end_ns = self.world.now_ns, until_ns
        for device in self._devices.values():
            device.follow(self.world)
            pluto = device.pluto
            room = min([MAX_STEP, *(rx.room for rx in pluto.rx_buffers if rx.room)])
            if now_ns + room / pluto.rate_hz(RX) * FASTEST * NS < end_ns:
                end_ns = min(end_ns, self.world.time_of(device.name, room))
            queued = min([MAX_STEP, *(tx.samples for tx in pluto.tx_buffers if tx.loaded and not tx.cyclic)])
            end_ns = min(end_ns, now_ns + int(queued / pluto.rate_hz(TX) * FASTEST * NS))
        return max(end_ns, now_ns + 1)

    def _skip(self, end_ns: int) -> None:
        """Let time pass of which nothing is heard."""
        with self._changed:
            due = self.world.due(end_ns)
            self.world.advance(end_ns, {}, ())
            for device in self._devices.values():
                transmitted, received = due[device.name]
                device.drop(transmitted, MAX_STEP)
                device.deliver(None, received, 0.0)
            self._changed.notify_all()

    def _step(self, end_ns: int) -> None:
        """Let time pass."""
        world, devices = self.world, self._devices.values()
        with self._changed:
            while self._orders:
                self._orders.popleft()()
            due = world.due(end_ns)
            listening = [device for device in devices if device.listens]
            late_s = self.late_s / self._pacer.speed if self._pacer.speed else 0.0
            grace_s = self._pacer.patience_s or min(late_s, GRACE_S)
            codes = {device: device.take(due[device.name][0], grace_s) for device in devices}
            self._changed.notify_all()
        sent = {}
        for device in devices:
            wave = device.transmit(codes[device], due[device.name][0])
            if wave is not None:
                sent[device.name] = wave
        waves = world.advance(end_ns, sent, [device.name for device in listening])
        received = {device: device.receive(waves[device.name], codes[device]) for device in listening}
        with self._changed:
            for device in devices:
                device.deliver(received.get(device), due[device.name][1], grace_s)
            self._changed.notify_all()

    def _measure(self, device: LiveDevice) -> None:
        """Have the level be that of this moment, whether anybody takes samples or not."""
        with self._changed:
            if time.monotonic() - device.measured_s < RECENT_S or not self._thread.is_alive():
                return
            device.probed = True
            self._changed.wait_for(lambda: not device.probed, LEVEL_S / self._pacer.speed)
