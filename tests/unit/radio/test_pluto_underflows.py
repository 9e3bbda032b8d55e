"""Where and how long a Pluto had nothing to transmit, told by a simulated device that plays by a clock of its own."""

from __future__ import annotations

import errno
import logging

import numpy as np
import pytest

from testbed.radio.pluto_status import DAC_UNDERFLOW, REGISTER, StatusBit
from testbed.radio.pluto_underflows import Underflows

RATE = 1.92e6
BLOCK = 9600  # 5 ms
QUEUED = 16


class Register:
    """A core's register, as libiio has it."""

    def __init__(self, stuck: bool = False, readable: bool = True) -> None:
        self.value, self.stuck, self.readable, self.reads = 0, stuck, readable, 0

    def reg_read(self, address: int) -> int:
        assert address == REGISTER
        self.reads += 1
        if not self.readable:
            raise OSError(errno.EACCES, "denied")
        return self.value | DAC_UNDERFLOW * self.stuck | 0x6  # others' bits are set, too

    def reg_write(self, address: int, value: int) -> None:
        assert (address, value) == (REGISTER, DAC_UNDERFLOW)
        self.value &= ~value


class Device:
    """Plays blocks by its own clock once the first is there; a push waits while 16 are queued."""

    def __init__(self, rng: np.random.Generator, drift: float, register: Register) -> None:
        self.rate_hz, self.rng, self.register = RATE * (1 + drift), rng, register
        self.now_s = 100.0
        self.ends_s: list[float] = []  # when each block has been played
        self.missing: list[tuple[int, float]] = []  # (samples before, samples of silence)

    def idle(self, seconds: float) -> None:
        """Nothing is pushed meanwhile."""
        self.now_s += seconds
        if self.ends_s and self.now_s > self.ends_s[-1]:
            self.register.value |= DAC_UNDERFLOW

    def push(self) -> tuple[float, float]:
        """The next block: when the push began and ended."""
        begun = self.now_s
        if self.ends_s and begun > self.ends_s[-1]:
            self.missing.append((len(self.ends_s) * BLOCK, (begun - self.ends_s[-1]) * RATE))
        start = max(begun, self.ends_s[-1]) if self.ends_s else begun
        self.ends_s.append(start + BLOCK / self.rate_hz)
        if len(self.ends_s) > QUEUED:
            self.now_s = max(begun, self.ends_s[-1 - QUEUED])
        self.now_s += self.rng.exponential(2e-4)
        return begun, self.now_s


def underflows_of(register: Register) -> Underflows:
    return Underflows(RATE, QUEUED * BLOCK, StatusBit(register, DAC_UNDERFLOW, "pluto:test"))


def stream(device: Device, underflows: Underflows, blocks: int, pauses_s: dict[int, float]) -> list[tuple[int, int]]:
    """Each underflow that was found: (samples sent before, samples missing)."""
    found, before = [], len(device.ends_s)
    for i in range(before, before + blocks):
        device.idle(pauses_s.get(i, 1e-4))
        if missing := underflows.begins(device.now_s):
            found.append((i * BLOCK, missing))
        underflows.ended(BLOCK, *device.push())
    return found


@pytest.mark.parametrize("stuck", [False, True])
@pytest.mark.parametrize("drift", [-25e-6, 0.0, 25e-6])
def test_each_underflow_is_found_at_its_sample_with_its_length(stuck: bool, drift: float, rng, caplog):
    """A minute at 25 ppm with three pauses that are too long, and three that the queue covers: none missed, none
    invented, each to 2 ms; also where the bit is always set, which is then said once."""
    register = Register(stuck)
    device = Device(rng, drift, register)
    pauses = {1500: 0.05, 3000: 0.12, 4500: 0.07, 6000: 0.5, 7500: 0.07, 9000: 3.0}
    with caplog.at_level(logging.WARNING):
        found = stream(device, underflows_of(register), 12_000, pauses)
    assert len(device.missing) == 3
    assert (
        [where for where, _ in found]
        == [where for where, _ in device.missing]
        == [b * BLOCK for b in (3000, 6000, 9000)]
    )
    for (_, missing), (_, true) in zip(found, device.missing, strict=True):
        assert abs(missing - true) < 2e-3 * RATE
    assert len([r for r in caplog.records if "is set whatever happens" in r.getMessage()]) == int(stuck)


def test_a_pause_before_the_queue_was_ever_full_is_found_too(rng):
    """The third block comes 30 ms late, when 10 ms had been queued; a sender that fills the queue later."""
    register = Register()
    device = Device(rng, 0.0, register)
    found = stream(device, underflows_of(register), 100, {2: 0.03})
    assert [where for where, _ in found] == [2 * BLOCK]
    assert abs(found[0][1] - device.missing[0][1]) < 2e-3 * RATE


def test_a_device_that_was_late_itself_is_no_underflow(rng):
    """Half a second passes in which it played nothing, and its bit stays clear: not told, now or with what follows."""
    register = Register()
    device = Device(rng, 0.0, register)
    underflows = underflows_of(register)
    assert not stream(device, underflows, 500, {})
    device.ends_s = [end + 0.5 if end > device.now_s else end for end in device.ends_s]
    device.now_s += 0.5
    assert not stream(device, underflows, 500, {})
    ((where, missing),) = stream(device, underflows, 500, {1200: 0.2})
    assert [(where, pytest.approx(missing, abs=2e-3 * RATE))] == device.missing


def test_a_register_that_cannot_be_read_is_said_once_and_asked_no_more(caplog):
    register = Register(readable=False)
    bit = StatusBit(register, DAC_UNDERFLOW, "pluto:test")
    with caplog.at_level(logging.WARNING):
        assert [bit.take() for _ in range(3)] == [False] * 3
    assert register.reads == 1 and not bit.trusted
    assert [r.getMessage() for r in caplog.records] == [
        "pluto:test: its status bit for an underflow cannot be read (denied): found by count and clock alone"
    ]


def test_a_bit_that_was_set_before_is_cleared_and_trusted():
    register = Register()
    register.value = DAC_UNDERFLOW
    bit = StatusBit(register, DAC_UNDERFLOW, "pluto:test")
    bit.examine()
    assert bit.trusted and not bit.take()
    register.value = DAC_UNDERFLOW
    assert bit.take() and not bit.take()
