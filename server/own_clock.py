"""Serving radios that have clocks of their own: the beacon's thread, and orders between alignment and edges."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from server.alignment import Alignment
from server.received import ReceivedFrame
from testbed.background import Background
from testbed.config import ServerConfig
from testbed.control.bus import Hub, Lost
from testbed.control.messages import Align, Aligned, AnyMessage, Ready, Result
from testbed.errors import PeerLost, SemtbError
from testbed.phy.beacon import NUMBER_BITS, beacon_period
from testbed.phy.waveform import Waveform
from testbed.radio.base import Radio, RxBlock
from testbed.record.events import AnyEvent, Ordered

DRAIN_S = 2.5  # of samples behind the last result, for last frames that do not come: more than a radio reads ahead

LEAVE_S = 0.5  # for a thread that is in the radio to come out of it

log = logging.getLogger(__name__)


class BeaconSender:
    """Sends beacon after beacon on a thread of its own; the radio says when the next is due, by blocking."""

    def __init__(self, radio: Radio, waveform: Waveform) -> None:
        self._radio = radio
        self._waveform = waveform
        self._ended = False
        self._work = Background(self._run, "beacon-send")

    def check(self, timeout_s: float = 0.0) -> None:
        """Raise what the radio raised, if it did so within a time."""
        self._work.finished(timeout_s)

    def end(self) -> None:
        """Send no more; the thread ends with its present beacon, or when the radio closes."""
        self._ended = True

    def _run(self) -> None:
        number = 0
        while not self._ended:
            self._radio.send(beacon_period(self._waveform, number)[None])
            number = (number + 1) % 2**NUMBER_BITS


@contextmanager
def beaconing(radio: Radio, waveform: Waveform) -> Iterator[BeaconSender]:
    """The beacon, sent until the block ends."""
    sender = BeaconSender(radio, waveform)
    try:
        yield sender
    finally:
        sender.end()
        with suppress(SemtbError):
            sender.check(LEAVE_S)


class Alignments:
    """The users of one run: what they send is measured, what they are to do is said over the bus.

    An edge that is gone from the bus may come back within ``beacon.absence_s``; it then begins anew.

    Parameters
    ----------
    config : ServerConfig
    sender : BeaconSender
    hub : Hub
    emit : callable
        Takes events.
    clock : callable
        Seconds.
    """

    def __init__(
        self,
        config: ServerConfig,
        sender: BeaconSender,
        hub: Hub,
        emit: Callable[[AnyEvent], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._sender = sender
        self._hub = hub
        self._emit = emit
        self._clock = clock
        self._alignment = Alignment(config.waveform, config.server.antennas)
        self._users = {name: user for name, user in config.users.items() if name in config.expects}
        self._names = {user: name for name, user in self._users.items()}
        self._absent: dict[str, tuple[float, str]] = {}  # since when, and why
        self._open = set(config.expects)  # who has not handed in a result
        self._end: int | None = None  # position at which all is received that can be
        self._last = dict.fromkeys(self._names, -1)  # frame of each user that was read
        self._sent: dict[int, int] = {}  # frames of each user that has sent all
        for user in self._users.values():
            self._alignment.join(user)
        self._say()

    @property
    def finished(self) -> bool:
        """Whether all have handed in what they did, and what they sent before is received."""
        if self._end is None:
            return False
        complete = all(self._last[user] >= sent - 1 for user, sent in self._sent.items())
        return complete or self._alignment.now >= self._end

    def take(self, block: RxBlock, frames: list[ReceivedFrame]) -> None:
        """Measure a block and the frames that were received with it; say what follows of it.

        Raises
        ------
        PeerLost
            If an edge has been gone for too long.
        """
        self._sender.check()
        self._alignment.push(block.samples)
        for frame in frames:
            self._alignment.take(frame)
            for part in frame.users:
                if part.header is not None and part.user in self._last:
                    self._last[part.user] = max(self._last[part.user], part.header.frame)
        self._say()
        longest_s = 0.0 if self._config.beacon is None else self._config.beacon.absence_s
        for name, (since, reason) in list(self._absent.items()):
            if self._hub.progress.pop(name, None) is not None:  # it is back on the bus, and getting ready
                self._absent[name] = (self._clock(), reason)
            elif self._clock() - since > longest_s:
                raise PeerLost(f"{name} is gone ({reason}) and did not come back in {longest_s:g} s")

    def hear(self, node: str, message: AnyMessage | Lost) -> bool:
        """What a member says, or its loss; whether it is dealt with here."""
        user = self._users.get(node)
        if isinstance(message, Result):
            self._open.discard(node)
            if not self._open:
                self._end = self._alignment.now + round(DRAIN_S * self._config.waveform.sample_rate_hz)
        if user is None:
            return False
        if isinstance(message, Aligned):
            self._alignment.answer(user, message.number, message.frame)
            return True
        if isinstance(message, Result):
            self._alignment.leave(user)
            sent = message.values.get("frames_sent")
            self._sent[user] = sent if isinstance(sent, int) else 0
        elif isinstance(message, Lost) and node in self._open:
            log.warning("%s is gone: %s; it may come back", node, message.reason)
            self._alignment.leave(user)
            self._hub.progress.pop(node, None)
            self._absent[node] = (self._clock(), message.reason)
            return True
        elif isinstance(message, Ready):
            log.info("%s is back and begins anew", node)
            self._absent.pop(node, None)
            self._alignment.join(user)
            self._say()
            return True
        return False

    def _say(self) -> None:
        for command in self._alignment.commands():
            name = self._names[command.user]
            self._hub.send(
                name,
                Align(
                    number=command.number,
                    frames=command.frames,
                    delay_samples=command.delay_samples,
                    trim_hz=command.trim_hz,
                ),
            )
            self._emit(
                Ordered(
                    user=command.user,
                    sample=self._alignment.now,
                    number=command.number,
                    frames=command.frames,
                    delay_samples=command.delay_samples,
                    trim_hz=command.trim_hz,
                )
            )
