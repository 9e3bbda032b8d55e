"""Scenarios and node configurations: strict structs, one loader. Unknown keys and wrong values are errors.

A *scenario* names everything of a run. From it each process gets its own *node configuration* (``AirConfig``,
``ServerConfig``, ``EdgeConfig``), which is all that process is given, so that it starts as well on another machine.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from testbed.channels.registry import find_channel
from testbed.errors import ScenarioError
from testbed.phy.waveform import PROFILES, Waveform
from testbed.text import without_mark

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

T = TypeVar("T")

NODE_NAME = r"[a-z0-9][a-z0-9-]{0,31}"


def check(ok: bool, key: str, value: object, allowed: str) -> None:
    """Raise ScenarioError unless ``ok``; one form for all value errors."""
    if not ok:
        raise ScenarioError(f"{key} = {value}: allowed: {allowed}")


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A struct whose loader refuses what it does not know."""


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


def check_channel(key: str, channel: str, delay_spread_s: float, doppler_hz: float) -> None:
    """Raise ScenarioError for a channel that no link can have."""
    find_channel(channel, f"{key}.channel")
    check(0 <= delay_spread_s <= 1e-5, f"{key}.delay_spread_s", delay_spread_s, "0..1e-5")
    check(0 <= doppler_hz <= 2000, f"{key}.doppler_hz", doppler_hz, "0..2000")


class AirLink(Strict, frozen=True):
    """What differs on the links from one user, to all antennas or to one; what is left out is as in ``[air]``."""

    user: int
    antenna: int | None = None
    channel: str | None = None
    delay_spread_s: float | None = None
    doppler_hz: float | None = None
    gain_db: float | None = None  # over the unit mean power of the others: this user's SNR is snr_db + gain_db

    def __post_init__(self) -> None:
        check(self.user >= 0, "air.links.user", self.user, "0 or more")
        check(self.antenna is None or self.antenna >= 0, "air.links.antenna", self.antenna, "0 or more")
        default = Air()
        check_channel(
            "air.links",
            default.channel if self.channel is None else self.channel,
            default.delay_spread_s if self.delay_spread_s is None else self.delay_spread_s,
            default.doppler_hz if self.doppler_hz is None else self.doppler_hz,
        )
        check(self.gain_db is None or -100 <= self.gain_db <= 40, "air.links.gain_db", self.gain_db, "-100..40")


class Air(Strict, frozen=True):
    """The emulated medium. What is left out is drawn from the seed."""

    name: str = "air"
    snr_db: float = 20.0  # Es/N0 per occupied resource element, per user, per antenna, with E|h|^2 = 1
    channel: str = "TDL-A"  # of every link: TDL-A to TDL-E (TR 38.901), AWGN or two-ray, see testbed.channels
    delay_spread_s: float = 100e-9
    doppler_hz: float = 5.0
    links: list[AirLink] = []  # what is otherwise on some of them
    common_cfo_hz: float | None = None  # of the server's oscillator; drawn within +-25 kHz
    user_cfo_hz: list[float] | None = None  # one for each user; drawn within +-100 Hz
    user_delay_samples: list[float] | None = None  # may be fractional; drawn within 0..cp/2
    block_samples: int = 14_400

    def __post_init__(self) -> None:
        check(-30 <= self.snr_db <= 80, "air.snr_db", self.snr_db, "-30..80")
        check_channel("air", self.channel, self.delay_spread_s, self.doppler_hz)
        places = [(link.user, link.antenna) for link in self.links]
        twice = [place for place in places if places.count(place) > 1]
        check(not twice, "air.links", f"{twice[:1]}", "one entry for each user, and for each user and antenna")
        check(64 <= self.block_samples <= 1_000_000, "air.block_samples", self.block_samples, "64..1000000")
        common_hz, users_hz = self.common_cfo_hz, self.user_cfo_hz
        check(common_hz is None or abs(common_hz) <= 200e3, "air.common_cfo_hz", common_hz, "-200000..200000")
        check(all(abs(f) <= 200e3 for f in users_hz or []), "air.user_cfo_hz", users_hz, "-200000..200000 each")
        delays = self.user_delay_samples
        check(all(0 <= d <= 4096 for d in delays or []), "air.user_delay_samples", delays, "0..4096 each")


class Scenario(Strict, frozen=True):
    """Everything of a run."""

    name: str
    seed: int = 1
    net: Net = Net()
    waveform: Waveform = Waveform()
    codec: CodecChoice = CodecChoice()
    server: ServerPart = ServerPart()
    air: Air = Air()
    edges: list[EdgePart] = []
    switches: list[Switch] = []
    task: str = "photographs"  # what the run is for, see testbed.experiments.tasks
    samples: int = 50  # each edge sends, where the task has data of its own
    max_pixels: int = 1_000_000  # larger pictures are resized before encoding
    repeat: int = 1  # how often each edge sends its pictures, one round after the other

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


class AirPort(Strict, frozen=True):
    """One radio that the air serves: where the air asks it for samples, and where it may ask the air."""

    name: str
    user: int | None = None  # None: a receiver
    tx: list[str] = []  # endpoints the radio binds and the air connects to, one an antenna
    rx: list[str] = []  # endpoints the air binds and the radio connects to, one an antenna
    pluto: str = ""  # instead of endpoints: the address at which the air presents this radio as a virtual Pluto
    antennas: int = 1  # of a receiver that is a virtual Pluto


class AirConfig(Strict, frozen=True):
    """All that the air's process is given."""

    seed: int
    control: str
    waveform: Waveform
    air: Air
    ports: list[AirPort]


