"""The air's ports: lock step, foreign and broken peers, and peers that are not there."""

from __future__ import annotations

import itertools
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import zmq

from testbed.air.zmq_ports import AirServer
from testbed.config import AirPort
from testbed.errors import AddressInUse, PeerLost, PeerUnreachable, ScenarioError
from testbed.radio.base import RadioSettings
from testbed.radio.zmq import ZmqRadio
from tests.unit.air.zmq_bench import RATE, benches, fetch, gaussian, serve


@pytest.fixture
def bench() -> Iterator:
    with benches() as make:
        yield make


@pytest.mark.parametrize("block", [700, 14_400])
def test_two_radios_superimpose_at_two_antennas_as_the_medium_says(bench, rng, block):
    """Four radios' worth of sockets, odd piece sizes: bit for bit what `Medium.mix` gives in one go."""
    b = bench(users=2, antennas=2, block=block)
    x = gaussian(rng, 2, 30_000)
    rx_uri = f"zmq:rx_port={b.rx[0]},rx_port1={b.rx[1]}"
    edges = [ZmqRadio(f"zmq:tx_port={where}", RadioSettings(RATE, tx_channels=1)) for where in b.tx]
    b.start(total=31_000)
    try:
        with ZmqRadio(rx_uri, RadioSettings(RATE, rx_channels=2)) as receiver:
            for u, edge in enumerate(edges):
                edge.send(x[u : u + 1, :12_345])
                edge.send(x[u : u + 1, 12_345:])
                threading.Thread(target=edge.finish, daemon=True).start()
            blocks = [receiver.receive(n).samples for n in (1, 9_999, 20_000, 1000)]
            assert b.result() == 31_000
    finally:
        for edge in edges:
            edge.close()
    sent = np.pad(x, ((0, 0), (0, 1000)))
    assert np.array_equal(np.concatenate(blocks, axis=1), b.medium().mix(sent, 0))


def test_a_stopped_receiver_stops_time(bench):
    """Nobody fetches: the transmitter is asked for three blocks at most, whatever the time."""
    b = bench(block=1000)
    one = b.peer(zmq.REP, b.tx[0])
    b.peer(zmq.REQ, b.rx[0])
    b.start()
    asked = serve(one, [[bytes(8 * 1000)]] * 3)
    assert asked == [struct.pack("<I", 1000)] * 3
    assert not one.poll(300)
    assert b.server.served == 2000


def test_short_and_long_answers_are_both_taken(bench, rng):
    """gr-zeromq answers with fewer than asked for, srsRAN with what it has: no sample is lost or doubled."""
    b = bench(block=1000)
    x = gaussian(rng, 4000)
    one, receiver = b.peer(zmq.REP, b.tx[0]), b.peer(zmq.REQ, b.rx[0])
    b.start(total=4000)
    cuts = [0, 1, 1, 400, 3500, 4000]
    answers = [[x[a:z].tobytes()] for a, z in itertools.pairwise(cuts)]
    asked: list[bytes] = []
    feeder = threading.Thread(target=lambda: asked.extend(serve(one, answers)))
    feeder.start()
    got: list[np.ndarray] = []
    while sum(map(len, got)) < 4000:
        got.append(fetch(receiver, struct.pack("<I", 333)))
    feeder.join(5)
    assert b.result() == 4000
    assert [int.from_bytes(a, "little") for a in asked] == [1000, 999, 999, 600, 500]
    assert max(map(len, got)) == 333
    assert np.array_equal(np.concatenate(got), b.medium().mix(x[None], 0)[0])


def test_srsrans_request_gets_at_most_a_millisecond(bench):
    b = bench(block=5000)
    one, receiver = b.peer(zmq.REP, b.tx[0]), b.peer(zmq.REQ, b.rx[0])
    b.start(total=5000)
    serve(one, [[bytes(8 * 5000)]])
    assert [len(fetch(receiver, b"\xff")) for _ in range(3)] == [1920, 1920, 1160]


def test_broken_peers_are_counted_by_name_and_the_stream_goes_on(bench, rng):
    """13 bytes, two frames, NaN; a request of 3 bytes: each counted; what is not finite becomes silence."""
    b = bench(block=100)
    x = gaussian(rng, 100)
    bad = x.copy()
    bad[7] = complex(np.nan, 1)
    bad[9] = complex(1, np.inf)
    one, receiver = b.peer(zmq.REP, b.tx[0]), b.peer(zmq.REQ, b.rx[0])
    b.start(total=100)
    serve(one, [[b"x" * 13], [bytes(8), bytes(8)], [b""], [bad.tobytes()]])
    assert len(fetch(receiver, b"abc")) == 0
    got = fetch(receiver, struct.pack("<I", 0xFFFFFFFF))
    assert b.result() == 100
    x[[7, 9]] = 0
    assert np.array_equal(got, b.medium().mix(x[None], 0)[0])
    culprit = next(e for e in b.server.events if "request" in e)
    assert re.fullmatch(
        rf"receiver server at {b.rx[0]}: 127.0.0.1:\d+ sent a request of 3 bytes: allowed are 4 and 1", culprit
    )
    assert b.server.events == {
        f"transmitter edge-1 at {b.tx[0]}: answer that is no whole number of samples": 2,
        f"transmitter edge-1 at {b.tx[0]}: samples that are not finite": 2,
        culprit: 1,
    }


