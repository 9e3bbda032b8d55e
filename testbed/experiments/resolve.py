"""From a scenario to each process's configuration: addresses, radios, shares. Starts nothing."""

from __future__ import annotations

import secrets
import shlex
import socket
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Union

import msgspec

from testbed.codec.registry import open_codec
from testbed.config import (
    AirConfig,
    AirPort,
    EdgeConfig,
    EdgePart,
    Scenario,
    ServerConfig,
    dump,
    picture_share,
    switches_of,
)
from testbed.errors import AddressInUse, RadioNotFound, ScenarioError
from testbed.experiments.external import WAIT_S, samples_given
from testbed.experiments.plutos import ONE_CLOCK, loopback_pluto, unserved, with_wait
from testbed.experiments.tasks import lay_sources, require_kind, task_of
from testbed.files import write_aside
from testbed.radio.base import RadioSettings
from testbed.radio.registry import check_uri, require_driver
from testbed.record.folder import SCENARIO, node_name

# Below Linux's range of ephemeral ports (32768..60999), so that no outgoing connection takes one meanwhile.
FREE_PORTS = range(20_000, 32_000)
TRIES = 50
NONE: Mapping[str, str] = MappingProxyType({})

NodeConfig = Union[AirConfig, ServerConfig, EdgeConfig]  # noqa: UP007 - msgspec reads it at runtime on 3.10


class Node(msgspec.Struct, frozen=True):
    """One process of a run: its name, its command (server, air or edge) and its configuration."""

    name: str
    kind: str
    config: NodeConfig


def resolve(scenario: Scenario, external: Mapping[str, str] = NONE) -> list[Node]:
    """Every process of a scenario, in the order in which they start: server, air, edges.

    ``external`` holds nodes that are left to somebody else's program, each with the pattern of its ports: they are not
    among the processes, and nobody waits for them on the bus. The server's process remains then, too, as the bus.

    Raises
    ------
    ScenarioError
        If some radios are ports of the emulated air and others are not, or some are virtual Plutos that nobody serves
        yet and others are not.
    AddressInUse
        If no free ports are found.
    """
    server = scenario.server
    own = {server.name: server.radio} | {edge.name: edge.radio for edge in scenario.edges}
    emulated = [name for name, radio in own.items() if not radio]
    if emulated and len(emulated) != len(own):
        real = sorted(set(own) - set(emulated))
        raise ScenarioError(
            f"{', '.join(real)} have radios of their own, {', '.join(emulated)} have none: "
            "give each a radio, or none, so that the emulated air carries all"
        )
    wanted = 1 + (len(scenario.edges) + server.antennas if emulated else 0)
    base = scenario.net.port_base or free_base(scenario.net.plain_host, wanted)
    virtual = {name: pluto for name, radio in own.items() if (pluto := loopback_pluto(radio))}
    presented = unserved(own, virtual)
    addresses = [scenario.net.endpoint(base + i) for i in range(wanted)]
    control, ports = addresses[0], addresses[1:]

    patient = f",wait_s={WAIT_S}" if external else ""
    waits = scenario.air.pace == "lockstep" or scenario.air.name in external
    paced = "" if waits else f",pace={scenario.air.pace}"

    def radio_of(name: str, port: str) -> str:
        """A node's radio: its own, or its port of the air. A Pluto that the air presents may come up after the node."""
        return with_wait(own[name]) if presented else own[name] or port + paced + patient

    tx = dict(zip((edge.name for edge in scenario.edges), ports, strict=False))
    rx = ports[len(scenario.edges) :]
    edges = [
        Node(
            edge.name,
            "edge",
            edge_config(scenario, edge, control, radio_of(edge.name, f"zmq:tx_port={tx.get(edge.name)}")),
        )
        for edge in scenario.edges
        if edge.name not in external
    ]
    air = []

    def port_of(name: str) -> dict[str, Any]:
        return {"name": name, "pattern": external.get(name, "req-rep"), "external": name in external}

    if scenario.air.radios and (emulated or (presented and scenario.air.pace != "realtime")):
        raise ScenarioError(ONE_CLOCK)
    if emulated:
        served = [AirPort(**port_of(e.name), user=e.user, tx=[tx[e.name]]) for e in scenario.edges]
        served.append(AirPort(**port_of(server.name), user=None, rx=rx))
        air = [air_node(scenario, control, served)]
    elif presented:
        served = [AirPort(name=e.name, user=e.user, pluto=virtual[e.name]) for e in scenario.edges]
        served.append(AirPort(name=server.name, user=None, pluto=virtual[server.name], antennas=server.antennas))
        air = [air_node(scenario, control, served)]
    if scenario.air.name in external:
        air = []
    listens = ",".join(f"rx_port{i or ''}={address}" for i, address in enumerate(rx))
    config = ServerConfig(
        seed=scenario.seed,
        control=control,
        waveform=scenario.waveform,
        server=server,
        radio=radio_of(server.name, f"zmq:{listens}"),
        codec=scenario.codec.name,
        provider=scenario.codec.provider,
        expects=[node.name for node in air + edges],
        users={edge.name: edge.user for edge in scenario.edges},
        beacon=scenario.beacon if len(scenario.edges) > 1 else None,
        max_pixels=scenario.max_pixels,
        record=scenario.record,
        switches=[
            msgspec.structs.replace(switch, edge=edge.name)
            for edge in scenario.edges
            for switch in switches_of(scenario, edge.name)
            if edge.name not in external
        ],
        external=samples_given(scenario, external),
    )
    return [Node(server.name, "server", config), *air, *edges]


