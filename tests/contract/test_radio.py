"""What every Radio must do, on every implementation that can be its own far end. A driver joins by adding a pair."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest

from testbed.air.iiod.device import VirtualPluto
from testbed.air.iiod.ether import Ether
from testbed.air.iiod.hearing import Hearing
from testbed.air.iiod.server import IiodServer
from testbed.air.iiod.serving import serve
from testbed.errors import PeerLost, PeerUnreachable, RadioError, RadioNotFound, ShapeError
from testbed.radio.base import Radio, RadioSettings, Tuning
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
        self.blocks = kind == "pluto"  # sends whole blocks, so the last of it leaves with `finish`
        self.step = 0.0
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

    def flush(self, sender: Radio) -> None:
        """See to it that what was sent leaves; a radio of blocks needs its receiver at work meanwhile."""
        if self.blocks:
            in_thread(lambda: finish_unless_closed(sender))

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


def noise(rng, channels, count):
    """Uniform, in steps that 11 bits and a sign hold exactly."""
    re, im = np.round(rng.uniform(-1023, 1023, (2, channels, count)))
    return ((re + 1j * im) / 1024).astype(np.complex64)


def in_thread(work) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def send_until_closed(sender: Radio) -> None:
    """Half of full scale, without end."""
    with contextlib.suppress(RadioError):
        while True:
            sender.send(np.full((1, 9600), 0.5, np.complex64))


def finish_unless_closed(sender: Radio) -> None:
    """A test that has seen enough closes its radios, also while one still sends its last blocks."""
    try:
        sender.finish()
    except RadioError as error:
        if "closed" not in str(error):
            raise


@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_sent_arrives_bit_for_bit_and_then_silence(pair, channels, rng):
    """Half a million samples in odd pieces, received in others; the queue is bounded, so this needs both at work."""
    ends = pair(channels)
    sender, receiver = ends.sender(), ends.receiver()
    assert isinstance(sender, Radio)
    x = noise(rng, channels, 500_000)

    def feed() -> None:
        for begin in range(0, x.shape[1], 77_777):
            sender.send(x[:, begin : begin + 77_777])
        sender.finish()

    feeder = in_thread(feed)
    counts = [1, 0, 999, 250_000, 249_000, 5000]
    blocks = [receiver.receive(count) for count in counts]
    feeder.join(10)
    assert not feeder.is_alive()
    assert [b.first_sample for b in blocks] == [0, 1, 1, 1000, 251_000, 500_000]
    assert all(b.samples.shape == (channels, n) for b, n in zip(blocks, counts, strict=True))
    assert all(b.samples.dtype == np.complex64 and b.events == () for b in blocks)
    got = np.concatenate([b.samples for b in blocks], axis=1)
    assert np.array_equal(got[:, :500_000], x)
    assert not got[:, 500_000:].any()


def test_the_sender_may_change_its_array_afterwards(pair, rng):
    ends = pair()
    sender, receiver = ends.sender(), ends.receiver()
    x = noise(rng, 1, 100)
    kept = x.copy()
    sender.send(x)
    ends.flush(sender)
    x[:] = 0
    assert np.array_equal(receiver.receive(100).samples, kept)


@pytest.mark.parametrize("bad", [1.001, -1.5j, np.nan, np.inf])
def test_more_than_full_scale_is_refused_and_nothing_of_it_is_sent(pair, bad):
    ends = pair()
    sender, receiver = ends.sender(), ends.receiver()
    x = np.zeros((1, 10), np.complex64)
    x[0, 3] = bad
    with pytest.raises(RadioError, match="full scale"):
        sender.send(x)
    sender.send(np.full((1, 4), 1 - 1j, np.complex64))  # exactly full scale on both axes is allowed
    ends.flush(sender)
    assert np.allclose(receiver.receive(4).samples, np.full((1, 4), 1 - 1j), rtol=0, atol=ends.step)


@pytest.mark.parametrize("shape", [(10,), (2, 10), (1, 1, 10)])
def test_a_wrong_shape_is_refused(pair, shape):
    with pytest.raises(ShapeError, match=r"allowed: \[1, n\]"):
        pair().sender().send(np.zeros(shape, np.complex64))


def test_a_radio_without_a_channel_says_so(pair):
    ends = pair()
    with pytest.raises(RadioError, match="without a receive channel"):
        ends.sender().receive(1)
    with pytest.raises(RadioError, match="without a transmit channel"):
        ends.receiver().send(np.zeros((1, 1), np.complex64))


def test_nothing_is_sent_after_finish(pair):
    ends = pair()
    sender, receiver = ends.sender(), ends.receiver()
    finishing = in_thread(sender.finish)
    if ends.blocks:
        receiver.receive(1)
    finishing.join(5)
    with pytest.raises(RadioError, match="send after finish"):
        sender.send(np.zeros((1, 1), np.complex64))


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
    ends = pair(timeout_s=50.0)
    sender, receiver = ends.sender(), ends.receiver()
    if not ends.blocks:
        sender.send(np.zeros((1, 10), np.complex64))
        receiver.receive(10)
    ended: list[Exception] = []

    def wait() -> None:
        try:
            if end == "receiver":
                receiver.receive(1)
            for _ in range(3):
                sender.send(np.zeros((1, 100_000), np.complex64))
        except RadioError as error:
            ended.append(error)

    waiting = in_thread(wait)
    time.sleep(0.2)
    (receiver if end == "receiver" else sender).close()
    waiting.join(5)
    assert not waiting.is_alive()
    assert "closed" in str(ended[0])


def test_close_is_idempotent_and_frees_the_address(pair, rng):
    ends = pair()
    for _ in range(3):
        x = noise(rng, 1, 50)
        with ends.sender() as sender, ends.receiver() as receiver:
            sender.send(x)
            ends.flush(sender)
            assert np.array_equal(receiver.receive(50).samples, x)
        sender.close()
        receiver.close()
    for radio, call in ((sender, lambda: sender.send(x)), (receiver, lambda: receiver.receive(1))):
        with pytest.raises(RadioError, match="closed"):
            call()
        assert radio.uri


def test_a_radio_says_who_it_is_and_whether_its_peer_waits(pair):
    """Each end by its own address; all of these are lock-step, and a sender is never ahead of its receiver."""
    ends = pair()
    sender, receiver = ends.sender(), ends.receiver()
    for radio in (sender, receiver):
        scheme, _, address = radio.uri.partition(",")[0].partition(":")
        assert radio.identity.scheme == scheme
        assert radio.identity.address.startswith(address)
        assert radio.paced is True
    if ends.blocks:
        assert "PlutoSDR" in sender.identity.model
        assert sender.identity.serial != receiver.identity.serial
        assert sender.identity.firmware


def test_a_radio_is_retuned_or_says_that_it_cannot_be(pair):
    """With hardware: what is in force is said, the other end hears nothing at another frequency and all after a
    return; a value that no device takes changes nothing. Others refuse, whatever is asked."""
    ends = pair()
    sender, receiver = ends.sender(), ends.receiver()
    if not ends.blocks:
        assert sender.tuning is None
        with pytest.raises(RadioError, match="no frequency and no gains"):
            sender.retune(Tuning(lo_hz=2.4e9))
        return
    assert sender.tuning == Tuning(lo_hz=2.4e9, tx_gain_db=-10.0)
    assert receiver.tuning == Tuning(lo_hz=2.4e9, rx_gain_db=40.0)
    in_thread(lambda: send_until_closed(sender))
    heard, events = [], []
    for lo_hz in (2.4e9, 2.5e9, 2.4e9):
        moved = receiver.retune(Tuning(lo_hz=lo_hz))
        assert moved == receiver.tuning == Tuning(lo_hz=lo_hz, rx_gain_db=40.0)
        block = receiver.receive(9600)
        events.append([event.kind for event in block.events])
        heard.append(block.samples)
    assert events == [[], ["retuned"], ["retuned"]]
    for samples, level in zip(heard, (0.5, 0.0, 0.5), strict=True):
        assert np.array_equal(samples, np.full((1, 9600), level, np.complex64))
    for wrong in (Tuning(lo_hz=7e9), Tuning(lo_hz=5.8e9), Tuning(rx_gain_db=99.0)):
        with pytest.raises(RadioError, match=r"allowed: |the Pluto refuses"):
            receiver.retune(wrong)
        assert receiver.tuning == Tuning(lo_hz=2.4e9, rx_gain_db=40.0)
    assert sender.retune(Tuning(tx_gain_db=-10.25)) == Tuning(lo_hz=2.4e9, tx_gain_db=-10.25)


def test_an_unknown_scheme_lists_the_known_ones():
    for uri in ("plutto:ip:192.168.2.1", "zmq", ""):
        with pytest.raises(RadioNotFound, match="Known here: memory, pluto, sigmf, zmq"):
            open_radio(uri, RadioSettings(RATE))
