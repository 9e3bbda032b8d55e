"""Nodes that are left to other programs: who is started, who is waited for, and what the person is told."""

from __future__ import annotations

import socket

import msgspec
import pytest

from testbed.config import AirConfig, EdgeConfig, Net, Scenario, ServerConfig, load_scenario
from testbed.errors import AddressInUse, ScenarioError
from testbed.experiments.external import parse_external, wiring
from testbed.experiments.resolve import require_free, resolve
from testbed.experiments.scenario_files import find_scenario


@pytest.fixture
def scenario() -> Scenario:
    return load_scenario(find_scenario("two-users"), ["net.port_base=24000", "max_pixels=4096"])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["edge-3"], "no such node; nodes here: edge-1, edge-2, air, server"),
        (["edge-1", "edge-1:pub"], "named twice"),
        (["edge-1:pair"], "no pattern of ZeroMQ that is spoken here: req-rep, req, rep, pub-sub, pub"),
        (["air:pub"], "air has no pattern to choose"),
        (["edge-1", "edge-2", "server"], "the air alone is `semtb air --zmq"),
    ],
)
def test_what_cannot_be_left_out_is_refused(scenario, given, says):
    with pytest.raises(ScenarioError, match=says):
        parse_external(scenario, given)


@pytest.mark.parametrize("word", ["pub", "sub", "pub-sub"])
def test_a_pattern_has_three_names(scenario, word):
    assert parse_external(scenario, [f"edge-1:{word}"]) == {"edge-1": "pub-sub"}


def test_a_pattern_is_for_ports_of_the_air(scenario):
    own = load_scenario(
        find_scenario("two-users"),
        ["edges.0.radio=zmq:tx_port=x", "edges.1.radio=zmq:tx_port=y", "server.radio=zmq:rx_port=z"],
    )
    with pytest.raises(ScenarioError, match="a radio of its own"):
        parse_external(own, ["edge-1:pub"])


def test_an_edge_that_is_left_out_is_neither_started_nor_waited_for(scenario):
    """The others are as before but for their patience; the run is as long as the longest of the edges would send."""
    external = parse_external(scenario, ["edge-1:pub"])
    nodes = {node.name: node.config for node in resolve(scenario, external)}
    whole = {node.name: node.config for node in resolve(scenario)}
    assert list(nodes) == ["server", "air", "edge-2"]
    server, air, edge = nodes["server"], nodes["air"], nodes["edge-2"]
    assert isinstance(server, ServerConfig)
    assert isinstance(air, AirConfig)
    assert isinstance(edge, EdgeConfig)
    assert server.expects == ["air", "edge-2"]
    assert server.users == {"edge-1": 0, "edge-2": 1}
    assert server.external["edge-1"] > scenario.waveform.frame_samples
    assert [(port.name, port.pattern, port.external) for port in air.ports] == [
        ("edge-1", "pub-sub", True),
        ("edge-2", "req-rep", False),
        ("server", "req-rep", False),
    ]
    assert edge.radio == whole["edge-2"].radio + ",wait_s=3600"
    lines = wiring(scenario, "two-users", nodes, external)
    assert "binds a ZeroMQ PUB socket (GNU Radio: ZMQ PUB Sink) at tcp://127.0.0.1:24001" in lines[0]
    assert "1.92 MS/s" in lines[1]
    assert "-12 dBFS rms (0.251 of full scale 1.0)" in lines[1]
    assert "air.snr_db = 20 refers to that" in lines[1]
    assert "semtb frames two-users --edge edge-1" in lines[2]


def test_a_server_that_is_left_out_leaves_its_process_as_the_bus(scenario):
    external = parse_external(scenario, ["server:push"])
    nodes = resolve(scenario, external)
    assert [node.name for node in nodes] == ["server", "air", "edge-1", "edge-2"]
    assert nodes[0].config.external == {"server": 0}
    assert nodes[0].config.expects == ["air", "edge-1", "edge-2"]
    lines = wiring(scenario, "two-users", {node.name: node.config for node in nodes}, external)
    assert "connects a ZeroMQ PULL socket (GNU Radio: ZMQ PULL Source)" in lines[0]
    assert lines[1:3] == ["  antenna 0: tcp://127.0.0.1:24003", "  antenna 1: tcp://127.0.0.1:24004"]


def test_an_air_that_is_left_out_leaves_the_ports(scenario):
    external = parse_external(scenario, ["air"])
    nodes = resolve(scenario, external)
    assert [node.name for node in nodes] == ["server", "edge-1", "edge-2"]
    assert nodes[0].config.expects == ["edge-1", "edge-2"]
    lines = wiring(scenario, "two-users", {node.name: node.config for node in nodes}, external)
    for number, name in enumerate(["edge-1", "edge-2"], 1):
        assert f"  {name}: tcp://127.0.0.1:2400{number}" in lines
    assert "  antenna 1: tcp://127.0.0.1:24004" in lines


def test_nodes_at_real_pace_know_it(scenario):
    real = load_scenario(find_scenario("two-users"), ["air.pace=realtime"])
    radios = [node.config.radio for node in resolve(real) if not isinstance(node.config, AirConfig)]
    assert all(radio.endswith(",pace=realtime") for radio in radios)
    assert not any("pace" in n.config.radio for n in resolve(scenario) if not isinstance(n.config, AirConfig))


def test_the_port_of_another_program_may_be_bound_already(scenario):
    """Of a fixed range: what the program binds is not looked at, what our nodes bind is."""
    external = parse_external(scenario, ["edge-1"])
    with socket.socket() as theirs:
        theirs.bind(("127.0.0.1", 0))
        theirs.listen()
        base = theirs.getsockname()[1] - 1
        at_base = msgspec.structs.replace(scenario, net=Net(port_base=base))
        require_free(at_base, resolve(at_base, external))
        with pytest.raises(AddressInUse, match=str(base + 1)):
            require_free(at_base, resolve(at_base))
