"""From a scenario to node configurations: who meets whom at which address."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from testbed.config import AirConfig, EdgeConfig, ServerConfig, load_node, load_scenario
from testbed.errors import AddressInUse, ScenarioError
from testbed.experiments import resolve as resolving
from testbed.experiments.resolve import require_free, resolve, write_configs
from testbed.experiments.scenario_files import find_scenario, open_scenario, shipped_scenarios
from testbed.experiments.simulate import simulate


def two_users(*settings: str, images: str | None = None):
    return open_scenario("two-users", list(settings), None, images)


def configs(*settings: str, images: str | None = None) -> dict[str, AirConfig | ServerConfig | EdgeConfig]:
    return {node.name: node.config for node in resolve(two_users(*settings, images=images))}


def test_every_end_that_somebody_binds_is_where_another_connects():
    """Each edge's tx port is asked by the air, each of the server's rx ports is served by it; all addresses differ."""
    resolved = configs()
    air = resolved["air"]
    assert isinstance(air, AirConfig)
    ports = {port.name: port for port in air.ports}
    for name in ("edge-1", "edge-2"):
        edge = resolved[name]
        assert isinstance(edge, EdgeConfig)
        assert edge.radio == f"zmq:tx_port={ports[name].tx[0]}"
        assert ports[name].user == edge.edge.user
    server = resolved["server"]
    assert isinstance(server, ServerConfig)
    assert server.radio == f"zmq:rx_port={ports['server'].rx[0]},rx_port1={ports['server'].rx[1]}"
    assert ports["server"].user is None
    every = [server.control, *ports["server"].rx, *ports["edge-1"].tx, *ports["edge-2"].tx]
    assert len(set(every)) == 5
    assert {config.control for config in resolved.values()} == {server.control}


def test_the_server_expects_exactly_the_others_and_knows_who_is_which_user():
    server = configs()["server"]
    assert isinstance(server, ServerConfig)
    assert sorted(server.expects) == ["air", "edge-1", "edge-2"]
    assert server.users == {"edge-1": 0, "edge-2": 1}


def test_the_server_starts_first():
    assert [node.kind for node in resolve(two_users())] == ["server", "air", "edge", "edge"]


def test_a_port_base_is_kept():
    server = configs("net.port_base=31000")["server"]
    assert isinstance(server, ServerConfig)
    assert server.control == "tcp://127.0.0.1:31000"


@pytest.mark.parametrize(
    ("host", "written"), [("[::1]", "[::1]"), ("::1", "[::1]"), ("localhost", "127.0.0.1"), ("127.0.0.3", "127.0.0.3")]
)
def test_bus_and_radios_meet_at_the_same_host(host: str, written: str):
    scenario = load_scenario(find_scenario("two-users"), [f"net.host={host}", "net.port_base=20000"])
    server, air, edge, _ = resolve(scenario)
    assert server.config.control == air.config.control == f"tcp://{written}:20000"
    assert edge.config.radio == f"zmq:tx_port=tcp://{written}:20001"
    assert air.config.ports[0].tx == [f"tcp://{written}:20001"]


@pytest.mark.parametrize("host", ["", "my host", "[::1", "127.0.0.1:5", "example.org"])
def test_a_host_that_is_no_address_is_refused_before_anything_starts(host: str):
    with pytest.raises(ScenarioError, match=r"net.host = .*allowed: an address such as"):
        load_scenario(find_scenario("two-users"), [f"net.host={host}"])


def test_more_antennas_have_more_ports():
    server = configs("server.antennas=4")["server"]
    assert isinstance(server, ServerConfig)
    assert server.radio.count("tcp://") == 4


def test_edges_of_one_folder_share_it_and_others_do_not(tmp_path: Path):
    shared = configs(images=str(tmp_path))
    assert [shared[name].share for name in ("edge-1", "edge-2")] == [(0, 2), (1, 2)]  # type: ignore[union-attr]
    alone = configs(f"edges.edge-1.images={tmp_path}")
    assert [alone[name].share for name in ("edge-1", "edge-2")] == [(0, 1), (0, 1)]  # type: ignore[union-attr]


def test_paths_are_absolute_so_that_any_process_understands_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    resolved = configs("codec.name=mine/card.json", images="photos")
    edge = resolved["edge-1"]
    assert isinstance(edge, EdgeConfig)
    assert edge.edge.images == str(tmp_path / "photos")
    assert edge.codec == str(tmp_path / "mine" / "card.json")


def test_radios_of_their_own_need_no_air():
    radios = [f"edges.{name}.radio=pluto:ip:192.168.2.{i}" for i, name in enumerate(("edge-1", "edge-2"))]
    resolved = configs("server.radio=pluto:ip:192.168.2.9", *radios)
    assert sorted(resolved) == ["edge-1", "edge-2", "server"]
    assert resolved["server"].expects == ["edge-1", "edge-2"]  # type: ignore[union-attr]


def test_half_emulated_is_refused():
    with pytest.raises(ScenarioError, match="edge-1 have radios of their own"):
        configs("edges.edge-1.radio=pluto:ip:192.168.2.1")


def test_radios_with_clocks_of_their_own_are_refused_where_all_share_one():
    """ZeroMQ ports at any pace, and simulation: `air.radios` would be ignored there."""
    clocks = ['air.radios=[{name="edge-1", oscillator={ppm=20.0}}]']
    for settings in (clocks, [*clocks, "air.pace=realtime"]):
        with pytest.raises(ScenarioError, match=r"air.radios: .*virtual Plutos in real pace.*air.pace = \"realtime\""):
            resolve(two_users(*settings))
    with pytest.raises(ScenarioError, match=r"air.radios: "):
        simulate(two_users(*clocks))


def test_what_is_written_is_what_was_resolved(tmp_path: Path):
    """TOML and back, every node and the scenario; running the written scenario resolves the same."""
    scenario = two_users("air.common_cfo_hz=1234.5", "net.port_base=31000")
    nodes = resolve(scenario)
    files = write_configs(tmp_path, scenario, nodes)
    for node in nodes:
        assert load_node(files[node.name], type(node.config)) == node.config
    assert load_scenario(tmp_path / "scenario.toml") == scenario
    assert resolve(load_scenario(tmp_path / "scenario.toml")) == nodes


def test_the_printed_commands_name_every_file(tmp_path: Path):
    scenario = two_users()
    nodes = resolve(scenario)
    lines = resolving.by_hand(nodes, write_configs(tmp_path, scenario, nodes), tmp_path)
    commands = [line for line in lines if not line.startswith("#")]
    assert [line.split()[:2] for line in commands] == [
        ["semtb", k] for k in ("server", "air", "edge", "edge", "report")
    ]
    assert all(Path(line.split()[2]).exists() for line in commands)


@pytest.mark.parametrize("name", ["two-user", "nothing-like-it", "missing/scenario.toml"])
def test_an_unknown_scenario_lists_the_known(name: str):
    with pytest.raises(ScenarioError, match="two-users"):
        find_scenario(name)


def test_a_taken_port_is_named_before_anything_starts():
    base = resolving.free_base("127.0.0.1", 5)
    port = base + 3
    with socket.create_server(("127.0.0.1", port)):
        scenario = two_users(f"net.port_base={base}")
        with pytest.raises(AddressInUse, match=rf"tcp://127\.0\.0\.1:{port}.*net\.port_base=0"):
            require_free(scenario, resolve(scenario))


def test_free_ports_avoid_those_that_are_held(monkeypatch: pytest.MonkeyPatch):
    """With a range of seven ports and the lowest held, the block of five is found above it."""
    port = resolving.free_base("127.0.0.1", 7)
    with socket.create_server(("127.0.0.1", port)):
        monkeypatch.setattr(resolving, "FREE_PORTS", range(port, port + 7))
        assert resolving.taken("127.0.0.1", port)
        assert resolving.free_base("127.0.0.1", 5) == port + 1


@pytest.mark.parametrize("name", sorted(shipped_scenarios()))
def test_every_shipped_scenario_resolves_and_reads_back(name, tmp_path):
    """Loaded, resolved into node files, and the scenario as written is the scenario as read."""
    scenario = open_scenario(name, [], None, None)
    assert scenario.name == name
    files = write_configs(tmp_path, scenario, resolve(scenario))
    assert {"server", *(edge.name for edge in scenario.edges)} <= set(files)
    assert load_scenario(tmp_path / "scenario.toml") == scenario
