"""An air on its own behind ZeroMQ ports: how its ports are written, and what it serves."""

from __future__ import annotations

import io
import json
import threading
from contextlib import redirect_stdout

import numpy as np
import pytest
import zmq

from testbed.air.medium import Medium
from testbed.config import load_scenario
from testbed.errors import ScenarioError
from testbed.experiments.scenario_files import find_scenario
from testbed.experiments.zmq_air import air_between, parse_ports, serve_until
from tests.unit.air.zmq_bench import endpoint, gaussian, until


def test_ports_are_numbers_or_endpoints_with_a_pattern_behind_them():
    found = parse_ports(["tx=47001,rx=47002:sub", "rx=tcp://127.0.0.2:47003:push-pull"])
    assert [(p.kind, p.endpoint, p.pattern) for p in found] == [
        ("tx", "tcp://127.0.0.1:47001", "req-rep"),
        ("rx", "tcp://127.0.0.1:47002", "pub-sub"),
        ("rx", "tcp://127.0.0.2:47003", "push-pull"),
    ]


@pytest.mark.parametrize("text", ["tx=47001", "rx=47002", "tx=0,rx=1", "tx=a,rx=1", "tx=70000,rx=1", "zx=1,rx=1", ""])
def test_other_words_are_refused(text):
    with pytest.raises(ScenarioError, match=r"--zmq.*tx=PORT"):
        parse_ports([text])


def test_an_unknown_pattern_is_named():
    with pytest.raises(ScenarioError, match="pair: no pattern of ZeroMQ"):
        parse_ports(["tx=47001:pair,rx=47002"])


def test_transmitters_are_the_edges_in_turn():
    scenario = load_scenario(find_scenario("two-users"))
    _, _, served = air_between(parse_ports(["tx=1,tx=2,rx=3,rx=4"]), scenario)
    assert [(port.name, port.user) for port in served] == [
        ("edge-1", 0),
        ("edge-2", 1),
        ("server", None),
        ("server", None),
    ]
    assert all(port.external for port in served)
    with pytest.raises(ScenarioError, match="3 transmitters; two-users has 2 edges"):
        air_between(parse_ports(["tx=1,tx=2,tx=5,rx=3"]), scenario)


def test_it_carries_samples_without_a_server_and_tells_of_its_ports(rng, tmp_path, monkeypatch):
    """PUSH in, PULL out, a cable between: bit for bit what the medium gives; one line of JSON at least; then it ends
    when it is told to. --set without a scenario is refused."""
    monkeypatch.setenv("SEMTB_AIR_FOLDER", str(tmp_path / "s"))
    with pytest.raises(ScenarioError, match="name it by --scenario"):
        serve_until(["tx=1,rx=2"], None, ["air.snr_db=3"], None, "", False, lambda: True, print)
    tx, rx = endpoint(), endpoint()
    ending, said, out = threading.Event(), [], io.StringIO()

    def run() -> None:
        serve_until([f"tx={tx}:push,rx={rx}:pull"], None, [], 5, "", True, ending.is_set, said.append)

    x = gaussian(rng, 14_400)
    with zmq.Context() as context, context.socket(zmq.PUSH) as push, context.socket(zmq.PULL) as pull:
        for socket in (push, pull):
            socket.setsockopt(zmq.LINGER, 0)
        push.bind(tx)
        pull.connect(rx)
        with redirect_stdout(out):
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            push.send(x.tobytes())
            assert pull.poll(20_000)
            got = np.frombuffer(pull.recv(), np.complex64)
            until(lambda: out.getvalue().count("\n"))
            ending.set()
            thread.join(10)
    assert not thread.is_alive()
    waveform, air, _ = air_between(parse_ports([f"tx={tx}:push,rx={rx}:pull"]), None)
    assert np.array_equal(got, Medium(waveform, air, [0], 1, 5).mix(x[None], 0)[0])
    ports = json.loads(out.getvalue().splitlines()[0])["ports"]
    assert [port["port"] for port in ports] == ["tx0", "rx.rx0"]
    assert said[
        0
    ] == "between the ports: a cable from every transmitter to every receiver, 40 dB of SNR, 1.92 MS/s " + (
        "of complex64, in lock step with its peers"
    )
    assert f"tx0 transmits: bind a ZeroMQ PUSH socket (GNU Radio: ZMQ PUSH Sink) at {tx}" in said
    assert f"rx receives, antenna 0: connect a ZeroMQ PULL socket (GNU Radio: ZMQ PULL Source) to {rx}" in said
