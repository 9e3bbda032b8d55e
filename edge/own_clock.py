"""Sending over a radio that has a clock of its own: a thread hears the beacon, one feeds the radio. No mathematics."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from edge.ahead import Ahead
from edge.receiver import BeaconReceiver, Reception
from edge.slots import ACCESS, FRAMES, Order
from edge.switching import Switching
from edge.uplink import Answer, Uplink
from testbed.background import Background
from testbed.config import EdgeConfig
from testbed.control.bus import Member
from testbed.control.messages import Align, Aligned
from testbed.errors import PeerUnreachable, RunIncomplete, SemtbError
from testbed.phy.beacon import beacon_period
from testbed.radio.base import Radio

BLOCK_SAMPLES = 9_600  # 5 ms at 1.92 MS/s
LOOK_S = 0.02  # how often a waiting node looks for orders
LEAVE_S = 0.5  # for a thread that is in the radio to come out of it
LOCK_S = 30.0  # for the server to come up and be heard; acquisition itself takes 30 ms

log = logging.getLogger(__name__)


def carrier_hz(radio: Radio) -> float:
    """The frequency that a radio is set to, duplex left out; that of its settings where it has none to set."""
    tuning = radio.tuning
    return radio.settings.lo_hz if tuning is None or tuning.lo_hz is None else tuning.lo_hz


def warm_up(config: EdgeConfig) -> None:
    """Hear a beacon and make a slot, so that nobody waits for compilers once samples move."""
    receiver = BeaconReceiver(config.waveform, 2.4e9)
    for number in range(4):
        receiver.push(beacon_period(config.waveform, number)[None])
    Uplink(config.waveform, config.edge.user, 2.4e9).next(0.0, lambda: None, Order(phase=ACCESS))


class Downlink:
    """The beacon as it is heard on a thread of its own.

    Attributes
    ----------
    state : Reception or None
        What is known; None until a beacon was heard.
    receiver : BeaconReceiver
    lo_hz : float
        That this edge sends at.
    """

    def __init__(self, radio: Radio, config: EdgeConfig) -> None:
        self.lo_hz = carrier_hz(radio)
        self.receiver = BeaconReceiver(config.waveform, self.lo_hz + radio.settings.rx_lo_offset_hz)
        self.state: Reception | None = None
        self._name = config.edge.name
        self._radio = radio
        self._ended = False
        self._work = Background(self._run, "beacon-listen")

    def check(self, timeout_s: float = 0.0) -> None:
        """Raise what the radio raised, if it did so within a time."""
        self._work.finished(timeout_s)

    def end(self) -> None:
        """Hear no more; the thread ends with its present block, or when the radio closes."""
        self._ended = True

    def await_lock(self, give_up: Callable[[], None]) -> Reception:
        """Wait for the first beacon.

        Raises
        ------
        PeerUnreachable
            If none comes within ``LOCK_S``.
        """
        deadline = time.monotonic() + LOCK_S
        while (state := self.state) is None:
            self.check()
            give_up()
            if time.monotonic() > deadline:
                raise PeerUnreachable(
                    f"{self._name}: no beacon of the server at {self.receiver.lo_hz / 1e6:.3f} MHz within {LOCK_S:.0f} "
                    "s: is the server's radio up and in reach? `semtb radio spectrum` shows what this one hears; its "
                    "gain is the URI's rx_gain_db"
                )
            time.sleep(LOOK_S)
        log.info("beacon %d heard: this oscillator is %+.3f ppm from the server's", state.beacon.number, state.ppm)
        return state

    def facts(self) -> dict[str, object]:
        """For the run's result."""
        state = self.state
        return {
            "ppm": None if state is None else state.ppm,
            "deviation_ppm": None if state is None else state.deviation_ppm,
            "drift_ppm_per_min": None if state is None else 60 * state.drift_ppm_per_s,
            "beacons": self.receiver.beacons,
            "misses": self.receiver.misses,
            "acquisitions": self.receiver.acquisitions,
        }

    def _run(self) -> None:
        while not self._ended:
            self.receiver.push(self._radio.receive(BLOCK_SAMPLES).samples)
            self.state = self.receiver.state


@contextmanager
def hearing(radio: Radio, config: EdgeConfig) -> Iterator[Downlink]:
    """The beacon, heard until the block ends."""
    downlink = Downlink(radio, config)
    try:
        yield downlink
    finally:
        downlink.end()
        with suppress(SemtbError):
            downlink.check(LEAVE_S)


def send_aligned(
    radio: Radio,
    downlink: Downlink,
    frames: Ahead,
    count: int,
    config: EdgeConfig,
    switching: Switching,
    member: Member,
    should_stop: Callable[[], bool],
) -> Uplink:
    """Keep a continuous stream on the air as the server orders it, until all frames are sent.

    Parameters
    ----------
    radio : Radio
    downlink : Downlink
    frames : Ahead
        Of [frame_samples] complex64.
    count : int
        Of the frames.
    config : EdgeConfig
    switching : Switching
    member : Member
    should_stop : callable

    Returns
    -------
    Uplink
        As it was at the end.

    Raises
    ------
    RunIncomplete
        If the run ends before all is sent.
    """
    uplink = Uplink(config.waveform, config.edge.user, downlink.lo_hz)
    orders: deque[Order] = deque(maxlen=1)  # a later one replaces one that was not taken yet
    answers: deque[Answer] = deque()

    def over() -> bool:
        return should_stop() or member.stop_reason is not None

    def feed() -> None:
        while uplink.frames < count and not over():
            state = downlink.state
            assert state is not None
            samples, answer = uplink.next(state.ppm, frames.poll, orders.popleft() if orders else None)
            if answer is not None:
                answers.append(answer)
            radio.send(samples[None])
            member.heartbeat(uplink.frames, count)
        radio.finish()

    feeding = Background(feed, "radio-feed")
    while not feeding.finished():
        downlink.check()
        message = member.hear(LOOK_S)
        if isinstance(message, Align):
            phase = FRAMES if message.frames else ACCESS
            orders.append(Order(message.number, phase, message.delay_samples, message.trim_hz))
        else:
            switching.take(message)
        while answers:
            answer = answers.popleft()
            member.say(Aligned(node=member.name, number=answer.number, frame=answer.frame))
        if over():
            raise RunIncomplete(member.stop_reason or f"{member.name} was told to end before all was sent")
    return uplink