def test_an_absent_transmitter_is_named_with_the_reason(bench):
    b = bench(users=2, timeout_s=0.3)
    b.peer(zmq.REP, b.tx[0])
    b.peer(zmq.REQ, b.rx[0])
    b.start(total=100)
    outcome = b.result()
    assert isinstance(outcome, PeerUnreachable)
    assert str(outcome) == f"transmitter edge-2 does not answer at {b.tx[1]} within 0.3 s: connection refused"


def test_something_else_at_a_transmitters_port_is_said(bench):
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        b = bench(timeout_s=0.3)
        b.server.close()
        where = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        ports = [AirPort(name="edge-1", user=0, tx=[where]), b.ports[-1]]
        with (
            AirServer(b.medium(), ports, 100, 0.3) as air,
            pytest.raises(PeerUnreachable, match="no ZeroMQ REP socket"),
        ):
            air.run(lambda: False, 100)


def test_an_absent_receiver_is_named(bench):
    b = bench(timeout_s=0.3)
    one = b.peer(zmq.REP, b.tx[0])
    b.start()
    serve(one, [[bytes(8 * 1000)]] * 2)
    outcome = b.result()
    assert isinstance(outcome, PeerUnreachable)
    assert str(outcome) == f"receiver server does not answer at {b.rx[0]} within 0.3 s: nobody connected"


@pytest.mark.parametrize("who", ["transmitter edge-1", "receiver server"])
def test_a_peer_that_goes_away_is_lost(bench, who):
    """Killed processes close their sockets; the air says who, a second later."""
    b = bench(block=100)
    one, receiver = b.peer(zmq.REP, b.tx[0]), b.peer(zmq.REQ, b.rx[0])
    b.start()
    serve(one, [[bytes(800)]])
    assert len(fetch(receiver, struct.pack("<I", 100))) == 100
    if who.startswith("transmitter"):
        one.close(linger=0)
    else:
        receiver.close(linger=0)
        serve(one, [[bytes(800)]] * 2)
    outcome = b.result()
    assert isinstance(outcome, PeerLost)
    assert str(outcome) == f"{who} at {b.tx[0] if who.startswith('tr') else b.rx[0]} went away"


def test_a_slow_transmitter_is_waited_for(bench):
    """It connects and thinks three times as long as an absent one is given."""
    b = bench(block=100, timeout_s=0.3)
    one, receiver = b.peer(zmq.REP, b.tx[0]), b.peer(zmq.REQ, b.rx[0])
    b.start(total=100)
    one.recv()
    time.sleep(0.9)
    one.send(bytes(800))
    assert len(fetch(receiver, struct.pack("<I", 100))) == 100
    assert b.result() == 100


def test_told_to_stop_it_returns_what_it_served(bench):
    b = bench()
    b.peer(zmq.REP, b.tx[0])
    b.start()
    b.stop.set()
    assert b.result() == 0


def test_a_taken_port_is_named(bench):
    b = bench()
    with pytest.raises(AddressInUse, match=rf"{b.rx[0]} \(for receiver server\) is in use"):
        AirServer(b.medium(), b.ports, 100)
    b.server.close()
    AirServer(b.medium(), b.ports, 100).close()


def test_ports_that_do_not_fit_the_medium_are_refused(bench):
    b = bench()
    b.server.close()
    edge, server = b.ports
    for ports, says in (
        ([server], "users \\[\\]: the medium has \\[0\\]"),
        ([edge], "0 rx endpoints: the medium has 1"),
        ([edge, edge, server], "a user of its own"),
        ([AirPort(name="edge-1", user=0, tx=[b.tx[0], b.rx[0]]), server], "one tx endpoint"),
        ([edge, AirPort(name="server", user=None, rx=b.rx, tx=b.tx)], "no tx endpoint"),
    ):
        with pytest.raises(ScenarioError, match=says):
            AirServer(b.medium(), ports, 100)


def test_a_stopped_process_is_lost(bench):
    """SIGSTOP leaves the connection up; ZMTP heartbeats unmask it within timeout_s + 2 s."""
    b = bench(block=100, timeout_s=0.5)
    code = "import sys, time, zmq; s = zmq.Context().socket(zmq.REP); s.bind(sys.argv[1])"
    code += "; print('bound', flush=True); s.recv(); print('asked', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, b.tx[0]], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "bound\n"
            b.start()
            assert process.stdout.readline() == "asked\n"
            process.send_signal(signal.SIGSTOP)
            outcome = b.result()
        finally:
            process.kill()
    assert isinstance(outcome, PeerLost)
    assert str(outcome) == f"transmitter edge-1 at {b.tx[0]} went away"
