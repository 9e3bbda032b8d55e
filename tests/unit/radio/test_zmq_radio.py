"""The ZeroMQ radio against raw sockets that speak as gr-zeromq, srsRAN and broken peers do."""

from __future__ import annotations

import socket
import struct
import threading

import numpy as np
import pytest
import zmq

from testbed.errors import AddressInUse, RadioError
from testbed.radio.base import RadioSettings
from testbed.radio.zmq import ZmqRadio

RATE = 1.92e6


def endpoint() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{s.getsockname()[1]}"


@pytest.fixture
def peer():
    context = zmq.Context()
    made: list[zmq.Socket] = []  # pyzmq closes a socket that nobody holds

    def make(kind: int, where: str) -> zmq.Socket:
        one = context.socket(kind)
        one.setsockopt(zmq.LINGER, 0)
        one.setsockopt(zmq.RCVTIMEO, 5000)
        one.setsockopt(zmq.SNDTIMEO, 5000)
        (one.bind if kind == zmq.REP else one.connect)(where)
        made.append(one)
        return one

    yield make
    context.destroy(linger=0)


def transmitter(where: str) -> ZmqRadio:
    return ZmqRadio(f"zmq:tx_port={where}", RadioSettings(RATE, tx_channels=1))


def receiver(where: str) -> ZmqRadio:
    return ZmqRadio(f"zmq:rx_port={where}", RadioSettings(RATE, rx_channels=1))


def ask(one: zmq.Socket, message: bytes) -> np.ndarray:
    one.send(message)
    return np.frombuffer(one.recv(), np.complex64)


def ramp(count: int) -> np.ndarray:
    return (np.arange(count) / count).astype(np.complex64)[None]


def test_a_gnuradio_request_gets_at_most_what_it_asks_for(peer):
    where = endpoint()
    with transmitter(where) as radio:
        one = peer(zmq.REQ, where)
        radio.send(ramp(100))
        got = [ask(one, struct.pack("<I", n)) for n in (1, 30, 0, 1000)]
        assert [len(g) for g in got] == [1, 30, 0, 69]
        assert np.array_equal(np.concatenate(got), ramp(100)[0])


def test_a_request_for_everything_gets_what_there_is(peer):
    """0xffffffff kills gr-zeromq's own sink."""
    where = endpoint()
    with transmitter(where) as radio:
        radio.send(ramp(100))
        assert len(ask(peer(zmq.REQ, where), b"\xff\xff\xff\xff")) == 100


def test_srsrans_one_byte_gets_a_millisecond(peer):
    where = endpoint()
    with transmitter(where) as radio:
        radio.send(ramp(5000))
        one = peer(zmq.REQ, where)
        assert [len(ask(one, b"\xff")) for _ in range(3)] == [1920, 1920, 1160]


@pytest.mark.parametrize("nonsense", [b"", b"abc", b"12345678"])
def test_a_nonsense_request_gets_nothing_and_the_stream_goes_on(peer, nonsense):
    where = endpoint()
    with transmitter(where) as radio:
        radio.send(ramp(10))
        one = peer(zmq.REQ, where)
        assert len(ask(one, nonsense)) == 0
        assert len(ask(one, struct.pack("<I", 10))) == 10


def test_silence_after_finish_lasts(peer):
    where = endpoint()
    with transmitter(where) as radio:
        radio.finish()
        one = peer(zmq.REQ, where)
        for _ in range(3):
            assert np.array_equal(ask(one, struct.pack("<I", 7)), np.zeros(7))


def test_the_last_answer_leaves_although_the_radio_closes(peer):
    where = endpoint()
    radio = transmitter(where)
    one = peer(zmq.REQ, where)
    one.send(struct.pack("<I", 200_000))
    radio.send(ramp(200_000))
    radio.finish()
    radio.close()
    assert len(np.frombuffer(one.recv(), np.complex64)) == 200_000


def test_broken_answers_are_counted_and_the_stream_goes_on(peer):
    """A frame of 13 bytes, a message of two frames, more than was asked for: each an event, none a sample."""
    where = endpoint()
    one = peer(zmq.REP, where)
    answers = [[b"x" * 13], [b"12345678", b"12345678"], [bytes(8 * 50)], [b""], [ramp(10).tobytes()]]
    with receiver(where) as radio:
        requests = []

        def serve() -> None:
            for answer in answers:
                requests.append(one.recv())
                one.send_multipart(answer)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        block = radio.receive(10)
        serving.join(5)
    assert np.array_equal(block.samples, ramp(10))
    assert [e.kind for e in block.events] == ["malformed"] * 3
    assert all(where in e.detail for e in block.events)
    assert requests == [struct.pack("<I", 10)] * 5


def test_a_taken_port_is_named_with_what_to_do(peer):
    where = endpoint()
    peer(zmq.REP, where)
    with pytest.raises(AddressInUse, match=f"{where} .* is in use by another process: end it, or choose another port"):
        transmitter(where)


def test_a_half_opened_radio_frees_what_it_took():
    first = endpoint()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        second = f"tcp://127.0.0.1:{holder.getsockname()[1]}"
        with pytest.raises(AddressInUse, match=second):
            ZmqRadio(f"zmq:tx_port={first},tx_port1={second}", RadioSettings(RATE, tx_channels=2))
    transmitter(first).close()


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("zmq:", "tx_port missing"),
        ("zmq:tx_prot=tcp://127.0.0.1:1", "tx_port missing"),
        ("zmq:tx_port=tcp://127.0.0.1:4000,colour=red", "colour: unknown; known: tx_port"),
        ("zmq:tx_port=tcp://127.0.0.1:4000,base_srate=23.04e6", "the waveform's rate is 1.92e"),
        ("zmq:tx_port=tcp://127.0.0.1:4000,base_srate=fast", "base_srate = fast"),
        ("zmq:tx_port=127.0.0.1:4000", "write it as tcp://ADDRESS:PORT"),
        ("zmq:tx_port=tcp://no.such.host.invalid:4000", "write it as tcp://ADDRESS:PORT"),
    ],
)
def test_wrong_addresses_say_what_is_allowed(uri, says):
    with pytest.raises(RadioError, match=says):
        ZmqRadio(uri, RadioSettings(RATE, tx_channels=1))


def test_ports_that_are_not_asked_for_may_be_there():
    ZmqRadio(f"zmq:tx_port={endpoint()},rx_port=tcp://127.0.0.1:9", RadioSettings(RATE, tx_channels=1)).close()
