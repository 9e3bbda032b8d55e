"""Which radios are virtual Plutos, and which of them a run's air has to present."""

from __future__ import annotations

import json
import socket

import msgspec
import pytest

from testbed.air.iiod.air import present
from testbed.config import AirConfig, Oscillator, RadioModel, load_scenario
from testbed.errors import ScenarioError
from testbed.experiments import live_line, plutos
from testbed.experiments.plutos import IIOD_PORT, loopback_pluto, radio_settings
from testbed.experiments.resolve import presented_plutos, resolve
from testbed.experiments.scenario_files import find_scenario, open_scenario
from tests.addresses import own_address

FREE = (own_address(), own_address(), own_address())


def settings(*addresses: str) -> list[str]:
    nodes = ("edges.edge-1", "edges.edge-2", "server")
    return [f"{n}.radio=pluto:ip:{a},rx_gain_db=20" for n, a in zip(nodes, addresses, strict=False)]


@pytest.mark.parametrize(
    "uri, address",
    [
        ("pluto:ip:127.0.0.2", "127.0.0.2"),
        ("pluto:ip:127.9.8.7,lo_hz=2.4e9", "127.9.8.7"),
        ("pluto:ip:127.0.0.1", ""),  # this machine itself may forward to a real one
        ("pluto:ip:192.168.2.1", ""),
        ("pluto:ip:pluto.local", ""),
        ("pluto:usb:1.4.5", ""),
        ("zmq:tx_port=tcp://127.0.0.2:47010", ""),
        ("", ""),
    ],
)
def test_only_loopback_addresses_are_virtual(uri: str, address: str):
    assert loopback_pluto(uri) == address


def test_the_air_presents_plutos_that_nobody_serves():
    """Three addresses, each with its node's role; the nodes wait for them; a run without Plutos is as it was."""
    nodes = resolve(open_scenario("two-users", settings(*FREE), 3, None))
    assert [node.name for node in nodes] == ["server", "air", "edge-1", "edge-2"]
    assert presented_plutos(nodes) == list(FREE)
    air = nodes[1].config
    assert isinstance(air, AirConfig)
    assert [(port.user, port.pluto, port.antennas) for port in air.ports] == [
        (0, FREE[0], 1),
        (1, FREE[1], 1),
        (None, FREE[2], 2),
    ]
    assert nodes[0].config.expects == ["air", "edge-1", "edge-2"]
    assert all(
        f"pluto:ip:{a},rx_gain_db=20,wait_s=" in n.config.radio
        for a, n in zip(FREE, [*nodes[2:], nodes[0]], strict=True)
    )
    assert presented_plutos(resolve(open_scenario("two-users", [], 3, None))) == []


def test_plutos_that_are_served_need_no_air():
    servers = []
    try:
        for address in FREE:
            servers.append(socket.create_server((address, IIOD_PORT)))
        nodes = resolve(open_scenario("two-users", settings(*FREE), 3, None))
    finally:
        for server in servers:
            server.close()
    assert [node.name for node in nodes] == ["server", "edge-1", "edge-2"]
    assert nodes[0].config.radio == f"pluto:ip:{FREE[2]},rx_gain_db=20"


def test_radios_that_share_no_air_are_refused():
    with pytest.raises(ScenarioError, match=rf"nobody serves the virtual Pluto at {FREE[0]}, and server, edge-2"):
        resolve(open_scenario("two-users", settings(FREE[0], "192.168.2.1", "192.168.3.1"), 3, None))


def test_radio_options_become_settings_of_their_nodes():
    assert radio_settings("two-users", ["server=pluto:ip:127.0.0.4", "edge-2=zmq:a=b"]) == [
        "server.radio=pluto:ip:127.0.0.4",
        "edges.edge-2.radio=zmq:a=b",
    ]
    for wrong in ("edge-3=pluto:ip:127.0.0.2", "edge-1"):
        with pytest.raises(ScenarioError, match="nodes with a radio here: edge-1, edge-2, server"):
            radio_settings("two-users", [wrong])


@pytest.mark.needs("pluto", "libiio")
def test_the_list_of_radios_shows_a_virtual_pluto(monkeypatch):
    """Also where libiio's own scan fails, as it does without Avahi."""
    monkeypatch.setattr(plutos, "LOOKED_AT", FREE[:2])
    (server,) = present(FREE[:1])
    try:
        answers = plutos.found()
    finally:
        server.close()
    assert "virtual" in answers[f"pluto:ip:{FREE[0]}"]
    assert f"pluto:ip:{FREE[1]}" not in answers


@pytest.mark.parametrize(
    "addresses, channels, scenario, message",
    [
        (1, 1, None, "it hears itself: a cable, 40 dB of SNR"),
        (2, 2, None, "between them: a cable for each channel, 40 dB of SNR: TX1 to RX1, TX2 to RX2, nothing across"),
        (2, 1, "two-users", "between them: the air of two-users, every transmit channel at every antenna"),
    ],
)
def test_it_says_what_lies_between_the_plutos(addresses: int, channels: int, scenario: str | None, message: str):
    lines: list[str] = []
    presented = [own_address() for _ in range(addresses)]
    plutos.present_until(presented, channels, scenario, [], None, lambda: True, lines.append)
    assert lines[0] == message
    assert [address in line for address, line in zip(presented, lines[1:], strict=True)] == [True] * addresses


def test_cables_and_ports_in_real_pace(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    """Two Plutos, a cable one way: what is said, and a line of JSON that names every port."""
    monkeypatch.setattr(live_line, "EVERY_S", 0.0)
    presented = [own_address(), own_address()]
    lines: list[str] = []
    looks = iter([False, False, True])
    cables = ["A.tx1=2.rx1,40"]
    plutos.present_until(presented, 1, None, [], None, lambda: next(looks), lines.append, cables=cables, as_json=True)
    assert lines[0] == "between them, in real pace: A.tx1=2.rx1,40"
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(shown) == 2
    ports = [f"pluto-{i}.{side}1" for i in (1, 2) for side in ("tx", "rx")]
    assert [port["port"] for port in shown[-1]["ports"]] == ports


@pytest.mark.parametrize("more, match", [
    ({"scenario": "two-users", "cables": ["A.tx1=B.rx1,40"]}, "one of them"),
    ({"scenario": "two-users", "pace": "realtime", "count": 4}, "edge-1, edge-2, server"),
    ({"cables": ["A.tx1=B.rx1,40"], "pace": "lockstep"}, "real pace"),
])  # fmt: skip
def test_what_does_not_go_together_is_said(more: dict, match: str):
    addresses = [own_address() for _ in range(more.pop("count", 2))]
    scenario = more.pop("scenario", None)
    with pytest.raises(ScenarioError, match=match):
        plutos.present_until(addresses, 1, scenario, [], None, lambda: True, lambda line: None, **more)


def test_plutos_of_a_scenario_in_real_pace_are_its_nodes():
    """Edges in the order of their user numbers, then the server; each with its own radio of the scenario."""
    known = load_scenario(find_scenario("two-users"))
    radios = [RadioModel("edge-2", Oscillator(ppm=7.0))]
    chosen = msgspec.structs.replace(known, air=msgspec.structs.replace(known.air, radios=radios))
    models = plutos.node_models(chosen, 3)
    assert [(model.name, model.oscillator.ppm) for model in models] == [("edge-1", 0), ("edge-2", 7), ("server", 0)]
