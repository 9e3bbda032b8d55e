"""A radio whose antennas are ZeroMQ REQ/REP ports, as srsRAN and gr-zeromq speak them; its usual peer is the air."""

from __future__ import annotations

import logging
import re
import threading

import msgspec
import numpy as np
import zmq

from testbed.errors import RadioError, SemtbError, ShapeError
from testbed.radio.base import RadioEvent, RadioIdentity, RadioSettings, RxBlock, Tuning, nothing_to_tune
from testbed.radio.sockets import ASK_AGAIN_S, CLOSE_S, POLL_MS, Requester, samples_of
from testbed.radio.zmq_transmitter import Transmitter

log = logging.getLogger(__name__)

REQUEST_SAMPLES = 1_000_000  # in one request, so that answers stay below the limit of a message
MAX_LOST_S = 3600.0  # that a peer can say it lost at once
MAX_WAIT_S = 86_400.0
NOTHING = np.zeros(0, dtype=np.complex64)


class ZmqRadio:
    """``zmq:tx_port=tcp://127.0.0.1:47010,rx_port=tcp://127.0.0.1:47020,rx_port1=tcp://127.0.0.1:47021``

    The device arguments of srsRAN's ZMQ radio: ``tx_port`` is bound (REP), ``rx_port`` connected to (REQ); further
    antennas are ``tx_port1``, ``rx_port1`` and so on; ``base_srate``, if given, must be the rate asked for. A peer
    that does not ask stops the transmitter, one that does not answer stops the receiver: samples are neither lost nor
    invented. After ``finish`` whoever asks gets silence.

    ``pace=realtime`` says that the peer is an air that waits for nobody: it tells how many samples were lost before
    those that it sends, and they are there as zeros, with an event ``overflow``.

    Waits end in PeerUnreachable after ``settings.timeout_s`` when nobody is there, in PeerLost 1 s after the peer went
    away, and in PeerLost after 60 s when it is there but does not go on; ``wait_s=600`` allows the first and the last
    more time. ``close`` may be called from any thread; a call that waits then ends in RadioError.

    Raises
    ------
    RadioError
        If the URI has unknown keys or too few ports.
    AddressInUse
        If a ``tx_port`` is taken.
    """

    @staticmethod
    def check(uri: str, settings: RadioSettings) -> None:
        """See `testbed.radio.registry.check_uri`."""
        parse(uri, settings)

    def __init__(self, uri: str, settings: RadioSettings) -> None:
        self.uri = uri
        self.settings = settings
        wanted = parse(uri, settings)
        settings = self.settings = msgspec.structs.replace(settings, timeout_s=max(settings.timeout_s, wanted.wait_s))
        self._realtime = wanted.realtime
        self._lost = [0] * len(wanted.rx)  # told of, and not handed on as zeros yet
        self._left = [NOTHING] * len(wanted.rx)  # came behind those
        self._closing = threading.Event()
        self._receiving = threading.Lock()
        self._received = 0
        self._failure: SemtbError | None = None
        self._context = zmq.Context()
        self._rx: list[Requester] = []
        self._tx: Transmitter | None = None
        try:
            if wanted.tx:
                self._tx = Transmitter(self._context, wanted.tx, settings, wanted.wait_s)
            for endpoint in wanted.rx:
                name, wait_s = "the peer of rx_port", settings.timeout_s
                self._rx.append(Requester(self._context, endpoint, name, wait_s, wanted.realtime))
                self._rx[-1].stall_s = max(self._rx[-1].stall_s, wanted.wait_s)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ZmqRadio:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def paced(self) -> bool:
        """Its peers ask for samples and wait for them, unless they keep to real time."""
        return not self._realtime

    @property
    def identity(self) -> RadioIdentity:
        """Its ports."""
        return RadioIdentity("zmq", self.uri.partition(":")[2])

    @property
    def adjusted(self) -> tuple[str, ...]:
        """Nothing: it is as it was asked to be."""
        return ()

    @property
    def tuning(self) -> None:
        """A cable has no frequency."""

    def retune(self, tuning: Tuning) -> Tuning:
        """See `testbed.radio.base.Radio.retune`."""
        raise nothing_to_tune(self.uri)

    def send(self, samples: np.ndarray) -> None:
        """See `testbed.radio.base.Radio.send`."""
        if self._tx is None:
            raise RadioError(f"{self.uri}: send: opened without a transmit channel")
        self._tx.put(in_range(samples, self.settings.tx_channels, self.uri))

    def finish(self) -> None:
        """See `testbed.radio.base.Radio.finish`."""
        if self._tx is not None:
            self._tx.finish()

    def sent_events(self) -> tuple[RadioEvent, ...]:
        """See `testbed.radio.base.Radio.sent_events`: nothing, since its receiver waits."""
        return ()

    def receive(self, count: int) -> RxBlock:
        """See `testbed.radio.base.Radio.receive`."""
        if not self.settings.rx_channels:
            raise RadioError(f"{self.uri}: receive: opened without a receive channel")
        out = np.empty((self.settings.rx_channels, count), dtype=np.complex64)
        filled = [0] * len(out)
        events: list[RadioEvent] = []
        with self._receiving:
            if self._failure is not None:
                raise self._failure
            try:
                while min(filled) < count:
                    self._take(out, filled, events)
            except SemtbError as error:
                self._failure = error  # a request is still open: these sockets cannot be used again
                raise
        first = self._received
        self._received += count
        return RxBlock(out, first, tuple(events))

    def _take(self, out: np.ndarray, filled: list[int], events: list[RadioEvent]) -> None:
        """Ask for what is missing, wait a little for answers, store them."""
        count = out.shape[1]
        for i in range(len(self._rx)):
            self._store(i, out, filled, events)
        poller = zmq.Poller()
        open_links = [(i, link) for i, link in enumerate(self._rx) if filled[i] < count]
        for i, link in open_links:
            link.ask(min(count - filled[i], REQUEST_SAMPLES))
            poller.register(link.socket, zmq.POLLIN)
        if not open_links:
            return
        all_asked = all(link.asked for _, link in open_links)
        ready = dict(poller.poll(POLL_MS if all_asked else int(ASK_AGAIN_S * 1e3)))
        if self._closing.is_set():
            raise RadioError(f"{self.uri}: closed while receiving")
        for i, link in open_links:
            answer = self._answer(link, count - filled[i], events, filled[i]) if link.socket in ready else None
            if answer is None:
                link.check()
                continue
            self._lost[i], self._left[i] = answer
            self._store(i, out, filled, events)
            link.progressed()

    def _store(self, i: int, out: np.ndarray, filled: list[int], events: list[RadioEvent]) -> None:
        """Put what came of one antenna where it belongs: zeros for what was lost, then the samples behind them."""
        row, begin = out[i], filled[i]
        end = begin + min(self._lost[i], len(row) - begin)
        if end > begin:
            row[begin:end] = 0
            detail = f"rx{i}: taken too late"
            events.append(RadioEvent("overflow", self._received + begin, end - begin, detail))
            self._lost[i] -= end - begin
        if not self._lost[i]:
            x = self._left[i][: len(row) - end]
            row[end : end + len(x)] = x
            end += len(x)
            self._left[i] = self._left[i][len(x) :]
        filled[i] = end

    def _answer(self, link: Requester, wanted: int, events: list[RadioEvent], at: int) -> tuple[int, np.ndarray] | None:
        """How many samples were lost, and those that came, at most as many as are wanted; None if it is neither."""
        parts, lost = link.answer(), 0
        if self._realtime and parts is not None and len(parts) == 2 and len(parts[0]) == 8:
            lost = int.from_bytes(parts.pop(0), "little")
        x = None if parts is None else samples_of(parts)
        most = round(MAX_LOST_S * self.settings.sample_rate_hz)
        if x is not None and len(x) <= wanted and lost <= most:
            return (lost, x) if len(x) or lost else None
        if lost > most:
            what = f"that {lost} samples are lost: more than {MAX_LOST_S:.0f} s of them are not believed"
        elif parts is None:
            what = "what is no answer"
        else:
            what = "no whole samples" if x is None else f"{len(x)} samples unasked"
        detail = f"{link.endpoint} sent {what}"
        if not events:
            log.warning("%s: %s: ignored", self.uri, detail)
        events.append(RadioEvent("malformed", self._received + at, 1, detail))
        return None

    def close(self) -> None:
        """Free sockets and threads; idempotent, from any thread."""
        self._closing.set()
        released = self._tx is None or self._tx.close()
        if self._receiving.acquire(timeout=CLOSE_S):
            self._failure = self._failure or RadioError(f"{self.uri}: receive: the radio is closed")
            for link in self._rx:
                link.close()
            self._rx = []
            self._receiving.release()
            if released and not self._context.closed:
                self._context.term()


