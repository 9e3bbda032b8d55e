"""What every Radio must do, on every implementation that can be its own far end. A driver joins by adding a pair."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest

from testbed.air.iiod.device import VirtualPluto
from testbed.air.iiod.ether import Ether
from testbed.air.iiod.hearing import Hearing
from testbed.air.iiod.server import IiodServer
from testbed.air.iiod.serving import serve
from testbed.errors import PeerLost, PeerUnreachable, RadioNotFound
from testbed.radio import contract
from testbed.radio.base import Radio, RadioSettings, RxBlock, Tuning
from testbed.radio.contract_ends import Broken
from testbed.radio.registry import open_radio
from tests.addresses import own_address

RATE = 1.92e6


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Wire:
    """A medium that does nothing: each user at an antenna of its own."""

    def mix(self, transmitted: Mapping[int, np.ndarray], first_sample: int) -> np.ndarray:
        return np.stack([transmitted[user] for user in sorted(transmitted)])


def wired_plutos(channels: int) -> tuple[list[str], list[IiodServer]]:
    """Two virtual Plutos on loopback addresses of their own, the first's transmitter wired to the second's receiver."""
    addresses = [own_address(), own_address()]
    sender, receiver = (VirtualPluto(address, channels) for address in addresses)
    hearing = Hearing(receiver, {i: (sender, i) for i in range(channels)}, lambda rate_hz: Wire())
    return addresses, serve([sender, receiver], Ether([sender, receiver], [hearing], float("inf")))


class Pair:
    """Two radios of one kind: what ``sender`` sends, ``receiver`` receives."""

    def __init__(self, kind: str, channels: int, timeout_s: float) -> None:
        self.servers: list[IiodServer] = []
        self.channels, self.waits, self.gain, self.step = channels, True, 1.0, 0.0
        self.blocks = self.hears = kind == "pluto"
        self.refused = (Tuning(lo_hz=7e9), Tuning(lo_hz=5.8e9), Tuning(rx_gain_db=99.0))
        if kind == "memory":
            self.tx_uri = self.rx_uri = f"memory:contract-{free_port()}"
        elif kind == "pluto":
            (tx, rx), self.servers = wired_plutos(channels)
            self.tx_uri, self.rx_uri = f"pluto:ip:{tx},tx_gain_db=-10", f"pluto:ip:{rx},rx_gain_db=40"
            self.step = 1 / 2048  # of its ADC, which ends one step below 1
        else:
            ports = [free_port() for _ in range(channels)]
            keys = [str(i or "") for i in range(channels)]
            self.tx_uri, self.rx_uri = (
                "zmq:" + ",".join(f"{d}_port{k}=tcp://127.0.0.1:{p}" for k, p in zip(keys, ports, strict=True))
                for d in ("tx", "rx")
            )
        self.tx_settings = RadioSettings(RATE, tx_channels=channels, timeout_s=timeout_s)
        self.rx_settings = RadioSettings(RATE, rx_channels=channels, timeout_s=timeout_s)
        self.opened: list[Radio] = []

    def sender(self) -> Radio:
        self.opened.append(open_radio(self.tx_uri, self.tx_settings))
        return self.opened[-1]

    def receiver(self) -> Radio:
        self.opened.append(open_radio(self.rx_uri, self.rx_settings))
        return self.opened[-1]

    def close(self) -> None:
        for end in (*self.opened, *self.servers):
            end.close()


PLUTO = pytest.param("pluto", marks=pytest.mark.needs("pluto", "libiio"))


def pairs(kind: str) -> Iterator[Callable[..., Pair]]:
    """Makes pairs of one kind, and closes them."""
    made: list[Pair] = []

    def make(channels: int = 1, timeout_s: float = 5.0) -> Pair:
        made.append(Pair(kind, channels, timeout_s))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(params=["zmq", "memory", PLUTO])
def pair(request) -> Iterator[Callable[..., Pair]]:
    yield from pairs(request.param)


@pytest.fixture(params=["zmq", "memory"])
def cable(request) -> Iterator[Callable[..., Pair]]:
    """Pairs on which a peer's absence shows: a receiver of radio waves hears noise whether somebody sends or not."""
    yield from pairs(request.param)


@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_sent_arrives_bit_for_bit_and_then_silence(pair, channels, rng):
    """Half a million samples in odd pieces, received in others; the queue is bounded, so this needs both at work."""
    contract.arrives_bit_for_bit(pair(channels), rng)


def test_the_sender_may_change_its_array_afterwards(pair, rng):
    contract.arrives_as_it_was(pair(), rng)


@pytest.mark.parametrize("bad", [1.001, -1.5j, np.nan, np.inf])
def test_more_than_full_scale_is_refused_and_nothing_of_it_is_sent(pair, bad):
    contract.beyond_full_scale_is_refused(pair(), bad)


