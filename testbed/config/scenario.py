"""A scenario: everything of a run."""

from __future__ import annotations

import ipaddress
import re

from testbed.config.air import Air
from testbed.config.strict import NODE_NAME, Strict, check
from testbed.phy.waveform import Waveform


class Net(Strict, frozen=True):
    """Where processes meet when they run on one machine. ``port_base`` 0 lets ``semtb run`` choose free ports."""

    host: str = "127.0.0.1"  # an address, IPv6 with brackets or without, or localhost
    port_base: int = 0

    def __post_init__(self) -> None:
        try:
            ipaddress.ip_address(self.plain_host)
        except ValueError:
            check(False, "net.host", self.host, "an address such as 127.0.0.1 or [::1], or localhost")
        check(
            self.port_base == 0 or 1024 <= self.port_base <= 65000,
            "net.port_base",
            self.port_base,
            "0 (free ports) or 1024..65000",
        )

    @property
    def plain_host(self) -> str:
        """The address, without brackets."""
        host = self.host[1:-1] if self.host.startswith("[") and self.host.endswith("]") else self.host
        return "127.0.0.1" if host == "localhost" else host

    def endpoint(self, port: int) -> str:
        """``tcp://host:port``"""
        host = self.plain_host
        return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


class CodecChoice(Strict, frozen=True):
    """Which semantic codec encodes and decodes: a name in the zoo, or the path of a card."""

    name: str = "deepjscc-cifar10"
    provider: str = "cpu"  # of ONNX Runtime: cpu, the same bits everywhere; cuda, tensorrt, or auto


class EdgePart(Strict, frozen=True):
    """One edge of a scenario."""

    name: str
    user: int
    images: str = ""  # a folder of PNG or JPEG; empty: the photographs that scikit-learn carries
    radio: str = ""  # URI; empty: a port of the emulated air
    # Encoded before they are due. Left out: 64 where the air waits for samples, all where a radio has its own clock.
    ahead_frames: int | None = None

    def __post_init__(self) -> None:
        ahead = self.ahead_frames
        check(ahead is None or 1 <= ahead <= 1_000_000, "edges.ahead_frames", ahead, "1..1000000")


class Switch(Strict, frozen=True):
    """While the run goes on the server sends an edge another encoder; what is sent from a frame on is made with it."""

    codec: str  # a name in the zoo, or the path of a card; takes no more frames than the codec of the start
    at_frame: int  # the first picture that begins at this frame of the edge, or later
    edge: str = ""  # empty: every edge

    def __post_init__(self) -> None:
        check(0 <= self.at_frame < 2**31, "switches.at_frame", self.at_frame, "0..2^31-1")


class ServerPart(Strict, frozen=True):
    """The server of a scenario."""

    name: str = "server"
    antennas: int = 2
    radio: str = ""
    estimator: str = "lmmse"  # ls, lmmse, lmmse-estimated, dnn, or the path of a trained one's card
    detector: str = "lmmse"  # lmmse, matched-filter, or one that another distribution brings
    receiver: str = "single-pass"
    false_alarms_per_10ms: float = 1e-4
    max_cfo_hz: float = 26_000.0
    tail_s: float = 0.0  # received behind the end: over real radios the edges' first samples come late

    def __post_init__(self) -> None:
        check(1 <= self.antennas <= 16, "server.antennas", self.antennas, "1..16")
        check(
            0 < self.false_alarms_per_10ms < 1,
            "server.false_alarms_per_10ms",
            self.false_alarms_per_10ms,
            "between 0 and 1",
        )
        check(0 <= self.max_cfo_hz <= 200e3, "server.max_cfo_hz", self.max_cfo_hz, "0..200000")
        check(0 <= self.tail_s <= 10, "server.tail_s", self.tail_s, "0..10")


class BeaconPart(Strict, frozen=True):
    """The server's beacon, sent where several edges have radios with clocks of their own."""

    offset_hz: float = 40e6  # of its carrier above the edges': so far, a radio that sends does not deafen itself
    absence_s: float = 30.0  # for which an edge may be gone from the bus before the run ends

    def __post_init__(self) -> None:
        check(1e6 <= abs(self.offset_hz) <= 1e9, "beacon.offset_hz", self.offset_hz, "1e6..1e9 either way")
        check(0 <= self.absence_s <= 3600, "beacon.absence_s", self.absence_s, "0..3600")


