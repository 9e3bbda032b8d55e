"""What happens in a run, as it happens: typed events, one line of JSON each in the run folder, published on a socket.

The file holds all of them; progress, report and whoever watches are drawn from it. The socket is for whoever does not
want to wait for the file: PUB, each event with its number, which is that of its line. It never holds the run up: what a
watcher does not take is dropped, the oldest first, and the numbers show the gap. Fields whose names end in ``_s`` are
times of this machine; in ``frame``, ``picture`` and ``round`` all others depend on the scenario and its seed alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Union

import msgspec
import zmq

from testbed.errors import DataError
from testbed.record.folder import EVENTS, EVENTS_ADDRESS, RunFolder, encode
from testbed.text import printable

QUEUED = 1000  # events: in the socket for each watcher, and at the watcher
LINGER_MS = 200  # for a watcher to take the last ones
LOOK_S = 0.1
LOOK_MS = 100


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Base of all events."""

    time_s: float = msgspec.field(default_factory=time.time)  # since 1970


class RunOpened(Event, frozen=True, tag="opened"):
    """A server begins a run: it waits for these nodes."""

    run: str
    nodes: list[str]


class Bound(Event, frozen=True, tag="bound"):
    """Nodes can reach the server at this address."""

    control: str


class Started(Event, frozen=True, tag="started"):
    """All nodes are ready and have been told to begin."""

    samples: int = 0  # on the air; 0 where nothing goes over one


class Progress(Event, frozen=True, tag="progress"):
    """How far the run is."""

    done: int
    total: int
    unit: str  # of both: "samples" or "rounds"
    counted: int
    counted_unit: str  # "frames" or "uploads"


class UserPart(msgspec.Struct, frozen=True, kw_only=True):
    """One user's part of a frame."""

    user: int
    header: bool  # read
    picture: int | None
    part: int | None
    cfo_hz: float | None
    delay_samples: float | None  # behind first_sample
    mean_no_eff: float | None  # of unit-power symbols; None where it is not finite


class FrameReceived(Event, frozen=True, tag="frame"):
    """A frame was received; its symbols lie in the run folder."""

    frame: int
    first_sample: int
    timing_samples: float | None
    cfo_hz: float | None
    statistic: float | None  # match of the preamble, 0..1
    no: float | None  # noise variance of a resource element, received samples squared
    users: list[UserPart]
    stage_s: dict[str, float] = {}


class Ordered(Event, frozen=True, tag="order"):
    """The server ordered an edge's stream, where radios have clocks of their own."""

    user: int
    sample: int  # of the server's, when it did
    number: int
    frames: bool  # False: access bursts
    delay_samples: float  # in all, since the edge's stream began
    trim_hz: float


class PictureDecoded(Event, frozen=True, tag="picture"):
    """A picture was decoded; it lies in the run folder under ``file``."""

    user: int
    picture: int
    file: str
    lost_share: float  # 0..1 of its symbols
    codec: str
    decode_s: float = 0.0


class RoundDone(Event, frozen=True, tag="round"):
    """One round of a federation is done."""

    round: int
    uploads: int
    refused: dict[str, str] = {}  # by a node: its ledger, or what it was asked for
    rejected: dict[str, str] = {}  # by the server: an upload outside of what was agreed
    missing: dict[str, str] = {}  # who did not answer, and why
    lost: dict[str, str] = {}  # who is gone since, in whichever round, and why
    sha256: str = ""  # of the pair that was handed out


class LinkChanged(Event, frozen=True, tag="link"):
    """A link of the air is another from this sample on, because somebody ordered it (`semtb air set`)."""

    at_sample: int
    link: str
    key: str
    value: float


class Warned(Event, frozen=True, tag="warning"):
    """Something that the person who started the run should know."""

    node: str
    text: str


class RunEnded(Event, frozen=True, tag="ended"):
    """The last event of a run. An empty reason means that all is done."""

    complete: bool
    reason: str = ""


AnyEvent = Union[  # noqa: UP007 - msgspec wants a runtime union on 3.10
    RunOpened,
    Bound,
    Started,
    Progress,
    FrameReceived,
    Ordered,
    PictureDecoded,
    RoundDone,
    LinkChanged,
    Warned,
    RunEnded,
]
DECODER = msgspec.json.Decoder(AnyEvent)
TAGS = frozenset(kind.__struct_config__.tag for kind in Event.__subclasses__())


def parse(line: bytes) -> AnyEvent | None:
    """The event in a line; None for one of a kind that a later release added.

    Raises
    ------
    DataError
        If it is no event.
    """
    try:
        return DECODER.decode(line)
    except msgspec.DecodeError as error:
        try:
            tree = msgspec.json.decode(line)
        except msgspec.DecodeError:
            tree = None
        if isinstance(tree, dict) and isinstance(tree.get("event"), str) and tree["event"] not in TAGS:
            return None
        raise DataError(f"{EVENTS}: not an event of a run: {error}") from error


