"""Unmodified pyadi-iio against virtual Plutos in real pace: old blocks, flags, and clocks that are not the same.

Time goes slower than the machine's, so that a busy machine keeps up; nothing here depends on how long anything takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from testbed.air.iiod.air import present
from testbed.air.iiod.pace import WallClock
from testbed.air.iiod.server import IiodServer
from testbed.config import Oscillator, RadioModel
from tests.addresses import own_address

pytestmark = pytest.mark.needs("pluto", "libiio")

RATE = 1_920_000
LO = 2_400_000_000
BLOCK = 9_600
STATUS, OVERFLOW, UNDERFLOW = 0x80000088, 4, 1
PPM = (20.0, -20.0)
DEADLINE_S = 20.0


def until(happens: Callable[[], bool]) -> None:
    """Liveness: it does, before long."""
    end = time.monotonic() + DEADLINE_S
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def plutos() -> Iterator[list[IiodServer]]:
    models = [RadioModel(f"radio-{i}", Oscillator(ppm=ppm)) for i, ppm in enumerate(PPM)]
    servers = present([own_address(), own_address()], models=models, pacer=WallClock(0.25))
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def radios(plutos: list[IiodServer]) -> Iterator[list]:
    """Both as a script sets them up."""
    import adi

    made = [adi.Pluto(uri=f"ip:{server.pluto.address}") for server in plutos]
    for sdr in made:
        sdr.sample_rate = RATE
        sdr.tx_lo = sdr.rx_lo = LO
        sdr.rx_rf_bandwidth = sdr.tx_rf_bandwidth = RATE
        sdr.gain_control_mode_chan0 = "manual"
        sdr.rx_hardwaregain_chan0 = 40
        sdr.tx_hardwaregain_chan0 = -10
        sdr.rx_buffer_size = BLOCK
    yield made
    for sdr in made:
        sdr.tx_destroy_buffer()
        sdr.rx_destroy_buffer()
    made.clear()


def tone(cycles: int, samples: int = 96) -> np.ndarray:
    return 2**13 * np.exp(2j * np.pi * cycles / samples * np.arange(samples))


def level(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.abs(x) ** 2)))


def test_an_idle_script_first_gets_four_old_blocks_and_then_a_gap(radios: list, plutos: list[IiodServer]):
    """The gain goes down by 30 dB while nobody reads: four blocks at the old level, then one at the new."""
    sender, receiver = radios
    sender.tx_cyclic_buffer = True
    sender.tx(tone(8))
    receiver.rx()
    before = level(receiver.rx())
    receiver.rx_destroy_buffer()
    receiver._rxadc.reg_write(STATUS, OVERFLOW)
    receiver._rx_init_channels()  # opens the buffer, reads nothing
    until(lambda: receiver._rxadc.reg_read(STATUS) & OVERFLOW != 0)
    receiver.rx_hardwaregain_chan0 = 10
    levels = [level(receiver.rx()) for _ in range(6)]
    assert levels[:4] == pytest.approx([before] * 4, rel=0.01)
    assert levels[4:] == pytest.approx([before * 10**-1.5] * 2, rel=0.05)
    gaps = plutos[1].pluto.rx_buffers[0].gaps
    assert gaps[0][0] == 4 * BLOCK
    assert gaps[0][1] > 0


def test_a_transmitter_that_starves_sets_its_flag_and_one_that_is_fed_does_not(radios: list):
    sender, _ = radios
    dac = sender._txdac
    sender.tx_cyclic_buffer = False
    dac.reg_write(STATUS, UNDERFLOW)
    for _ in range(8):  # each waits for room, so some are always queued until the last has left
        sender.tx(np.zeros(BLOCK, dtype=np.complex64))
        assert dac.reg_read(STATUS) & UNDERFLOW == 0
    until(lambda: dac.reg_read(STATUS) & UNDERFLOW != 0)
    sender.tx(np.zeros(BLOCK, dtype=np.complex64))
    dac.reg_write(STATUS, UNDERFLOW)


def heard_hz(receiver, server: IiodServer, near_hz: float) -> float:
    """The frequency of a tone over a quarter of a second without a gap, by the slope of its phase."""
    blocks = RATE // 4 // BLOCK
    end = time.monotonic() + DEADLINE_S
    while True:
        receiver.rx_destroy_buffer()
        x = np.concatenate([receiver.rx() for _ in range(blocks)])
        if not server.pluto.rx_buffers[0].gaps:
            break
        assert time.monotonic() < end
    y = (x * np.exp(-2j * np.pi * near_hz / RATE * np.arange(len(x)))).reshape(-1, 96).mean(axis=1)
    phase = np.unwrap(np.angle(y))
    return float(near_hz + np.polyfit(np.arange(len(phase)), phase, 1)[0] / 96 / (2 * np.pi) * RATE)


def test_carrier_and_clock_of_two_radios_differ_by_their_oscillators_and_xo_correction_moves_both(
    radios: list, plutos: list[IiodServer]
):
    r"""Two tones tell carrier and clock apart: :math:`\{f(1+p) + F(p-q)\}/(1+q)`. 40 dB of SNR, 0.25 s: the carrier to
    0.05 Hz, the clock to 0.1 ppm (five standard errors of 0.002 Hz and 0.005 ppm).

    The receiver's crystal is then taken for 40,000,400 Hz: 10 ppm lower, in LO and sample rate.
    """
    sender, receiver = radios
    sender.tx_cyclic_buffer = True
    for correction_hz in (40_000_000, 40_000_400):
        receiver._ctrl.attrs["xo_correction"].value = str(correction_hz)
        p = PPM[0] * 1e-6
        q = (1 + PPM[1] * 1e-6) * 40e6 / correction_hz - 1
        measured = {}
        for cycles in (-16, 16):
            sender.tx_destroy_buffer()
            sender.tx(tone(cycles))
            expected_hz = (cycles / 96 * RATE * (1 + p) + LO * (p - q)) / (1 + q)
            measured[cycles] = heard_hz(receiver, plutos[1], expected_hz)
            assert measured[cycles] == pytest.approx(expected_hz, abs=0.05)
        ratio = (measured[16] - measured[-16]) / (32 / 96 * RATE)
        assert (ratio - (1 + p) / (1 + q)) * 1e6 == pytest.approx(0.0, abs=0.1)
