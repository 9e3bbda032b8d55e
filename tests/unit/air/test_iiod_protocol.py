"""IIOD's ASCII protocol: what a client sends, however wrong, and what it gets for it."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.air.iiod import protocol
from testbed.air.iiod.air import present
from testbed.air.iiod.client import Client
from testbed.air.iiod.device import VirtualPluto
from testbed.air.iiod.ether import Ether
from testbed.air.iiod.protocol import Refused, Request, parse
from testbed.errors import AddressInUse
from tests.addresses import own_address

PHY = "ad9361-phy"
RX, TX = "cf-ad9361-lpc", "cf-ad9361-dds-core-lpc"

COMMANDS = ("OPEN", "CLOSE", "READ", "WRITE", "READBUF", "WRITEBUF", "SET", "TIMEOUT", "GETTRIG", "PRINT", "VERSION")
WORDS = st.sampled_from(
    [
        *COMMANDS,
        *(PHY, RX, TX, "INPUT", "OUTPUT", "DEBUG", "BUFFER", "voltage0", "altvoltage0", "loopback", "hardwaregain"),
        *("CYCLIC", "BUFFERS_COUNT", "00000003", "ffffffff", "0", "4", "1024", "99999999999", "-1", "x", "\x00"),
    ]
)
LINES = st.lists(WORDS, max_size=6).map(lambda words: " ".join(words).encode() + b"\r\n")


@pytest.fixture
def pluto() -> VirtualPluto:
    one = VirtualPluto("127.0.0.2")
    one.timeout_s = 0.05
    return one


def talk(pluto: VirtualPluto, written: bytes, patience_s: float = 0.0) -> bytes:
    """What one client hears that says this and hangs up its sending side."""
    ours, theirs = socket.socketpair()
    client = Client(pluto, Ether([pluto], [], patience_s), theirs, threading.Lock())

    def serve() -> None:
        try:
            with contextlib.suppress(OSError):
                client.run()
        finally:
            client.close()
            theirs.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    heard = bytearray()
    with ours:

        def feed() -> None:
            with contextlib.suppress(OSError):  # it need not want to hear all
                ours.sendall(written)
                if not written.endswith(b"EXIT\r\n"):
                    ours.shutdown(socket.SHUT_WR)

        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        with contextlib.suppress(ConnectionResetError):  # cut off with something still unread
            while part := ours.recv(1 << 16):
                heard += part
        feeder.join(5)
    thread.join(5)
    assert not thread.is_alive()
    assert not pluto.tx_buffers  # a client that is gone has closed its buffers
    assert not pluto.rx_buffers
    return bytes(heard)


@given(st.one_of(st.binary(max_size=200), LINES))
def test_any_line_is_a_request_or_invalid(line: bytes):
    """Any bytes, and any order of the protocol's own words: parsed, empty, or refused with EINVAL; nothing else."""
    try:
        request = parse(line)
    except Refused as refused:
        assert refused.number == errno.EINVAL
    else:
        assert request is None or isinstance(request, Request)
        assert request is None or 0 <= request.number <= 2**30


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), LINES), max_size=8).map(b"".join))
def test_any_stream_ends_the_connection_in_order(written: bytes):
    """The thread of a connection neither dies of what it is sent nor outlives it, and no buffer stays open."""
    one = VirtualPluto("127.0.0.2")
    one.timeout_s = 0.02
    talk(one, written)


def test_requests_are_read_as_libiio_writes_them():
    assert parse(b"READ iio:device0 OUTPUT altvoltage0 frequency\r\n") == Request(
        "READ", "iio:device0", "channel", "altvoltage0", True, "frequency"
    )
    assert parse(b"WRITE iio:device0 DEBUG loopback 2\r\n") == Request(
        "WRITE", "iio:device0", "debug", attribute="loopback", number=2
    )
    opened = parse(b"OPEN iio:device3 1024 00000003 CYCLIC\r\n")
    assert opened == Request("OPEN", "iio:device3", number=1024, mask=3, mask_digits=8, cyclic=True)
    assert parse(b"\r\n") is None


@pytest.mark.parametrize(
    "written, heard",
    [
        (b"VERSION\r\n", b"0.25.v0.25  \n"),
        (b"ZPRINT\r\n", b"-22\n"),
        (b"BINARY\r\n", b"-22\n"),
        (b"TIMEOUT 2500\r\n", b"0\n"),
        (b"GETTRIG iio:device3\r\n", b"-2\n"),
        (b"SET iio:device3 BUFFERS_COUNT 8\r\n", b"0\n"),
        (b"READ nothing frequency\r\n", b"-19\n"),
        (b"READ ad9361-phy INPUT voltage9 frequency\r\n", b"-6\n"),
        (b"READ ad9361-phy OUTPUT altvoltage0 colour\r\n", b"-2\n"),
        (b"READ ad9361-phy OUTPUT altvoltage0 frequency\r\n", b"11\n2400000000\0\n"),
        (b"READ ad9361-phy OUTPUT RX_LO frequency\r\n", b"11\n2400000000\0\n"),
        (b"READBUF cf-ad9361-lpc 4096\r\n", b"-9\n"),
        (b"OPEN cf-ad9361-lpc 1024 3\r\n", b"-22\n"),
        (b"OPEN cf-ad9361-lpc 1024 00000004\r\n", b"-22\n"),
        (b"OPEN cf-ad9361-lpc 1024 00000000\r\n", b"-22\n"),
        (b"OPEN ad9361-phy 1024 00000003\r\n", b"-19\n"),
        (b"CLOSE cf-ad9361-lpc\r\n", b"-9\n"),
        (b"\r\n\r\nVERSION\r\n", b"0.25.v0.25  \n"),
        (b"EXIT\r\nVERSION\r\n", b""),
    ],
)
def test_replies(pluto: VirtualPluto, written: bytes, heard: bytes):
    """libiio v0.24's iiod: codes, the NUL that an attribute's length counts, ids and names alike."""
    assert talk(pluto, written) == heard


