"""``loop:NAME``: a radio that hears itself over a cable, with textbook faults.

Its two ends are opened apart, as a Pluto's by two programs. Time moves as the receiving end asks.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

import msgspec
import numpy as np
from scipy.signal import lfilter

from testbed.errors import RadioError
from testbed.radio.base import RadioEvent, RadioIdentity, RadioSettings, RxBlock, Tuning
from tests.unit.calibration.textbook import imbalance, noise, rapp

TAPS = 65  # of a fractional delay
LOOK_S = 0.05
MOST_QUEUED = 8
RX_FULL_SCALE_DBM = -30.0  # at the antenna, at a gain of 40 dB
TX_FULL_SCALE_DBM = -10.0  # at the antenna, at a gain of -10 dB
CABLE_DB = 20.0
RX_AT, TX_AT = 40.0, -10.0


@dataclass
class Loop:
    """One such radio: its faults, and what is on the cable."""

    ppm: float = 0.0
    tx_iq: tuple[float, float] = (0.0, 0.0)
    leakage: complex = 0j
    rx_iq: tuple[float, float] = (0.0, 0.0)
    dc: complex = 0j
    rx_error_db: dict[float, float] = field(default_factory=dict)
    tx_error_db: dict[float, float] = field(default_factory=dict)
    p1db_dbm: float | None = None
    delay_samples: float = 32.0  # 32 at least
    antenna: complex = 1.0
    noise_dbm_per_hz: float = -140.0
    generator: tuple[float, float] | None = None  # true Hz, dBm at the antenna
    temperature_c: float = 30.0
    serial: str = "loop-1"
    lose: int = 0  # captures that lose samples

    def __post_init__(self) -> None:
        self.changed = threading.Condition()
        self.queue: deque[np.ndarray] = deque()
        self.sender: LoopRadio | None = None
        self.rng = np.random.default_rng(7)
        self.position = 0
        self.past = np.zeros(TAPS - 1 + 4096, np.complex128)
        self.opened = 0

    def delayed(self, x: np.ndarray) -> np.ndarray:
        """By a windowed sinc; its own delay of half its length is taken off, of which the whole part makes room."""
        whole, part = divmod(self.delay_samples, 1)
        k = np.arange(TAPS) - (TAPS - 1) / 2
        taps = np.sinc(k - part) * np.kaiser(TAPS, 9)
        line = np.concatenate([self.past, x])
        self.past = line[len(x) :]
        shift = int(whole) - (TAPS - 1) // 2
        assert shift >= 0, "what the filter needs"
        return lfilter(taps, 1, line)[len(line) - len(x) - shift : len(line) - shift]


LOOPS: dict[str, Loop] = {}


class LoopRadio:
    """One end."""

    def __init__(self, uri: str, settings: RadioSettings) -> None:
        self.uri, self.settings = uri, settings
        self._loop = LOOPS[uri.partition(":")[2]]
        self._tuning = Tuning(settings.lo_hz, -10.0, 40.0)
        self._received, self._retuned, self._closed = 0, False, False
        self._held = np.zeros(0, np.complex128)
        if settings.tx_channels:
            self._loop.sender = self
            self._loop.queue.clear()
            self._loop.past[:] = 0
            self._loop.opened += 1

    def __enter__(self) -> LoopRadio:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def paced(self) -> bool:
        return True

    @property
    def identity(self) -> RadioIdentity:
        return RadioIdentity("loop", self.uri, "textbook", self._loop.serial)

    @property
    def temperature_c(self) -> float:
        return self._loop.temperature_c

    @property
    def adjusted(self) -> tuple[str, ...]:
        return ()

    @property
    def tuning(self) -> Tuning:
        return Tuning(
            self._tuning.lo_hz,
            self._tuning.tx_gain_db if self.settings.tx_channels else None,
            self._tuning.rx_gain_db if self.settings.rx_channels else None,
        )

    def retune(self, tuning: Tuning) -> Tuning:
        given = {key: value for key, value in msgspec.structs.asdict(tuning).items() if value is not None}
        self._tuning, self._retuned = msgspec.structs.replace(self._tuning, **given), True
        return self.tuning

    def send(self, samples: np.ndarray) -> None:
        if np.max(np.abs(samples.view(np.float32))) > 1:
            raise RadioError("beyond full scale")
        loop = self._loop
        x = imbalance(samples[0].astype(np.complex128), *loop.tx_iq) + loop.leakage
        with loop.changed:
            while len(loop.queue) >= MOST_QUEUED and not self._closed:
                loop.changed.wait(LOOK_S)
            if self._closed:
                raise RadioError("closed while sending")
            loop.queue.append(x)
            loop.changed.notify_all()

    def finish(self) -> None: ...

    def sent_events(self) -> tuple:
        return ()

    def receive(self, count: int) -> RxBlock:
        loop, tuning, rate = self._loop, self._tuning, self.settings.sample_rate_hz
        arrived = self._arriving(count)
        n = loop.position + np.arange(count)
        loop.position += count
        eps = 1 + loop.ppm * 1e-6
        if loop.generator is not None:
            hz, dbm = loop.generator
            cycles = (hz / eps - tuning.lo_hz) / rate * n
            arrived = arrived + 10 ** (dbm / 20) * np.exp(2j * np.pi * (cycles % 1))
        gain = tuning.rx_gain_db + loop.rx_error_db.get(tuning.rx_gain_db, 0.0)
        scale = 10 ** ((gain - RX_AT - RX_FULL_SCALE_DBM) / 20)
        floor = 10 ** ((loop.noise_dbm_per_hz + 10 * np.log10(rate)) / 10)
        rows = []
        for antenna in range(self.settings.rx_channels):
            y = arrived * (loop.antenna if antenna else 1) + noise(loop.rng, count, floor)
            y = imbalance(y * scale, *loop.rx_iq) + loop.dc
            codes = np.clip(np.round(y.view(np.float64) * 2048), -2048, 2047)
            rows.append((codes / 2048).astype(np.float32).view(np.complex64))
        first, self._received = self._received, self._received + count
        events = [RadioEvent("retuned", first, 0)] if self._retuned else []
        self._retuned = False
        if loop.lose and count > 200:
            loop.lose -= 1
            events.append(RadioEvent("overflow", first + 100, 50))
            for row in rows:
                row[100:150] = 0
        return RxBlock(np.stack(rows), first, tuple(events))

    def close(self) -> None:
        self._closed = True
        if self._loop.sender is self:
            self._loop.sender = None
        with self._loop.changed:
            self._loop.changed.notify_all()

    def _arriving(self, count: int) -> np.ndarray:
        """What comes over the cable, in the receiver's band; both oscillators are one."""
        loop = self._loop
        parts, have = [self._held], len(self._held)
        while have < count and loop.sender is not None:
            with loop.changed:
                while not loop.queue and loop.sender is not None:
                    loop.changed.wait(LOOK_S)
                if not loop.queue:
                    break
                x, sender = loop.queue.popleft(), loop.sender._tuning
                loop.changed.notify_all()
            gain = sender.tx_gain_db + loop.tx_error_db.get(sender.tx_gain_db, 0.0)
            x = x * 10 ** ((gain - TX_AT + TX_FULL_SCALE_DBM) / 20)  # 1 is 0 dBm
            if loop.p1db_dbm is not None:
                input_at = 10 ** ((loop.p1db_dbm + 1) / 20)
                x = rapp(x, input_at / (10 ** (2 / 10) - 1) ** (1 / 4), 2.0)
            at = loop.position + have + np.arange(len(x))
            turn = (sender.lo_hz - self._tuning.lo_hz) / self.settings.sample_rate_hz * at
            parts.append(loop.delayed(x) * 10 ** (-CABLE_DB / 20) * np.exp(2j * np.pi * (turn % 1)))
            have += len(x)
        y = np.concatenate([*parts, np.zeros(max(0, count - have))])
        y, self._held = y[:count], y[count:]
        return y


def put_up(monkeypatch, **faults: object) -> str:
    """A radio of that kind and its URI."""
    from testbed.radio.registry import DRIVERS

    monkeypatch.setitem(DRIVERS, "loop", f"{__name__}:LoopRadio")
    monkeypatch.setitem(LOOPS, "radio", Loop(**faults))  # type: ignore[arg-type]
    return "loop:radio"