def air_node(scenario: Scenario, control: str, ports: list[AirPort]) -> Node:
    """The air that serves these ports."""
    config = AirConfig(seed=scenario.seed, control=control, waveform=scenario.waveform, air=scenario.air, ports=ports)
    return Node(scenario.air.name, "air", config)


def edge_config(scenario: Scenario, edge: EdgePart, control: str, radio: str) -> EdgeConfig:
    """What one edge is told. Edges that read one folder share its pictures."""
    return EdgeConfig(
        seed=scenario.seed,
        control=control,
        waveform=scenario.waveform,
        edge=edge,
        radio=radio,
        codec=scenario.codec.name,
        provider=scenario.codec.provider,
        share=picture_share(scenario, edge),
        beacon=scenario.beacon if len(scenario.edges) > 1 else None,
        max_pixels=scenario.max_pixels,
        repeat=scenario.repeat,
        switches=[switch.at_frame for switch in switches_of(scenario, edge.name)],
    )


def free_base(host: str, count: int) -> int:
    """The first of ``count`` neighbouring ports that nobody holds."""
    for _ in range(TRIES):
        base = FREE_PORTS.start + secrets.randbelow(len(FREE_PORTS) - count)
        if not any(taken(host, base + i) for i in range(count)):
            return base
    raise AddressInUse(f"no {count} free ports on {host} in {FREE_PORTS.start}..{FREE_PORTS.stop}: set net.port_base")