def test_a_refused_write_consumes_its_payload(pluto: VirtualPluto):
    """The next command is understood, so the stream stays in step; also where the length is beyond all sense."""
    wrong = b"WRITE ad9361-phy OUTPUT altvoltage0 frequency 4\r\nabc\0"
    large = b"WRITE ad9361-phy filter_fir_config 100000\r\n" + b"x" * 100_000
    assert talk(pluto, wrong + b"VERSION\r\n") == b"-22\n0.25.v0.25  \n"
    assert talk(pluto, large + b"VERSION\r\n") == b"-22\n0.25.v0.25  \n"
    assert talk(pluto, b"WRITE ad9361-phy filter_fir_config 999999999\r\n" + b"x" * 10_000) == b""


def test_a_read_of_samples_has_the_mask_once_and_comes_in_blocks(pluto: VirtualPluto):
    """12 samples of I and Q from a buffer of 8: 32 bytes with the mask line, then 16 without."""
    heard = talk(pluto, b"OPEN cf-ad9361-lpc 8 00000003\r\nREADBUF cf-ad9361-lpc 48\r\n")
    assert heard == b"0\n" + b"32\n00000003\n" + bytes(32) + b"16\n" + bytes(16)


def test_a_transmit_buffer_takes_blocks_and_refuses_more_than_one(pluto: VirtualPluto):
    written = b"OPEN cf-ad9361-dds-core-lpc 4 00000003\r\nWRITEBUF cf-ad9361-dds-core-lpc 16\r\n" + bytes(16)
    assert talk(pluto, written + b"CLOSE cf-ad9361-dds-core-lpc\r\n") == b"0\n0\n16\n0\n"
    assert talk(pluto, written + b"WRITEBUF cf-ad9361-dds-core-lpc 32\r\n") == b"0\n0\n16\n-22\n"
    cyclic = written.replace(b"0003\r", b"0003 CYCLIC\r")
    again = b"WRITEBUF cf-ad9361-dds-core-lpc 16\r\n" + bytes(16)
    assert talk(pluto, cyclic + again) == b"0\n0\n16\n0\n-16\n"


def test_a_buffer_that_no_air_moves_times_out(pluto: VirtualPluto):
    """Nobody receives and time stands still: the fifth block of four finds no room."""
    block = b"WRITEBUF cf-ad9361-dds-core-lpc 16\r\n" + bytes(16)
    written = b"OPEN cf-ad9361-dds-core-lpc 4 00000003\r\n" + 5 * block
    heard = talk(pluto, written + b"EXIT\r\n", patience_s=float("inf"))
    assert heard == b"0\n" + 4 * b"0\n16\n" + b"0\n-110\n"


def test_a_cyclic_buffer_is_shared_with_nobody(pluto: VirtualPluto):
    """As in iiod: EBUSY for whoever comes second, cyclic or not, until the first is gone; others share."""
    ether = Ether([pluto], [], 0.0)
    cyclic = parse(b"OPEN cf-ad9361-dds-core-lpc 8 00000003 CYCLIC")
    plain = parse(b"OPEN cf-ad9361-dds-core-lpc 8 00000003")
    assert cyclic is not None
    assert plain is not None
    for one, two in ((cyclic, plain), (plain, cyclic), (cyclic, cyclic)):
        first = ether.open(pluto, TX, one)
        with pytest.raises(Refused) as refused:
            ether.open(pluto, TX, two)
        assert refused.value.number == errno.EBUSY
        ether.close(pluto, first)
    assert not pluto.tx_buffers
    ether.open(pluto, TX, plain)
    ether.open(pluto, TX, plain)
    assert len(pluto.tx_buffers) == 2


def test_a_client_that_takes_too_little_is_cut_off_within_one_limit(pluto: VirtualPluto, monkeypatch):
    """It takes a few bytes now and then of an answer of 4 MB: each of them does not begin the limit anew."""
    monkeypatch.setattr("testbed.air.iiod.client.SEND_LIMIT_S", 0.6)
    monkeypatch.setattr("testbed.air.iiod.client.SLOWEST_BYTES_S", 1e12)
    ours, theirs = socket.socketpair()
    client = Client(pluto, Ether([pluto], [], 0.0), theirs, threading.Lock())
    ended: list[BaseException] = []

    def serve() -> None:
        try:
            client.run()
        except OSError as error:
            ended.append(error)
        finally:
            client.close()
            theirs.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    ours.sendall(b"OPEN cf-ad9361-lpc 1000000 00000003\r\nREADBUF cf-ad9361-lpc 4000000\r\n")
    for _ in range(100):
        thread.join(0.1)
        if not thread.is_alive():
            break
        ours.recv(100)
    assert not thread.is_alive()
    assert isinstance(ended[0], TimeoutError)
    assert (pluto.clients, pluto.rx_buffers) == (0, [])
    ours.close()


def test_a_line_without_end_is_cut_off(pluto: VirtualPluto):
    assert talk(pluto, b"READ " + b"x" * 5000 + b"\r\nVERSION\r\n") == b""
    assert protocol.MAX_LINE <= 1024


def test_a_second_server_of_an_address_is_refused():
    where = own_address()
    (first,) = present([where])
    try:
        with pytest.raises(AddressInUse, match=where):
            present([where])
    finally:
        first.close()
