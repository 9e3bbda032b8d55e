"""The air behind ZeroMQ ports, at one of two paces: in lock step with its peers, or as a clock says."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import zmq

from testbed.air.commands import SetLink
from testbed.air.links import gain_of
from testbed.air.medium import Medium
from testbed.air.port_status import PortStatus
from testbed.air.ports import Port, PortTerms
from testbed.air.receiver_ports import AnsweringPort, OutletPort, ReceiverPort
from testbed.air.serving import change_of
from testbed.air.transmitter_ports import AskedPort, InletPort, TransmitterPort
from testbed.air.truth import Truth
from testbed.air.wall_clock import WallClock
from testbed.config import AirPort, Change
from testbed.errors import ScenarioError
from testbed.radio.sockets import POLL_MS

log = logging.getLogger(__name__)

AHEAD_BLOCKS = 2  # mixed but not yet fetched: transmitters prepare the next while a receiver works on the last
PREFETCH_BLOCKS = 4  # in real pace, of each transmitter: what a busy machine may be late by without a gap
RETRY_MS = 2  # until a PUB or PUSH socket without room is tried again
SLICE_S = 1e-3  # an answer to srsRAN's request of one byte carries at most so much


class AirServer:
    """Serves radios' ports from one medium, sample for sample, until it is told to stop.

    In all patterns who has samples binds and who wants them connects, as GNU Radio's sinks and sources do: the air
    connects to transmitters (REQ, SUB, PULL) and is connected to by receivers (REP, PUB, PUSH). Requests and answers
    are those of gr-zeromq and srsRAN. What a peer sends wrongly (a frame that is no whole number of samples, a request
    of another size, samples that are not finite), and whoever else comes to a receiver's port, is counted in
    ``events`` by name and address, and the stream goes on.

    In ``lockstep`` time passes only when every transmitter has sent and every receiver takes. In ``realtime`` it passes
    as ``clock`` says, from the time on when all are there that are not external: who sends nothing is silent, who
    takes too late loses samples. A peer of an external port is named when it is not there, and taken up when it is.

    Parameters
    ----------
    medium : Medium
    ports : list of AirPort
        Transmitters in any order, one endpoint each; receivers' endpoints in the order of the medium's antennas.
    block_samples : int
        Mixed at a time; in lock step, what arrives does not depend on it.
    timeout_s : float
        After which a peer that never answered is named.
    pace : str
        ``lockstep`` or ``realtime``.
    clock : callable
        Seconds, for ``realtime``.

    Raises
    ------
    ScenarioError
        If ports do not match the medium's users and antennas.
    AddressInUse
        If a receiver's endpoint is taken.
    """

    def __init__(
        self,
        medium: Medium,
        ports: Sequence[AirPort],
        block_samples: int,
        timeout_s: float = 4.0,
        pace: str = "lockstep",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.medium = medium
        self.events: Counter[str] = Counter()
        self.served = 0
        rate_hz = medium.waveform.sample_rate_hz
        self._block = block_samples
        self._terms = PortTerms(rate_hz, timeout_s, pace == "realtime", self._count)
        self._clock = WallClock(rate_hz, clock)
        self._context = zmq.Context()
        self._transmitters: dict[int, TransmitterPort] = {}
        self._antennas: list[ReceiverPort] = []
        self._users = {port.name: port.user for port in ports if port.user is not None}
        self._receiver = next((port.name for port in ports if port.user is None), "")
        try:
            for port in ports:
                self._open(port)
            if sorted(self._transmitters) != sorted(medium.users):
                raise ScenarioError(f"ports: users {sorted(self._transmitters)}: the medium has {sorted(medium.users)}")
            if len(self._antennas) != medium.antennas:
                raise ScenarioError(
                    f"ports: {len(self._antennas)} rx endpoints: the medium has {medium.antennas} antennas"
                )
        except BaseException:
            self.close()
            raise

    @property
    def truth(self) -> Truth:
        """Of the medium."""
        return self.medium.truth

    def __enter__(self) -> AirServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self, port: AirPort) -> None:
        context, external, terms = self._context, port.external, self._terms
        if port.user is None:
            if port.tx or not port.rx:
                raise ScenarioError(f"ports.{port.name}: a receiver has rx endpoints and no tx endpoint")
            for endpoint in port.rx:
                names = f"receiver {port.name}", f"{port.name}.rx{len(self._antennas)}"
                if port.pattern == "req-rep":
                    a_slice = max(1, round(terms.rate_hz * SLICE_S))
                    self._antennas.append(AnsweringPort(context, endpoint, *names, external, terms, a_slice))
                else:
                    self._antennas.append(OutletPort(context, endpoint, *names, external, terms, port.pattern))
            return
        if len(port.tx) != 1 or port.rx or port.user in self._transmitters:
            raise ScenarioError(f"ports.{port.name}: a transmitter has one tx endpoint, no rx and a user of its own")
        endpoint, names = port.tx[0], (f"transmitter {port.name}", port.name)
        if port.pattern == "req-rep":
            self._transmitters[port.user] = AskedPort(context, endpoint, *names, external, terms)
        else:
            self._transmitters[port.user] = InletPort(context, endpoint, *names, external, terms, port.pattern)

    def run(self, should_stop: Callable[[], bool], total_samples: int | None = None) -> int:
        """Serve until every receiver has had ``total_samples``, or ``should_stop`` says so; what was mixed until then.

        ``should_stop`` is called between blocks, by the thread that mixes: ``served`` is the next sample then.

        Raises
        ------
        PeerUnreachable
            If a transmitter or receiver is not there within ``timeout_s``; the message names port and endpoint.
        PeerLost
            If one went away, or is connected but does not go on.
        """
        for port in self._ports():
            port.link.progressed()
        turn = self._turn_in_real_time if self._terms.realtime else self._turn_in_lock_step
        while not should_stop():
            left = self._block if total_samples is None else min(self._block, total_samples - self.served)
            if left <= 0 and all(not (a.queue.held or a.queue.lost) for a in self._antennas):
                break
            turn(left)
        return self.served

    def linger(self, limit_s: float) -> None:
        """Behind the end: programs of others that still receive are given silence, until they have left.

        GNU Radio's sources end only when something more comes behind the last sample that is wanted of them.
        """
        end = time.monotonic() + limit_s
        while time.monotonic() < end and any(a.external and a.attached for a in self._antennas):
            for antenna in self._antennas:
                if antenna.external and not antenna.queue.held:
                    antenna.push(np.zeros(self._block, np.complex64))
                if antenna.link.socket.poll(1):
                    antenna.accept()
                antenna.link.watch()
                antenna.serve()

    def levels_dbfs(self) -> dict[int, float | None]:
        """How strong each user has sent, see `testbed.air.levels`; None where nothing but silence came."""
        return {user: transmitter.level.level_dbfs for user, transmitter in self._transmitters.items()}

    def late_samples(self) -> dict[str, int]:
        """Of each transmitter whose samples came too late, how many."""
        return {port.meter.port: port.meter.late for port in self._transmitters.values() if port.meter.late}

    def status(self, now_s: float) -> list[PortStatus]:
        """Every port, transmitters first."""
        return [port.meter.status(now_s) for port in self._ports()]

    def set_link(self, order: SetLink) -> Change:
        """A link has another gain from the next sample on; called by the thread that mixes.

        Raises
        ------
        ScenarioError
            If there is no such link, or it cannot have that value.
        """
        change = change_of(order, self.served, [f"{name}.{self._receiver}" for name in self._users])
        self.medium.set_gain(self._users[change.ends[0]], gain_of(change), change.at_sample)
        return change

    def close(self) -> None:
        """Free all sockets at once; idempotent."""
        for port in self._ports():
            port.close()
        self._transmitters, self._antennas = {}, []
        if not self._context.closed:
            self._context.term()

    def _ports(self) -> list[Port]:
        return [*self._transmitters.values(), *self._antennas]

    def _turn_in_lock_step(self, left: int) -> None:
        """Mix the next block if all samples of it are there and there is room for it, else wait for who lacks them."""
        for transmitter in self._transmitters.values():
            transmitter.want(max(left, 0))
        if left > 0 and self._mix_what_is_there(left):
            return
        self._attend(POLL_MS, left > 0)

    def _mix_what_is_there(self, count: int) -> bool:
        if any(t.queue.held < count for t in self._transmitters.values()):
            return False
        if any(a.queue.held > (AHEAD_BLOCKS - 1) * self._block for a in self._antennas):
            return False
        received = self.medium.mix({user: t.queue.pop(count) for user, t in self._transmitters.items()}, self.served)
        self.served += count
        for antenna, samples in zip(self._antennas, received, strict=True):
            antenna.push(samples)
            antenna.serve()
        return True

    def _turn_in_real_time(self, left: int) -> None:
        """Mix the next block if it is due, whoever is late; else wait until it is."""
        if not self._clock.running and self._all_are_there():
            self._clock.start()
        for transmitter in self._transmitters.values():
            transmitter.want(min(left, 1) * PREFETCH_BLOCKS * self._block)
        due = self._clock.running and left > 0 and self._clock.due() >= self.served + left
        wait_ms = POLL_MS if not self._clock.running or left <= 0 else self._clock.wait_s(self.served + left) * 1e3
        self._attend(0 if due else max(1, min(POLL_MS, int(wait_ms))), left > 0)
        if due:
            received = self.medium.mix({user: t.block(left) for user, t in self._transmitters.items()}, self.served)
            self.served += left
            for antenna, samples in zip(self._antennas, received, strict=True):
                antenna.offer(samples)
                antenna.serve()
            if behind := self._clock.slip(self.served):
                self._count("samples by which the air fell behind its clock, which was moved", behind)

    def _all_are_there(self) -> bool:
        """Whether those that take part in a run are: their samples have come, or they have asked."""
        sent = all(t.external or t.queue.held for t in self._transmitters.values())
        return sent and all(a.external or a.attached for a in self._antennas)

    def _attend(self, wait_ms: int, wanted: bool) -> None:
        """Wait for peers, take what they send, answer them, look after those that keep the air waiting."""
        ports = [*(t for t in self._transmitters.values() if t.readable), *self._antennas]
        if any(isinstance(a, OutletPort) and a.queue.held and a.attached for a in self._antennas):
            wait_ms = min(wait_ms, RETRY_MS)
        sockets = {port.link.socket: port for port in ports}
        for socket, _ in zmq.zmq_poll([(socket, zmq.POLLIN) for socket in sockets], wait_ms):
            port = sockets[socket]
            if isinstance(port, TransmitterPort):
                port.take()
            elif isinstance(port, ReceiverPort):
                port.accept()
        for transmitter in self._transmitters.values():
            transmitter.check(wanted)  # else it has sent all that is wanted of it
        for antenna in self._antennas:
            antenna.serve()
            antenna.check(True)

    def _count(self, event: str, count: int = 1) -> None:
        if event not in self.events:
            log.warning("%s", event)
        self.events[event] += count