def taken(host: str, port: int) -> bool:
    """Whether a port cannot be bound. A host that is not this machine's is not judged here."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as ZeroMQ does: TIME_WAIT does not count
        try:
            probe.bind((host, port))
            probe.listen(1)
        except PermissionError:
            return True
        except OSError as error:
            return "in use" in str(error)
    return False


def require_usable(scenario: Scenario, remote: Collection[str] = ()) -> None:
    """Refuse, before anything is started, radios that are written wrongly and codecs that do not work.

    ``remote`` names edges on other machines, which may have drivers that this one has not.

    Raises
    ------
    RadioError, CodecError
        In the words in which a node would say it.
    """
    rate_hz, server = scenario.waveform.sample_rate_hz, scenario.server
    wanted = {server.name: (server.radio, RadioSettings(rate_hz, rx_channels=server.antennas))}
    wanted |= {edge.name: (edge.radio, RadioSettings(rate_hz, tx_channels=1)) for edge in scenario.edges}
    for name, (radio, settings) in wanted.items():
        try:
            if radio:
                check_uri(radio, settings)
        except RadioNotFound:
            if name not in remote:
                raise
    for codec in dict.fromkeys([scenario.codec.name, *(switch.codec for switch in scenario.switches)]):
        opened = open_codec(codec, provider=scenario.codec.provider)
        require_kind(scenario, opened.kind, opened.identity.label)
    if task_of(scenario).test is not None and remote:
        raise ScenarioError(f"task {scenario.task} is dealt by this machine to edges on it, not to {', '.join(remote)}")


def require_drivers(scenario: Scenario, remote: Collection[str] = ()) -> None:
    """Raise MissingExtra, before anything is started, if a radio of this machine lacks what its driver needs.

    ``remote`` names edges on other machines.
    """
    radios = {scenario.server.name: scenario.server.radio} | {edge.name: edge.radio for edge in scenario.edges}
    for name, radio in radios.items():
        if radio and name not in remote:
            require_driver(radio)


def require_free(scenario: Scenario, nodes: list[Node]) -> None:
    """Raise AddressInUse, before anything is started, if one of a fixed range of ports is taken.

    What another program binds, because a node is left to it, may be bound already.
    """
    base = scenario.net.port_base
    if not base:
        return
    for endpoint in bound_here([node.config for node in nodes]):
        port = int(endpoint.rpartition(":")[2])
        if taken(scenario.net.plain_host, port):
            raise AddressInUse(
                f"{endpoint}: this port is taken, perhaps by another run. "
                f"Use --set net.port_base=0 (is {base}) for free ones; ss -ltnp 'sport = :{port}' names who holds it"
            )


def bound_here(configs: Sequence[NodeConfig]) -> list[str]:
    """The endpoints that these nodes bind among those that the scenario chose: the bus, and ports of the air."""
    endpoints: list[str] = []
    for config in configs:
        if isinstance(config, ServerConfig):
            endpoints.append(config.control)
        elif isinstance(config, AirConfig):
            endpoints += [at for port in config.ports for at in (*port.rx, *(() if port.external else port.tx))]
    return endpoints


def write_configs(folder: Path, scenario: Scenario, nodes: list[Node]) -> dict[str, Path]:
    """Write scenario.toml and nodes/<name>.toml; returns each node's file."""
    write_aside(folder / SCENARIO, dump(scenario))
    laid = lay_sources(folder, scenario)
    nodes = [with_images(node, laid[node.name]) if node.name in laid else node for node in nodes]
    return {node.name: write_aside(folder / node_name(node.name), dump(node.config)) for node in nodes}


def with_images(node: Node, images: str) -> Node:
    """An edge whose pictures lie in a folder of its own."""
    assert isinstance(node.config, EdgeConfig)
    edge = msgspec.structs.replace(node.config.edge, images=images)
    return msgspec.structs.replace(node, config=msgspec.structs.replace(node.config, edge=edge, share=(0, 1)))


def by_hand(nodes: list[Node], files: dict[str, Path], out: Path) -> list[str]:
    """The commands to type, one for each node, the server's first, with a comment above each."""
    server = nodes[0].config
    assert isinstance(server, ServerConfig)
    lines = [
        "# Each node gets its own file and this package. Start the server first; it waits for the others.",
        f"# The control bus ({server.control}) and the emulated air bind to this machine alone until they are secured:",
        "# from another machine, forward their ports with ssh -L.",
    ]
    for node in nodes:
        more = f" --out {shlex.quote(str(out))}" if node.kind == "server" else ""
        lines += [f"# {node.name}", f"semtb {node.kind} {shlex.quote(str(files[node.name]))}{more}"]
    return [*lines, "# then", f"semtb report {shlex.quote(str(out))}"]


def presented_plutos(nodes: Sequence[Node]) -> list[str]:
    """Addresses at which the air of these nodes presents Plutos."""
    airs = [node.config for node in nodes if isinstance(node.config, AirConfig)]
    return list(dict.fromkeys(port.pluto for air in airs for port in air.ports if port.pluto))
