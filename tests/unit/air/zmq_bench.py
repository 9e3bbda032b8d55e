"""An air in a thread, and raw ZeroMQ sockets as its peers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import zmq

from testbed.air.medium import Medium
from testbed.air.zmq_ports import AirServer
from testbed.config import Air, AirPort
from testbed.phy.waveform import Waveform
from tests.waiting import wait_until

WAVEFORM = Waveform()
RATE = WAVEFORM.sample_rate_hz


def endpoint() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{s.getsockname()[1]}"


class Bench:
    """An air with its medium's settings, ports for ``users`` and one receiver, and raw sockets as peers."""

    def __init__(
        self,
        users: int = 1,
        antennas: int = 1,
        block: int = 1000,
        timeout_s: float = 5.0,
        patterns: tuple[str, str] = ("req-rep", "req-rep"),
        external: bool = False,
        clock: Callable[[], float] | None = None,
        **air: object,
    ) -> None:
        self.tx = [endpoint() for _ in range(users)]
        self.rx = [endpoint() for _ in range(antennas)]
        self.air = Air(**({"snr_db": 60.0} | air))
        tx, rx = patterns
        self.ports = [
            AirPort(name=f"edge-{u + 1}", user=u, tx=[where], pattern=tx, external=external)
            for u, where in enumerate(self.tx)
        ]
        self.ports.append(AirPort(name="server", user=None, rx=self.rx, pattern=rx, external=external))
        pace = {"pace": "realtime", "clock": clock} if clock else {}
        self.server = AirServer(self.medium(), self.ports, block, timeout_s, **pace)
        self.context = zmq.Context()
        self.peers: list[zmq.Socket] = []
        self.stop = threading.Event()
        self.thread: threading.Thread | None = None
        self.outcome: int | Exception | None = None

    def medium(self) -> Medium:
        return Medium(WAVEFORM, self.air, list(range(len(self.tx))), len(self.rx), 1)

    def peer(self, kind: int, where: str) -> zmq.Socket:
        one = self.context.socket(kind)
        for option in (zmq.RCVTIMEO, zmq.SNDTIMEO):
            one.setsockopt(option, 5000)
        one.setsockopt(zmq.RCVHWM, 2)
        (one.bind if kind in (zmq.REP, zmq.PUB, zmq.XPUB, zmq.PUSH) else one.connect)(where)
        self.peers.append(one)  # pyzmq closes a socket that nobody holds
        return one

    def start(self, total: int | None = None) -> None:
        def run() -> None:
            try:
                self.outcome = self.server.run(self.stop.is_set, total)
            except Exception as error:
                self.outcome = error

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def result(self) -> int | Exception | None:
        assert self.thread is not None
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.outcome


@contextmanager
def benches() -> Iterator[Callable[..., Bench]]:
    """Makes benches, and ends them."""
    made: list[Bench] = []

    def make(**settings: object) -> Bench:
        made.append(Bench(**settings))
        return made[-1]

    yield make
    for one in made:
        one.stop.set()
        if one.thread is not None:
            one.thread.join(5)
        one.server.close()
        one.context.destroy(linger=0)


def serve(one: zmq.Socket, answers: list[list[bytes]]) -> list[bytes]:
    """Answer requests one after another; what was asked."""
    requests = []
    for answer in answers:
        requests.append(one.recv())
        one.send_multipart(answer)
    return requests


def fetch(one: zmq.Socket, message: bytes) -> np.ndarray:
    one.send(message)
    return np.frombuffer(one.recv(), np.complex64)


def gaussian(rng, *shape):
    return (0.2 * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))).astype(np.complex64)


def until(is_so: Callable[[], object]) -> None:
    """Return once it is so, within a millisecond; fail if it never is."""
    wait_until(is_so, look_s=0.001)