class Scenario(Strict, frozen=True):
    """Everything of a run."""

    name: str
    seed: int = 1
    net: Net = Net()
    waveform: Waveform = Waveform()
    codec: CodecChoice = CodecChoice()
    server: ServerPart = ServerPart()
    air: Air = Air()
    beacon: BeaconPart = BeaconPart()
    edges: list[EdgePart] = []
    switches: list[Switch] = []
    task: str = "photographs"  # what the run is for, see testbed.experiments.tasks
    samples: int = 50  # each edge sends, where the task has data of its own
    max_pixels: int = 1_000_000  # larger pictures are resized before encoding
    repeat: int = 1  # how often each edge sends its pictures, one round after the other
    record: bool = False  # keep what the server receives as a SigMF recording in the run folder

    def __post_init__(self) -> None:
        check(0 <= self.seed < 2**63, "seed", self.seed, "0..2^63-1")
        check(1 <= self.samples <= 10_000, "samples", self.samples, "1..10000")
        plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.name) is not None
        check(plain, "name", self.name, "a letter or digit, then letters, digits, '.', '_' and '-', 64 in all")
        check(bool(self.edges), "edges", "[]", "at least one [[edges]] table")
        check(1 <= self.repeat <= 10_000, "repeat", self.repeat, "1..10000")
        check(self.max_pixels >= 256, "max_pixels", self.max_pixels, "at least 256")
        users = [e.user for e in self.edges]
        slots = self.waveform.pilot_slots
        check(len(set(users)) == len(users), "edges.user", users, "each user once")
        check(
            all(0 <= u < slots for u in users), "edges.user", users, f"0..{slots - 1} (waveform.pilot_slots = {slots})"
        )
        names = [e.name for e in self.edges] + [self.server.name, self.air.name]
        check(len(set(names)) == len(names), "edges.name", names, "a name of its own for each node")
        check(
            all(re.fullmatch(NODE_NAME, n) for n in names),
            "name",
            names,
            "lower-case letters, digits and '-', 32 in all",
        )
        edges = [e.name for e in self.edges]
        for switch in self.switches:
            check(switch.edge in ("", *edges), "switches.edge", switch.edge, f"{', '.join(edges)}, or none for all")
        for name in edges:
            frames = [s.at_frame for s in switches_of(self, name)]
            check(len(set(frames)) == len(frames), "switches.at_frame", frames, f"each frame of {name} once")
        for link in self.air.links:
            check(link.user in users, "air.links.user", link.user, f"a user of an edge: {sorted(users)}")
            antennas = self.server.antennas
            check((link.antenna or 0) < antennas, "air.links.antenna", link.antenna, f"0..{antennas - 1}")
        nodes = [*edges, self.server.name]
        for change in self.air.schedule:
            ends = set(change.ends)
            known = self.server.name in ends and len(ends & set(edges)) == 1
            links = ", ".join(f"{name}.{self.server.name}" for name in edges)
            check(known, "air.schedule.link", change.link, links)
        for radio in self.air.radios:
            check(radio.name in nodes, "air.radios.name", radio.name, f"an edge or the server: {', '.join(nodes)}")
        for key in ("user_cfo_hz", "user_delay_samples"):
            values = getattr(self.air, key)
            check(values is None or len(values) == slots, f"air.{key}", values, f"one value for each of {slots} users")


def picture_share(scenario: Scenario, edge: EdgePart) -> tuple[int, int]:
    """(index, of): edges that name the same folder are dealt its pictures in turn."""
    sharing = [e.name for e in scenario.edges if e.images == edge.images]
    return sharing.index(edge.name), len(sharing)


def switches_of(scenario: Scenario, edge: str) -> list[Switch]:
    """The switches planned for an edge, in the order of their frames."""
    return sorted((s for s in scenario.switches if s.edge in ("", edge)), key=lambda s: s.at_frame)
