"""The air's ports: REQ/REP in lock step. Time passes only when every transmitter has sent and every receiver asks."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable

import numpy as np
import zmq

from testbed.air.levels import LevelMeter
from testbed.air.medium import Medium
from testbed.config import AirPort
from testbed.errors import ScenarioError
from testbed.radio.responder import Responder
from testbed.radio.sockets import POLL_MS, Link, Requester, samples_of

log = logging.getLogger(__name__)

AHEAD_BLOCKS = 2  # mixed but not yet fetched: transmitters prepare the next while a receiver works on the last
SLICE_S = 1e-3  # an answer to srsRAN's request of one byte carries at most so much


class AirServer:
    """Serves radios' ports from one medium, sample for sample, until it is told to stop.

    The air asks transmitters (it connects) and is asked by receivers (it binds), as REQ and REP do; requests and
    answers are those of gr-zeromq and srsRAN. What a peer sends wrongly (a frame that is no whole number of samples, a
    request of another size, samples that are not finite), and whoever else comes to a receiver's port, is counted in
    ``events`` by name and address, and the stream goes on.

    Parameters
    ----------
    medium : Medium
    ports : list of AirPort
        Transmitters in any order, one endpoint each; receivers' endpoints in the order of the medium's antennas.
    block_samples : int
        Mixed at a time; what arrives does not depend on it.
    timeout_s : float
        After which a peer that never answered is named.

    Raises
    ------
    ScenarioError
        If ports do not match the medium's users and antennas.
    AddressInUse
        If a receiver's endpoint is taken.
    """

    def __init__(self, medium: Medium, ports: list[AirPort], block_samples: int, timeout_s: float = 4.0) -> None:
        self.medium = medium
        self.events: Counter[str] = Counter()
        self.served = 0
        self._block = block_samples
        self._slice = max(1, round(medium.waveform.sample_rate_hz * SLICE_S))
        self._context = zmq.Context()
        self._transmitters: dict[int, _Transmitter] = {}
        self._antennas: list[_Antenna] = []
        try:
            for port in ports:
                self._open(port, timeout_s)
            if sorted(self._transmitters) != sorted(medium.users):
                raise ScenarioError(f"ports: users {sorted(self._transmitters)}: the medium has {sorted(medium.users)}")
            if len(self._antennas) != medium.antennas:
                raise ScenarioError(
                    f"ports: {len(self._antennas)} rx endpoints: the medium has {medium.antennas} antennas"
                )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> AirServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self, port: AirPort, timeout_s: float) -> None:
        if port.user is None:
            if port.tx or not port.rx:
                raise ScenarioError(f"ports.{port.name}: a receiver has rx endpoints and no tx endpoint")
            for endpoint in port.rx:
                name = f"receiver {port.name}"
                link = Responder(self._context, endpoint, name, timeout_s, self._slice, self._count)
                self._antennas.append(_Antenna(link))
        else:
            if len(port.tx) != 1 or port.rx or port.user in self._transmitters:
                raise ScenarioError(
                    f"ports.{port.name}: a transmitter has one tx endpoint, no rx and a user of its own"
                )
            asked = Requester(self._context, port.tx[0], f"transmitter {port.name}", timeout_s)
            self._transmitters[port.user] = _Transmitter(asked)

    def run(self, should_stop: Callable[[], bool], total_samples: int | None = None) -> int:
        """Serve until every receiver has had ``total_samples``, or ``should_stop`` says so; what was mixed until then.

        Raises
        ------
        PeerUnreachable
            If a transmitter or receiver is not there within ``timeout_s``; the message names port and endpoint.
        PeerLost
            If one went away, or is connected but does not go on.
        """
        poller = zmq.Poller()
        for link in self._links():
            poller.register(link.socket, zmq.POLLIN)
            link.progressed()
        while not should_stop():
            left = self._block if total_samples is None else min(self._block, total_samples - self.served)
            if left > 0:
                self._ask(left)
            elif all(a.held == 0 for a in self._antennas):
                break
            if left > 0 and self._mix(left):
                continue
            ready = dict(poller.poll(POLL_MS))
            for transmitter in self._transmitters.values():
                if transmitter.link.socket in ready:
                    self._take(transmitter)
                if left > 0:  # else it has sent all that is wanted of it
                    transmitter.check()
            for antenna in self._antennas:
                if antenna.link.socket in ready:
                    antenna.link.accept()
                antenna.serve()
                antenna.check()
        return self.served

    def levels_dbfs(self) -> dict[int, float | None]:
        """How strong each user has sent, see `testbed.air.levels`; None where nothing but silence came."""
        return {user: transmitter.meter.level_dbfs for user, transmitter in self._transmitters.items()}

    def close(self) -> None:
        """Free all sockets at once; idempotent."""
        for link in self._links():
            link.close()
        self._transmitters, self._antennas = {}, []
        if not self._context.closed:
            self._context.term()

    def _links(self) -> list[Link]:
        return [*(t.link for t in self._transmitters.values()), *(a.link for a in self._antennas)]

    def _ask(self, count: int) -> None:
        """Ask every transmitter for what the next block lacks."""
        for transmitter in self._transmitters.values():
            if transmitter.held < count:
                transmitter.link.ask(count - transmitter.held)

    def _mix(self, count: int) -> bool:
        """Mix a block and hand it out, if all samples are there and there is room for what comes of them."""
        if any(t.held < count for t in self._transmitters.values()):
            return False
        if any(a.held > (AHEAD_BLOCKS - 1) * self._block for a in self._antennas):
            return False
        received = self.medium.mix({user: t.pop(count) for user, t in self._transmitters.items()}, self.served)
        self.served += count
        for antenna, samples in zip(self._antennas, received, strict=True):
            antenna.push(samples)
            antenna.serve()
        return True

    def _take(self, transmitter: _Transmitter) -> None:
        """Store an answer; one that is none is counted, and asked for again."""
        link = transmitter.link
        parts = link.answer()
        if parts is None:
            self._count(f"{link.name} at {link.endpoint}: message that is no answer to a request")
            return
        samples = samples_of(parts)
        if samples is None:
            self._count(f"{link.name} at {link.endpoint}: answer that is no whole number of samples")
        elif len(samples):
            finite = np.isfinite(samples)
            if not finite.all():
                self._count(f"{link.name} at {link.endpoint}: samples that are not finite", int((~finite).sum()))
                samples = np.where(finite, samples, np.complex64(0))
            transmitter.meter.add(samples)
            transmitter.push(samples)
            link.progressed()

    def _count(self, event: str, count: int = 1) -> None:
        if event not in self.events:
            log.warning("%s", event)
        self.events[event] += count


class _Samples:
    """A queue of samples: pushed in pieces, popped in others."""

    def __init__(self) -> None:
        self.held = 0
        self._pieces: deque[np.ndarray] = deque()

    def push(self, samples: np.ndarray) -> None:
        self._pieces.append(samples)
        self.held += len(samples)

    def pop(self, count: int) -> np.ndarray:
        """Exactly ``count`` of those held."""
        taken = []
        self.held -= count
        while count:
            piece = self._pieces.popleft()
            if len(piece) > count:
                self._pieces.appendleft(piece[count:])
                piece = piece[:count]
            taken.append(piece)
            count -= len(piece)
        return np.concatenate(taken) if taken else np.zeros(0, dtype=np.complex64)

    def put_back(self, samples: np.ndarray) -> None:
        """Undo a `pop`."""
        self._pieces.appendleft(samples)
        self.held += len(samples)


class _Transmitter(_Samples):
    """One user's port: at most one request is on its way."""

    def __init__(self, link: Requester) -> None:
        super().__init__()
        self.link = link
        self.meter = LevelMeter()

    def check(self) -> None:
        """Raise if it keeps the air waiting too long."""
        if self.link.waiting:
            self.link.check()
        else:
            self.link.watch()


class _Antenna(_Samples):
    """One antenna of a receiver: what waits for it, and the link whose request it waits with."""

    def __init__(self, link: Responder) -> None:
        super().__init__()
        self.link = link

    def push(self, samples: np.ndarray) -> None:
        if not self.held:
            self.link.progressed()
        super().push(samples)

    def serve(self) -> None:
        """Answer the open request with whatever is ready; a request for nothing gets nothing."""
        wanted = self.link.pending
        if wanted is None or (wanted and not self.held):
            return
        samples = self.pop(min(wanted, self.held))
        if not self.link.answer(samples):
            self.put_back(samples)

    def check(self) -> None:
        """Raise if it does not fetch what waits for it."""
        if self.held and self.link.pending is None:
            self.link.check()
        else:
            self.link.watch()
