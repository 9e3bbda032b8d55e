"""A cable within one process: what one ``memory:NAME`` radio sends, another of that name receives. For tests."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np

from testbed.errors import PeerLost, PeerUnreachable, RadioError
from testbed.radio.base import RadioEvent, RadioIdentity, RadioSettings, RxBlock, Tuning, nothing_to_tune
from testbed.radio.zmq import in_range

QUEUE_SAMPLES = 200_000  # on the cable; send blocks beyond


class Cable:
    """One sender's samples on their way to one receiver."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.parts: deque[np.ndarray] = deque()
        self.waiting = 0  # samples on the cable
        self.finished = False
        self.sender: MemoryRadio | None = None
        self.receiver: MemoryRadio | None = None
        self.met: set[str] = set()  # ends that have been there

    def has_room(self, room: int) -> bool:
        """Whether at most ``room`` samples wait."""
        return self.waiting <= room


CABLES: dict[str, Cable] = {}
CABLES_LOCK = threading.Lock()


class MemoryRadio:
    """``memory:NAME``: the end of a cable that sends (``tx_channels``) or receives (``rx_channels``), as many channels.

    Raises
    ------
    RadioError
        If that end is taken, the channels differ from the other end's, or both directions are asked for.
    """

    def __init__(self, uri: str, settings: RadioSettings) -> None:
        self.uri = uri
        self.settings = settings
        self._name = uri.partition(":")[2]
        self._received = 0
        self._held = np.zeros((settings.rx_channels, 0), dtype=np.complex64)
        self._closed = False
        if bool(settings.tx_channels) == bool(settings.rx_channels):
            raise RadioError(f"{uri}: a cable's end either sends or receives: give tx_channels or rx_channels")
        self._end, self._peer = ("sender", "receiver") if settings.tx_channels else ("receiver", "sender")
        with CABLES_LOCK:
            self._cable = CABLES.setdefault(self._name, Cable())
        with self._cable.changed:
            if getattr(self._cable, self._end) is not None:
                raise RadioError(f"{uri}: this cable has a {self._end} already")
            other = getattr(self._cable, self._peer)
            channels = settings.tx_channels + settings.rx_channels
            if other is not None and other.settings.tx_channels + other.settings.rx_channels != channels:
                raise RadioError(f"{uri}: {channels} channels: the other end has another number")
            setattr(self._cable, self._end, self)
            self._cable.met.add(self._end)
            self._cable.changed.notify_all()

    def __enter__(self) -> MemoryRadio:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def paced(self) -> bool:
        """Both ends wait for each other."""
        return True

    @property
    def identity(self) -> RadioIdentity:
        """The cable's name."""
        return RadioIdentity("memory", self._name)

    @property
    def adjusted(self) -> tuple[str, ...]:
        """Nothing: it is as it was asked to be."""
        return ()

    @property
    def tuning(self) -> None:
        """A cable has no frequency."""

    def retune(self, tuning: Tuning) -> Tuning:
        """See `testbed.radio.base.Radio.retune`."""
        raise nothing_to_tune(self.uri)

    def send(self, samples: np.ndarray) -> None:
        """See `testbed.radio.base.Radio.send`."""
        if not self.settings.tx_channels:
            raise RadioError(f"{self.uri}: send: opened without a transmit channel")
        x = in_range(samples, self.settings.tx_channels, self.uri)
        cable = self._cable
        with cable.changed:
            if cable.finished:
                raise RadioError(f"{self.uri}: send after finish: open the radio anew to send more")
            for begin in range(0, x.shape[1], QUEUE_SAMPLES):
                part = x[:, begin : begin + QUEUE_SAMPLES]
                room = QUEUE_SAMPLES - part.shape[1]
                self._wait(partial(cable.has_room, room))
                cable.parts.append(part)
                cable.waiting += part.shape[1]
                cable.changed.notify_all()

    def finish(self) -> None:
        """See `testbed.radio.base.Radio.finish`."""
        with self._cable.changed:
            if self.settings.tx_channels:
                self._wait(lambda: self._cable.waiting == 0)
                self._cable.finished = True
                self._cable.changed.notify_all()

    def sent_events(self) -> tuple[RadioEvent, ...]:
        """See `testbed.radio.base.Radio.sent_events`: nothing, since its receiver waits."""
        return ()

    def receive(self, count: int) -> RxBlock:
        """See `testbed.radio.base.Radio.receive`."""
        if not self.settings.rx_channels:
            raise RadioError(f"{self.uri}: receive: opened without a receive channel")
        cable = self._cable
        with cable.changed:
            if self._closed:
                raise RadioError(f"{self.uri}: the radio is closed")
            while self._held.shape[1] < count:
                self._wait(lambda: bool(cable.parts) or cable.finished)
                missing = count - self._held.shape[1]
                part = cable.parts.popleft() if cable.parts else np.zeros((len(self._held), missing), np.complex64)
                cable.waiting = sum(p.shape[1] for p in cable.parts)
                self._held = np.concatenate([self._held, part], axis=1)
                cable.changed.notify_all()
        out, self._held = self._held[:, :count].copy(), self._held[:, count:]
        first = self._received
        self._received += count
        return RxBlock(out, first)

    def close(self) -> None:
        """Leave the cable; the last end to go takes it away."""
        with CABLES_LOCK, self._cable.changed:
            self._closed = True
            if getattr(self._cable, self._end) is self:
                setattr(self._cable, self._end, None)
            if self._cable.sender is self._cable.receiver is None and CABLES.get(self._name) is self._cable:
                del CABLES[self._name]
            self._cable.changed.notify_all()

    def _wait(self, until: Callable[[], bool]) -> None:
        """Hold the cable's condition until it is true, or say who keeps it from that."""
        deadline = time.monotonic() + self.settings.timeout_s
        while True:
            if self._closed:
                raise RadioError(f"{self.uri}: the radio is closed")
            if until():
                return
            if getattr(self._cable, self._peer) is None and self._peer in self._cable.met:
                raise PeerLost(f"{self.uri}: the {self._peer} went away")
            if not self._cable.changed.wait(max(0.0, deadline - time.monotonic())) and not until():
                raise PeerUnreachable(f"{self.uri}: no {self._peer} within {self.settings.timeout_s:g} s")
