"""A server and edges with oscillators of their own in one process and in simulated time: the loop that aligns them."""

from __future__ import annotations

from collections import deque

import msgspec
import numpy as np

from edge.receiver import BeaconReceiver
from edge.slots import ACCESS, FRAMES, Order
from edge.uplink import Answer, Uplink
from server.alignment import Alignment
from server.pipeline import ReceivedFrame, Receiver
from testbed.air.paths import draw_paths
from testbed.air.power import UNITY_PATH_LOSS_DB
from testbed.air.tuned import Tuning
from testbed.air.world import Station, World
from testbed.config import Air, Oscillator, RadioModel
from testbed.phy.beacon import beacon_period
from testbed.phy.frame import build_frame
from testbed.phy.header import Header
from testbed.phy.ofdm import tx_amplitude
from testbed.phy.waveform import Waveform

UP_HZ, DOWN_HZ = 2.4e9, 2.44e9
STEP_S = 0.01
UNITY = np.float32(10 ** (UNITY_PATH_LOSS_DB / 20))


class Seen(msgspec.Struct):
    """One user in one received frame."""

    time_s: float
    error_samples: float
    cfo_hz: float
    frame: int


class SimulatedEdge:
    """An edge with the queue of its converter: what it makes leaves ``queued`` samples later, and it starts late."""

    def __init__(self, user: int, waveform: Waveform, data: np.ndarray, queued: int) -> None:
        self.user, self.waveform, self.queued, self._data = user, waveform, queued, data
        self.receiver = BeaconReceiver(waveform, DOWN_HZ)
        self.uplink = Uplink(waveform, user, UP_HZ)
        self.order: Order | None = None
        self.answers: list[Answer] = []
        self.number = 0
        self._queue = np.zeros(queued, np.complex64)

    def frame(self) -> np.ndarray:
        header = Header(
            user=self.user,
            frame=self.number,
            picture=self.number,
            part=0,
            codec=1,
            codec_hash=1,
            height=8,
            width=8,
            k=32,
            scale=1.0,
        )
        self.number += 1
        return build_frame(header, self._data, self.waveform)[0]

    def samples(self, count: int) -> np.ndarray:
        """What its converter takes now."""
        while len(self._queue) < self.queued + count:
            state = self.receiver.state
            if state is None:
                x = np.zeros(self.queued + count - len(self._queue), np.complex64)
            else:
                x, answer = self.uplink.next(state.ppm, self.frame, self.order)
                self.order = None
                self.answers += [answer] if answer is not None else []
            self._queue = np.concatenate([self._queue, x])
        out, self._queue = self._queue[:count], self._queue[count:]
        return out


class Loop:
    """A run in simulated time.

    Parameters
    ----------
    air : Air
        With its radios' oscillators, ``edge-1`` and so on; its SNR holds at the server and at the edges.
    users : int
    seed : int
    bus_delay_steps : int
        By which orders and answers come later.
    """

    def __init__(self, air: Air, users: int = 2, seed: int = 1, bus_delay_steps: int = 3) -> None:
        self.waveform = Waveform(pilot_slots=max(2, users))
        self.rng = np.random.default_rng(seed)
        self.air = air
        names = [f"edge-{u + 1}" for u in range(users)]
        models = {radio.name: radio for radio in air.radios}

        def station(name: str, antennas: int) -> Station:
            return Station(models.get(name, RadioModel(name=name, oscillator=Oscillator())), 1, antennas)

        stations = [station("server", 2), *(station(name, 1) for name in names)]
        numbers = {name: u for u, name in enumerate(names)}
        paths = draw_paths(stations, "server", numbers, self.waveform, air, seed)
        rate = round(self.waveform.sample_rate_hz)
        tunings = {"server": Tuning(rate, rate, DOWN_HZ, UP_HZ)}
        tunings |= {name: Tuning(rate, rate, UP_HZ, DOWN_HZ) for name in names}
        self.world = World(stations, paths, tunings, seed)
        data = self.rng.standard_normal((self.waveform.data_elements, 2)) @ [1, 1j] / np.sqrt(2)
        queued = self.rng.integers(20_000, 60_000, users).tolist()
        self.edges = {
            name: SimulatedEdge(u, self.waveform, data.astype(np.complex64), queued[u]) for name, u in numbers.items()
        }
        self.alignment = Alignment(self.waveform, 2)
        self.receiver = Receiver(self.waveform, 2, max_cfo_hz=2000.0)
        self.muted: set[str] = set()
        self.deaf: set[str] = set()
        self.seen: dict[int, list[Seen]] = {u: [] for u in range(users)}
        self.commands = 0
        self._beacon = np.zeros(0, np.complex64)
        self._beacons = 0
        self._orders: deque[list[tuple[str, Order]]] = deque([[]] * bus_delay_steps)
        self._answers: deque[list[tuple[int, Answer]]] = deque([[]] * bus_delay_steps)
        self._sigma = tx_amplitude(self.waveform) / np.sqrt(2 * 10 ** (air.snr_db / 10))
        self.time_s = 0.0
        for user in range(users):
            self.alignment.join(user)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / STEP_S)):
            self._step()

    def latest(self, user: int, since_s: float) -> np.ndarray:
        """[n, 2]: errors in samples and Hz of a user's frames since then."""
        rows = [(s.error_samples, s.cfo_hz) for s in self.seen[user] if s.time_s >= since_s]
        return np.array(rows).reshape(-1, 2)

    def _noise(self, shape: tuple[int, ...]) -> np.ndarray:
        pairs = self.rng.standard_normal((*shape, 2), dtype=np.float32)
        return np.float32(self._sigma) * pairs.view(np.complex64)[..., 0]

    def _step(self) -> None:
        self.time_s += STEP_S
        until = round(self.time_s * 1e9)
        due = self.world.due(until)
        while len(self._beacon) < due["server"][0]:
            self._beacon = np.concatenate([self._beacon, beacon_period(self.waveform, self._beacons)])
            self._beacons += 1
        sent = {"server": self._beacon[None, : due["server"][0]]}
        self._beacon = self._beacon[due["server"][0] :]
        for name, edge in self.edges.items():
            x = edge.samples(due[name][0])
            sent[name] = (x if name not in self.muted else np.zeros_like(x))[None]
        heard = self.world.advance(until, sent)
        for name, edge in self.edges.items():
            y = heard[name] * (UNITY if name not in self.deaf else np.float32(0))
            edge.receiver.push(y + self._noise(y.shape))
        y = heard["server"] * UNITY + self._noise(heard["server"].shape)
        self.alignment.push(y)
        for frame in self.receiver.push(y):
            self._take(frame)
        for user, answer in self._answers.popleft():
            self.alignment.answer(user, answer.number, answer.frame)
        self._answers.append([(e.user, a) for e in self.edges.values() for a in e.answers])
        for edge in self.edges.values():
            edge.answers = []
        for name, order in self._orders.popleft():
            self.edges[name].order = order
        commands = self.alignment.commands()
        self.commands += len(commands)
        self._orders.append(
            [
                (
                    f"edge-{c.user + 1}",
                    Order(c.number, FRAMES if c.frames else ACCESS, c.delay_samples, c.trim_hz),
                )
                for c in commands
            ]
        )

    def _take(self, frame: ReceivedFrame) -> None:
        self.alignment.take(frame)
        for part in frame.users:
            if part.header is not None:
                error = self.alignment.error_samples(frame.first_sample + part.delay_samples)
                time_s = frame.first_sample / self.waveform.sample_rate_hz
                self.seen[part.user].append(Seen(time_s, error, part.cfo_hz, part.header.frame))