def in_range(samples: np.ndarray, channels: int, uri: str) -> np.ndarray:
    """A copy of samples to be sent, refused if it would wrap or clip.

    Parameters
    ----------
    samples : [channels, n] complex64
        Full scale 1.0.
    channels : int
    uri : str
        Of the radio, for the message.

    Returns
    -------
    [channels, n] complex64

    Raises
    ------
    ShapeError
        If the shape is another.
    RadioError
        If a real or imaginary part exceeds 1 or is not a number.
    """
    x = np.array(samples, dtype=np.complex64, order="C")
    if x.ndim != 2 or x.shape[0] != channels:
        raise ShapeError(f"{uri}: send: samples are {np.shape(samples)}: allowed: [{channels}, n]")
    peak = np.abs(x.view(np.float32)).max(initial=0.0)
    if not peak <= 1.0:
        raise RadioError(
            f"{uri}: send: a sample of {peak:.3g} exceeds full scale 1.0: scale or limit first (phy.ofdm.limit does)"
        )
    return x


class Wanted(msgspec.Struct, frozen=True):
    """What a URI says."""

    tx: list[str]
    rx: list[str]
    realtime: bool = False
    wait_s: float = 0.0


def parse(uri: str, settings: RadioSettings) -> Wanted:
    """Endpoints of the transmit and receive ports that the settings ask for, and how their peers are waited for."""
    _, _, text = uri.partition(":")
    arguments = dict(part.partition("=")[::2] for part in text.split(",") if part)
    rate = arguments.pop("base_srate", None)
    if rate is not None and not same_rate(rate, settings.sample_rate_hz):
        raise RadioError(f"{uri}: base_srate = {rate}: the waveform's rate is {settings.sample_rate_hz:g}")
    pace = arguments.pop("pace", "lockstep")
    if pace not in ("lockstep", "realtime"):
        raise RadioError(f"{uri}: pace = {pace}: allowed: lockstep, realtime")
    wait_s = number_of(arguments.pop("wait_s", "0"))
    if wait_s is None or not 0 <= wait_s <= MAX_WAIT_S:
        raise RadioError(f"{uri}: wait_s: allowed: 0..{MAX_WAIT_S:g}")
    chosen: dict[str, list[str]] = {}
    for kind, channels in (("tx_port", settings.tx_channels), ("rx_port", settings.rx_channels)):
        keys = [f"{kind}{i or ''}" for i in range(channels)]
        missing = [key for key in keys if not arguments.get(key)]
        if missing:
            raise RadioError(f"{uri}: {', '.join(missing)} missing: write zmq:{kind}=tcp://HOST:PORT,...")
        chosen[kind] = [arguments.pop(key) for key in keys]
    unknown = [key for key in arguments if not re.fullmatch(r"[rt]x_port\d*", key)]
    if unknown:
        raise RadioError(
            f"{uri}: {', '.join(unknown)}: unknown; known: tx_port, tx_port1.., rx_port, rx_port1.., base_srate, "
            "pace, wait_s"
        )
    return Wanted(chosen["tx_port"], chosen["rx_port"], pace == "realtime", wait_s)


def same_rate(text: str, rate_hz: float) -> bool:
    """Whether ``text`` is a number, and that one."""
    return number_of(text) == rate_hz


def number_of(text: str) -> float | None:
    """The number that ``text`` is; None if it is none."""
    try:
        return float(text)
    except ValueError:
        return None