@pytest.mark.parametrize("shape", [(10,), (2, 10), (1, 1, 10)])
def test_a_wrong_shape_is_refused(pair, shape):
    contract.wrong_shapes_are_refused(pair(), shape)


def test_a_radio_without_a_channel_says_so(pair):
    contract.no_channel_is_said(pair())


def test_nothing_is_sent_after_finish(pair):
    contract.nothing_after_finish(pair())


def test_a_receiver_without_a_peer_names_it(cable):
    ends = cable(timeout_s=0.3)
    with pytest.raises(
        PeerUnreachable, match=r"127\.0\.0\.1:\d+ within 0.3 s: connection refused|no sender within 0.3"
    ):
        ends.receiver().receive(1)


def test_a_sender_without_a_peer_names_it_when_the_queue_is_full(cable):
    ends = cable(timeout_s=0.3)
    sender = ends.sender()
    block = np.zeros((1, 100_000), np.complex64)
    with pytest.raises(
        PeerUnreachable, match=r"127\.0\.0\.1:\d+ within 0.3 s: nobody connected|no receiver within 0.3"
    ):
        for _ in range(3):
            sender.send(block)


def test_a_sender_that_goes_away_is_lost(cable):
    ends = cable()
    sender, receiver = ends.sender(), ends.receiver()
    sender.send(np.zeros((1, 10), np.complex64))
    receiver.receive(10)
    sender.close()
    with pytest.raises(PeerLost, match="went away"):
        receiver.receive(1)


def test_a_receiver_that_goes_away_is_lost(cable):
    ends = cable()
    sender, receiver = ends.sender(), ends.receiver()
    sender.send(np.zeros((1, 10), np.complex64))
    receiver.receive(10)
    receiver.close()
    with pytest.raises(PeerLost, match="went away"):
        for _ in range(3):
            sender.send(np.zeros((1, 100_000), np.complex64))


@pytest.mark.parametrize("end", ["sender", "receiver"])
def test_close_ends_a_call_that_waits(pair, end):
    """The other end is there and idle, so the call would wait for long; close comes from another thread."""
    contract.close_ends_a_wait(pair(timeout_s=50.0), end)


def test_close_is_idempotent_and_frees_the_address(pair, rng):
    contract.close_frees_the_address(pair(), rng)


def test_a_radio_says_who_it_is_and_whether_its_peer_waits(pair):
    """Each end by its own address; all of these are lock-step, and a sender is never ahead of its receiver."""
    ends = pair()
    contract.says_who_it_is(ends)
    if ends.blocks:
        sender, receiver = ends.sender(), ends.receiver()
        assert "PlutoSDR" in sender.identity.model
        assert sender.identity.serial != receiver.identity.serial
        assert sender.identity.firmware


def test_a_radio_is_retuned_or_says_that_it_cannot_be(pair):
    """With hardware: what is in force is said, the other end hears nothing at another frequency and all after a
    return; a value that no device takes changes nothing. Others refuse, whatever is asked."""
    ends = pair()
    if ends.blocks:
        with ends.sender() as sender, ends.receiver() as receiver:
            assert sender.tuning == Tuning(lo_hz=2.4e9, tx_gain_db=-10.0)
            assert receiver.tuning == Tuning(lo_hz=2.4e9, rx_gain_db=40.0)
    contract.is_retuned_or_cannot_be(ends)


@pytest.mark.parametrize("fault", ["rotated", "scaled", "silent", "late", "wraps"])
def test_a_radio_that_is_not_right_does_not_pass(pair, fault, rng, monkeypatch):
    """The checks themselves: a block that is rotated by a sample, a gain of -0.1 %, a receiver that hears nothing, an
    index that is one too high, a sender that takes what it should refuse."""
    ends = pair()
    receive = type(ends.receiver()).receive
    ends.opened.pop().close()

    def faulty(self, count):
        block = receive(self, count)
        samples = block.samples
        if fault == "rotated":
            samples = np.roll(samples, 1, axis=1)
        samples = samples * np.float32({"scaled": 0.999, "silent": 0.0}.get(fault, 1.0))
        return RxBlock(samples, block.first_sample + (fault == "late"), block.events)

    if fault == "wraps":
        with pytest.raises(Broken, match="nothing is refused"):
            contract.beyond_full_scale_is_refused(ends, 0.999)
        return
    opened = ends.receiver

    def receiver():
        radio = opened()
        monkeypatch.setattr(type(radio), "receive", faulty)
        return radio

    monkeypatch.setattr(ends, "receiver", receiver)
    with pytest.raises(Broken):
        contract.arrives_bit_for_bit(ends, rng, 50_000)


def test_an_unknown_scheme_lists_the_known_ones():
    for uri in ("plutto:ip:192.168.2.1", "zmq", ""):
        with pytest.raises(RadioNotFound, match="Known here: memory, pluto, sigmf, zmq"):
            open_radio(uri, RadioSettings(RATE))