class ServerConfig(Strict, frozen=True):
    """All that the server's process is given."""

    seed: int
    control: str
    waveform: Waveform
    server: ServerPart
    radio: str
    codec: str
    expects: list[str]  # names of the nodes that must report before the run starts
    users: dict[str, int] = {}  # which edge sends as which user, so that pictures bear the edge's name
    max_pixels: int = 1_000_000  # of a picture that is received
    provider: str = "cpu"  # that executes the codec
    switches: list[Switch] = []  # in the order of their frames, each with its edge


class EdgeConfig(Strict, frozen=True):
    """All that an edge's process is given."""

    seed: int
    control: str
    waveform: Waveform
    edge: EdgePart
    radio: str
    codec: str
    share: tuple[int, int]  # (index, of): pictures are dealt to the edges in turn
    max_pixels: int
    repeat: int = 1
    provider: str = "cpu"  # that executes the codec
    switches: list[int] = []  # frames before which the server will send another encoder: the edge waits for it there


def load_scenario(path: Path, settings: list[str] | None = None, seed: int | None = None) -> Scenario:
    """Read a scenario TOML, apply ``key=value`` settings in order, check everything.

    Raises
    ------
    ScenarioError
        One line: file, key, value, what is allowed.
    """
    try:
        tree = read_toml(path)
    except OSError as error:
        raise ScenarioError(f"{path}: no scenario file that can be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path.name}: not a TOML file: {error}") from error
    try:
        for setting in settings or []:
            apply_setting(tree, setting)
        if seed is not None:
            tree["seed"] = seed
        waveform = tree.get("waveform", {})
        if isinstance(waveform, dict):
            profile = waveform.get("profile", "ota")
            if not isinstance(profile, str) or profile not in PROFILES:
                raise ScenarioError(f"waveform.profile = {profile!r}: allowed: {', '.join(PROFILES)}")
        return convert(tree, Scenario)
    except ScenarioError as error:
        raise ScenarioError(f"{path.name}: {error}") from error


def load_node(path: Path, kind: type[T]) -> T:
    """Read one node's own configuration, as ``semtb run`` or ``semtb resolve`` wrote it."""
    try:
        return convert(read_toml(path), kind)
    except OSError as error:
        raise ScenarioError(
            f"{path}: {error.strerror}; `semtb resolve SCENARIO --out DIR` writes a file for each node"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path.name}: not a TOML file: {error}") from error
    except ScenarioError as error:
        raise ScenarioError(f"{path.name}: {error}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's tables; a byte-order mark is passed over, and names of files may hold bytes that are not UTF-8."""
    return tomllib.loads(without_mark(path.read_bytes()).decode("utf-8", "surrogateescape"))


def dump(config: msgspec.Struct) -> bytes:
    """The TOML of a scenario or node configuration; keys that are None are left out."""
    import tomli_w

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if v is not None}
        if isinstance(value, list):
            return [strip(v) for v in value]
        return value

    return tomli_w.dumps(strip(msgspec.to_builtins(config))).encode("utf-8", "surrogateescape")


def apply_setting(tree: dict[str, Any], setting: str) -> None:
    """Apply one ``a.b.c=value`` to a tree. The value is TOML where it parses as such, else a string.

    A list's element is named by its index or by its ``name``: ``edges.edge-1.images=/data/kodak``.
    """
    path, equals, text = setting.partition("=")
    if not equals or not path.strip():
        raise ScenarioError(f"--set {setting}: write it as key=value, for example air.snr_db=10")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    keys = path.strip().split(".")
    node: Any = tree
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(node, list):
            position = find_element(node, key, ".".join(keys[:depth]))
            if last:
                node[position] = value
            else:
                node = node[position]
        elif isinstance(node, dict):
            if last:
                node[key] = value
            else:
                node = node.setdefault(key, {})
        else:
            raise ScenarioError(f"--set {setting}: {'.'.join(keys[:depth])} is a value, not a table")


def find_element(items: list[Any], key: str, where: str) -> int:
    """Index of a list's element by number or by its ``name``."""
    names = [str(item.get("name", "")) if isinstance(item, dict) else "" for item in items]
    if key in names:
        return names.index(key)
    if key.isdigit() and int(key) < len(items):
        return int(key)
    raise ScenarioError(f"{where}.{key}: no such element; known here: {', '.join(names)} or 0..{len(items) - 1}")


def convert(tree: Any, kind: type[T]) -> T:
    """Convert and say in our words what msgspec finds wrong."""
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise ScenarioError(explain(error, tree, kind)) from error


def explain(error: msgspec.ValidationError, tree: Any, kind: type) -> str:
    """msgspec's message as ``key: what is wrong``, with the known keys and the nearest one where a key is unknown."""
    message, _, path = str(error).partition(" - at `$")
    where = re.sub(r"\[(\d+)\]", r".\1", path.rstrip("`")).strip(".")
    unknown = re.match(r"Object contains unknown field `(.*)`", message)
    if not unknown:
        return f"{where}: {message}" if where else message
    key = unknown.group(1)
    struct = struct_at(kind, where)
    known = [f.encode_name for f in msgspec.structs.fields(struct)] if struct else []
    near = difflib.get_close_matches(key, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{where + '.' if where else ''}{key}: unknown key. Known here: {', '.join(known)}.{hint}"


def struct_at(kind: Any, where: str) -> type[msgspec.Struct] | None:
    """The struct type that stands at a dotted path below ``kind``."""
    for key in [k for k in where.split(".") if k and k != "..."]:
        if key.isdigit():
            kind = next((a for a in getattr(kind, "__args__", ()) if isinstance(a, type)), None)
            continue
        hints = {f.encode_name: f.type for f in msgspec.structs.fields(kind)} if isinstance(kind, type) else {}
        kind = hints.get(key)
    if getattr(kind, "__origin__", None) is list:
        kind = kind.__args__[0]
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None