class EventLog:
    """Writes events into a run folder and publishes them. Any thread may emit.

    Parameters
    ----------
    folder : RunFolder
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._number = len(folder.read_lines(EVENTS)) if folder.has(EVENTS) else 0
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, QUEUED)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        folder.write_text(EVENTS_ADDRESS, f"tcp://127.0.0.1:{port}\n")

    def emit(self, event: AnyEvent) -> None:
        """Write one event down, then publish it; after ``close`` it is only written down."""
        with self._lock:
            self._folder.append_line(EVENTS, event)
            if not self._socket.closed:
                self._socket.send_multipart([str(self._number).encode(), encode(event)], zmq.NOBLOCK)
            self._number += 1

    def close(self) -> None:
        """Free the socket, and take its address out of the folder; idempotent."""
        with self._lock:
            self._socket.close()
        self._context.term()
        self._folder.file(EVENTS_ADDRESS).unlink(missing_ok=True)


class Warnings(logging.Handler):
    """Warnings of this process as events."""

    def __init__(self, node: str, emit: Callable[[AnyEvent], None]) -> None:
        super().__init__(logging.WARNING)
        self._node, self._emit = node, emit

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(DataError):  # a disk that is full: who writes results says so
            self._emit(Warned(node=self._node, text=printable(record.getMessage())))


@contextmanager
def recording(folder: RunFolder, name: str, nodes: list[str]) -> Iterator[EventLog]:
    """The events of one run, from ``RunOpened`` to ``RunEnded`` however it ends, and what is logged as a warning."""
    log = EventLog(folder)
    warnings = Warnings(name, log.emit)
    log.emit(RunOpened(run=printable(folder.path.name), nodes=nodes))
    logging.getLogger().addHandler(warnings)
    reason = "the server ended"
    try:
        yield log
        reason = ""
    except BaseException as error:
        reason = printable(str(error)) or type(error).__name__
        raise
    finally:
        logging.getLogger().removeHandler(warnings)
        log.emit(RunEnded(complete=not reason, reason=reason))
        log.close()


class EventTail:
    """Reads the events of a run folder as they are written; of a line that is not whole it waits for the rest."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._offset = 0

    def new(self) -> list[AnyEvent]:
        """Events since the last call."""
        if not self._folder.has(EVENTS):
            return []
        with self._folder.file(EVENTS).open("rb") as stream:
            stream.seek(self._offset)
            whole, newline, _ = stream.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        lines = whole.split(b"\n") if newline else []
        return [event for line in lines if line.strip() and (event := parse(line)) is not None]


def read_events(folder: RunFolder) -> list[AnyEvent]:
    """All events of a run so far; none where it has left none."""
    return EventTail(folder).new()


def end_events(folder: RunFolder, reason: str) -> None:
    """Say that a run has ended where its server could not. Call it when no process of the run is alive."""
    events = read_events(folder)
    if events and not isinstance(events[-1], RunEnded):
        folder.append_line(EVENTS, RunEnded(complete=False, reason=reason))


class Subscription:
    """Events as they are published. A thread takes them off the socket; of those that nobody takes the oldest go."""

    def __init__(self, address: str, queued: int = QUEUED) -> None:
        self._waiting: deque[tuple[int, AnyEvent]] = deque(maxlen=queued)
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._context = zmq.Context()
        self._thread = threading.Thread(target=self._run, args=(address,), name="events", daemon=True)
        self._thread.start()

    def get(self, timeout_s: float) -> tuple[int, AnyEvent] | None:
        """The number of an event, and it; None if none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, timeout_s)
            return self._waiting.popleft() if self._waiting else None

    def close(self) -> None:
        """Free the socket."""
        self._closing.set()
        self._thread.join()
        self._context.term()

    def _run(self, address: str) -> None:
        with self._context.socket(zmq.SUB) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RCVHWM, QUEUED)
            socket.setsockopt(zmq.MAXMSGSIZE, 2**20)
            socket.setsockopt(zmq.SUBSCRIBE, b"")
            socket.connect(address)
            while not self._closing.is_set():
                if not socket.poll(LOOK_MS):
                    continue
                frames = socket.recv_multipart()
                try:
                    event = parse(frames[1]) if len(frames) == 2 and frames[0].isdigit() else None
                except DataError:
                    event = None  # somebody else's words; the file tells
                if event is not None:
                    with self._changed:
                        self._waiting.append((int(frames[0]), event))
                        self._changed.notify_all()


def watch(folder: RunFolder, should_stop: Callable[[], bool]) -> Iterator[AnyEvent]:
    """All events of a run from its first to its last, each once and in order, as they come.

    The socket says at once that there is something new; the file, which lacks nothing, says what.
    """
    tail = EventTail(folder)
    address = folder.read_text(EVENTS_ADDRESS).strip() if folder.has(EVENTS_ADDRESS) else ""
    subscription = Subscription(address) if address.startswith("tcp://127.0.0.1:") else None
    try:
        while not should_stop():
            for event in tail.new():
                yield event
                if isinstance(event, RunEnded):
                    return
            if subscription is not None:
                subscription.get(LOOK_S)
            else:
                time.sleep(LOOK_S)
    finally:
        if subscription is not None:
            subscription.close()


def in_words(event: AnyEvent) -> str:
    """One line for a person."""
    fields: Mapping[str, object] = {
        key: value for key, value in msgspec.to_builtins(event).items() if key not in ("event", "time_s", "stage_s")
    }
    if isinstance(event, FrameReceived):
        read = ", ".join(f"user {p.user} {'read' if p.header else 'lost'}" for p in event.users)
        return f"frame {event.frame} at sample {event.first_sample}: {read}"
    if isinstance(event, Progress):
        return f"{event.done} of {event.total} {event.unit}, {event.counted} {event.counted_unit}"
    if isinstance(event, RunEnded):
        return "ended: all is done" if event.complete else f"ended, incomplete: {event.reason}"
    if isinstance(event, LinkChanged):
        return f"{event.link}.{event.key} = {event.value:g} from sample {event.at_sample} on"
    if isinstance(event, Warned):
        return f"warning: {event.node}: {event.text}"
    tag = event.__struct_config__.tag
    return f"{tag}: " + ", ".join(f"{key} {value}" for key, value in fields.items())
