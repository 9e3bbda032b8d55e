"""What the server says to edges of their own clocks, and when it has received all of what they sent."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from server.own_clock import DRAIN_S, Alignments, BeaconSender
from server.received import ReceivedFrame, UserFrame
from testbed.config import BeaconPart, ServerConfig, ServerPart
from testbed.control.bus import Lost
from testbed.control.messages import Align, Aligned, Heartbeat, Ready, Result
from testbed.errors import PeerLost, RadioError
from testbed.phy.beacon import measure_beacon, period_samples
from testbed.phy.header import Header
from testbed.phy.waveform import Waveform
from testbed.radio.base import RxBlock

WAVEFORM = Waveform()
RATE_HZ = WAVEFORM.sample_rate_hz


class Bus:
    """The hub's end that `Alignments` uses."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Align]] = []
        self.progress: dict[str, Heartbeat] = {}

    def send(self, node: str, message: Align) -> None:
        self.sent.append((node, message))


class Quiet:
    """A beacon's thread that is well."""

    def check(self, timeout_s: float = 0.0) -> None:
        return


@pytest.fixture
def served():
    """Alignments of two edges and an air, their bus, events and clock."""
    config = ServerConfig(
        seed=1,
        control="",
        waveform=WAVEFORM,
        server=ServerPart(antennas=1),
        radio="",
        codec="",
        expects=["air", "edge-1", "edge-2"],
        users={"edge-1": 0, "edge-2": 1},
        beacon=BeaconPart(absence_s=10.0),
    )
    bus, events, now = Bus(), [], [100.0]
    return Alignments(config, Quiet(), bus, events.append, lambda: now[0]), bus, events, now


def block(seconds: float) -> RxBlock:
    return RxBlock(np.zeros((1, round(seconds * RATE_HZ)), np.complex64), 0)


def frame(user: int, number: int) -> ReceivedFrame:
    header = Header(
        user=user, frame=number, picture=0, part=0, codec=1, codec_hash=1, height=1, width=1, k=1, scale=1.0
    )
    nothing = np.zeros(0, np.complex64)
    return ReceivedFrame(0, 0.0, 0.0, 1.0, 1.0, [UserFrame(user, header, nothing, nothing, 0.0, 0.0)], nothing, {})


def test_every_order_goes_to_its_edge_and_into_the_events(served):
    _, bus, events, _ = served
    assert [(node, order.number, order.frames) for node, order in bus.sent] == [
        ("edge-1", 0, False),
        ("edge-2", 0, False),
    ]
    assert [event.user for event in events] == [0, 1]


def test_all_is_received_with_the_last_frames_or_once_they_can_no_longer_come(served):
    alignments, _, _, _ = served
    assert alignments.hear("edge-1", Aligned(node="edge-1", number=0, frame=0))
    for node in ("air", "edge-1", "edge-2"):
        assert not alignments.finished
        assert not alignments.hear(node, Result(node=node, values={"frames_sent": 3}))
    alignments.take(block(0.1), [frame(0, 2), frame(1, 1)])
    assert not alignments.finished
    alignments.take(block(0.1), [frame(1, 2)])
    assert alignments.finished


def test_last_frames_that_never_come_are_not_waited_for_without_end(served):
    alignments, _, _, _ = served
    for node in ("air", "edge-1", "edge-2"):
        alignments.hear(node, Result(node=node, values={"frames_sent": 3}))
    alignments.take(block(DRAIN_S - 0.1), [frame(0, 2)])
    assert not alignments.finished
    alignments.take(block(0.2), [])
    assert alignments.finished


def test_an_edge_may_be_gone_for_a_while(served):
    """It is named when it stays away; one that is heard again on the bus, or is ready, is not."""
    alignments, bus, _, now = served
    assert not alignments.hear("air", Lost("it left"))  # the air may not
    assert alignments.hear("edge-2", Lost("its connection ended"))
    now[0] += 9.0
    alignments.take(block(0.01), [])
    bus.progress["edge-2"] = Heartbeat(node="edge-2")
    now[0] += 2.0
    alignments.take(block(0.01), [])
    now[0] += 9.0
    alignments.take(block(0.01), [])
    bus.sent.clear()
    assert alignments.hear("edge-2", Ready(node="edge-2"))
    assert [(node, order.number, order.frames) for node, order in bus.sent] == [("edge-2", 0, False)]
    now[0] += 100.0
    alignments.take(block(0.01), [])
    alignments.hear("edge-2", Lost("its connection ended"))
    now[0] += 11.0
    with pytest.raises(PeerLost, match=r"edge-2 is gone \(its connection ended\) and did not come back in 10 s"):
        alignments.take(block(0.01), [])


class Cable:
    """A radio that takes three beacons and is closed then."""

    def __init__(self) -> None:
        self.sent: deque[np.ndarray] = deque()

    def send(self, samples: np.ndarray) -> None:
        if len(self.sent) == 3:
            raise RadioError("the radio is closed")
        self.sent.append(samples)


def test_beacons_are_numbered_and_what_befell_the_radio_is_said():
    radio = Cable()
    sender = BeaconSender(radio, WAVEFORM)
    with pytest.raises(RadioError, match="closed"):
        sender.check(30.0)
    stream = np.concatenate([np.zeros((1, 100), np.complex64), *radio.sent], axis=1)
    for number in range(3):
        found = measure_beacon(stream, WAVEFORM, 100 + number * period_samples(WAVEFORM), 0.0)
        assert found is not None
        assert found.number == number
