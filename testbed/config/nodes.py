"""What each process of a run is given, and nothing else, so that it starts as well on another machine."""

from __future__ import annotations

from testbed.config.air import Air
from testbed.config.scenario import BeaconPart, EdgePart, ServerPart, Switch
from testbed.config.strict import Strict, check
from testbed.phy.waveform import Waveform

PATTERNS = ("req-rep", "pub-sub", "push-pull")  # of ZeroMQ


class AirPort(Strict, frozen=True):
    """One radio that the air serves: where the air asks it for samples, and where it may ask the air."""

    name: str
    user: int | None = None  # None: a receiver
    tx: list[str] = []  # endpoints the radio binds and the air connects to, one an antenna
    rx: list[str] = []  # endpoints the air binds and the radio connects to, one an antenna
    pluto: str = ""  # instead of endpoints: the address at which the air presents this radio as a virtual Pluto
    antennas: int = 1  # of a receiver that is a virtual Pluto
    pattern: str = "req-rep"  # of its endpoints; in all of them who has samples binds, and who wants them connects
    external: bool = False  # somebody else's program, which may come, go and return

    def __post_init__(self) -> None:
        check(self.pattern in PATTERNS, f"ports.{self.name}.pattern", self.pattern, ", ".join(PATTERNS))


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
    beacon: BeaconPart | None = None  # where several edges send: used if their radios have clocks of their own
    max_pixels: int = 1_000_000  # of a picture that is received
    provider: str = "cpu"  # that executes the codec
    switches: list[Switch] = []  # in the order of their frames, each with its edge
    record: bool = False  # what is received is kept as a SigMF recording in the run folder
    external: dict[str, int] = {}  # nodes left to others' programs, and how many samples an edge of them is given


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
    beacon: BeaconPart | None = None  # where several edges send: used if their radios have clocks of their own
    repeat: int = 1
    provider: str = "cpu"  # that executes the codec
    switches: list[int] = []  # frames before which the server will send another encoder: the edge waits for it there
