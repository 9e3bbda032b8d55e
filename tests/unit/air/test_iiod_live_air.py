"""Virtual Plutos in real pace with a world between them, time moved by hand: closed forms of clocks, levels, faults."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from testbed.air.iiod.air import CABLE
from testbed.air.iiod.cabling import Cable, parse_cables
from testbed.air.iiod.context import find_attribute
from testbed.air.iiod.device import RX, TX, VirtualPluto
from testbed.air.iiod.live_air import live_between
from testbed.air.iiod.pace import Stepped
from testbed.air.iiod.protocol import Request
from testbed.air.power import RX_FULL_SCALE_DBM, TX_FULL_SCALE_DBM, thermal_noise_mw
from testbed.config import Air, FrontEnd, Oscillator, RadioModel
from testbed.errors import ScenarioError
from testbed.phy.waveform import Waveform

RATE = 1_920_000
LO = 2_400_000_000
QUIET = Air(snr_db=80.0, channel="AWGN", common_cfo_hz=0.0)


class Lab:
    """Plutos between which time is moved by hand."""

    def __init__(
        self,
        models: list[RadioModel],
        cables: list[Cable] | None = None,
        air: Air = QUIET,
        cabled: bool = True,
        channels: int = 1,
        rate_hz: int = RATE,
    ) -> None:
        self.plutos = [VirtualPluto(f"127.0.1.{i + 2}", channels) for i in range(max(2, len(models)))]
        for pluto in self.plutos:
            pluto.phy.clock.rate_hz = rate_hz
            pluto.phy.tx_lo.frequency_hz = pluto.phy.rx_lo.frequency_hz = LO
            pluto.phy.modes, pluto.phy.rx_gains_db = ["manual"] * channels, [40] * channels
        self.rate_hz = rate_hz
        self.ether = live_between(self.plutos, Waveform(), air, 1, models, cables or [], cabled, Stepped())
        self.now_s = 0.0

    def send(self, number: int, wave: np.ndarray, channel: int = 0) -> None:
        """[n] of full scale, over and over, in steps of 12 bits: those that the converter drops would be an offset."""
        codes = 16 * np.rint(wave[:, None].view(np.float64) * 2**10)
        mask = 3 << 2 * channel
        buffer = self.ether.open(self.plutos[number], TX, Request("OPEN", "", number=len(wave), mask=mask,
                                 mask_digits=8, cyclic=True))  # fmt: skip
        self.ether.push(self.plutos[number], buffer, codes.astype("<i2").tobytes(), lambda: False)

    def receive(self, number: int, count: int, step_s: float = 0.005) -> np.ndarray:
        """[channels, count] of full scale, without the first few samples of a path's beginning."""
        pluto = self.plutos[number]
        pluto.blocks[RX] = 64
        request = Request("OPEN", number=-(-count // 32), mask=(1 << 2 * pluto.channels) - 1, mask_digits=8)
        buffer = self.ether.open(pluto, RX, request)
        parts = []
        while sum(map(len, parts)) < 4 * pluto.channels * count:
            self.now_s += step_s
            assert self.ether.advance(self.now_s)
            while buffer.ready:
                parts.append(self.ether.pull(pluto, buffer, request.number, lambda: False))
        assert not buffer.gaps
        self.ether.close(pluto, buffer)
        codes = np.frombuffer(b"".join(parts), "<i2").reshape(-1, 2 * pluto.channels)[:count]
        return (codes.astype(np.float64).view(np.complex128) / 2**11).T

    def write(self, number: int, attribute: str, value: str) -> None:
        where = Request("WRITE", "ad9361-phy", attribute=attribute)
        find_attribute(self.plutos[number].tree, where).write(value)


def tone(cycles: int, samples: int, amplitude: float = 0.5) -> np.ndarray:
    """So many turns in so many samples."""
    return amplitude * np.exp(2j * np.pi * cycles / samples * np.arange(samples))


def frequency_hz(x: np.ndarray, rate_hz: float, near_hz: float) -> float:
    """Of one tone: the phase's slope over the samples, once it is turned to where it is expected."""
    n = np.arange(len(x))
    y = x * np.exp(-2j * np.pi * near_hz / rate_hz * n)
    blocks = y[: len(y) // 64 * 64].reshape(-1, 64).mean(axis=1)
    phase = np.unwrap(np.angle(blocks))
    slope = np.polyfit(np.arange(len(phase)), phase, 1)[0]
    return float(near_hz + slope / 64 / (2 * np.pi) * rate_hz)


def power_dbfs(x: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.abs(x) ** 2)))


def at(x: np.ndarray, turns: float) -> complex:
    """Amplitude of the tone of so many turns a sample."""
    w = np.hanning(len(x))
    return complex(np.vdot(np.exp(2j * np.pi * turns * np.arange(len(x))), w * x) / w.sum())


@pytest.mark.parametrize("lo_hz", [1_200_000_000, 2_400_000_000])
@pytest.mark.parametrize("ppm", [(20.0, -20.0), (0.0, 13.7)])
def test_one_figure_moves_carrier_and_sample_clock(ppm: tuple[float, float], lo_hz: int):
    r"""A tone of f at the transmitter's clock is heard at :math:`\{f (1+p) + F (p - q)\} / (1 + q)`, to 0.01 Hz.

    Two tones tell clock and carrier apart: their distance is in ratio (1+p)/(1+q), to 0.01 ppm.
    """
    lab = Lab([RadioModel(f"radio-{i}", Oscillator(ppm=p)) for i, p in enumerate(ppm)])
    for pluto in lab.plutos:
        pluto.phy.tx_lo.frequency_hz = pluto.phy.rx_lo.frequency_hz = lo_hz
    p, q = (1e-6 * value for value in ppm)
    measured = {}
    for cycles in (-16, 16):
        lab.send(0, tone(cycles, 96))
        x = lab.receive(1, RATE // 2)[0, 2000:]
        lab.ether.close(lab.plutos[0], lab.plutos[0].tx_buffers[0])
        sent_hz = cycles / 96 * RATE
        expected_hz = (sent_hz * (1 + p) + lo_hz * (p - q)) / (1 + q)
        measured[cycles] = frequency_hz(x, RATE, expected_hz)
        assert measured[cycles] == pytest.approx(expected_hz, abs=0.01)
    ratio = (measured[16] - measured[-16]) / (32 / 96 * RATE)
    assert (ratio * (1 + q) / (1 + p) - 1) * 1e6 == pytest.approx(0.0, abs=0.01 * 1.92)


def test_a_drifting_oscillator_moves_both():
    """6 ppm a minute at 2.4 GHz are 240 Hz a second: between the middles of two halves of 0.25 s 60 Hz, to 0.2."""
    lab = Lab([RadioModel("one", Oscillator(drift_ppm_per_min=6.0)), RadioModel("two")])
    lab.send(0, np.full(64, 0.5 + 0j))
    x = lab.receive(1, RATE // 2)[0]
    first, second = (frequency_hz(part, RATE, 100.0) for part in np.split(x[: RATE // 2], 2))
    assert second - first == pytest.approx(60.0, abs=0.2)


@pytest.mark.parametrize("number, sign", [(0, -1), (1, 1)])
def test_xo_correction_retunes_carrier_and_sample_clock_of_its_own_radio(number: int, sign: int):
    """A crystal that is taken for 40,000,400 Hz is 10 ppm slow: at 2.4 GHz and at the sample rate."""
    lab = Lab([])
    lab.write(number, "xo_correction", "40000400")
    lab.send(0, tone(16, 96))
    e = 40_000_000 / 40_000_400 - 1
    p, q = (e, 0.0) if number == 0 else (0.0, e)
    expected_hz = (RATE / 6 * (1 + p) + LO * (p - q)) / (1 + q)
    assert sign * (expected_hz - RATE / 6) > 23_990
    assert frequency_hz(lab.receive(1, RATE // 4)[0, 2000:], RATE, expected_hz) == pytest.approx(expected_hz, abs=0.01)


@pytest.mark.parametrize("rate_hz, lo_offset_hz, heard", [(RATE, 0, True), (2 * RATE, 0, True), (RATE, 500_000, True),
                                                           (RATE, 2 * RATE, False)])  # fmt: skip
def test_radios_hear_each_other_where_their_bands_overlap(rate_hz: int, lo_offset_hz: int, heard: bool):
    """A receiver of another rate or LO hears a tone where it lies in its own band, and nothing from another band."""
    lab = Lab([])
    receiver = lab.plutos[1].phy
    receiver.clock.rate_hz, receiver.rx_lo.frequency_hz = rate_hz, LO + lo_offset_hz
    lab.send(0, tone(8, 96))
    x = lab.receive(1, 60_000)[0, 5000:]
    expected = (RATE / 12 - lo_offset_hz) / rate_hz
    assert abs(at(x, expected)) == pytest.approx(0.5 if heard else 0.0, abs=0.002)


def test_a_cable_has_the_loss_that_is_written():
    """Two cables of 40 and 52.5 dB, none back: levels at the converter to 0.05 dB, from full scale in dBm."""
    lab = Lab(
        [], parse_cables(["1.tx1=B.rx1,40", "127.0.1.2.tx2=B.rx2,52.5"], ["127.0.1.2", "127.0.1.3"], 2), channels=2
    )
    lab.send(0, tone(8, 96), 0)
    x = lab.receive(1, 40_000)[:, 2000:]
    gain_db = TX_FULL_SCALE_DBM - 10 + 40 - RX_FULL_SCALE_DBM
    assert 20 * np.log10(abs(at(x[0], 8 / 96)) / 0.5) == pytest.approx(gain_db - 40, abs=0.05)
    assert abs(at(x[1], 8 / 96)) < 1e-4
    assert abs(at(lab.receive(0, 20_000)[0], 8 / 96)) < 1e-4
    lab.ether.close(lab.plutos[0], lab.plutos[0].tx_buffers[0])
    lab.send(0, tone(8, 96), 1)
    x = lab.receive(1, 40_000)[:, 2000:]
    assert 20 * np.log10(abs(at(x[1], 8 / 96)) / 0.5) == pytest.approx(gain_db - 52.5, abs=0.05)
    assert abs(at(x[0], 8 / 96)) < 1e-4


@pytest.mark.parametrize("figure_db", [3.0, 9.0])
def test_a_noise_figure_is_what_a_receiver_hears_of_nothing(figure_db: float):
    """k T B F at the antenna, at 71 dB of gain; 200,000 samples: a standard error of 0.01 dB, so 0.1 dB is ten."""
    lab = Lab([RadioModel("one"), RadioModel("two", front_end=FrontEnd(noise_figure_db=figure_db))])
    lab.plutos[1].phy.rx_gains_db = [71]
    expected_dbfs = 10 * np.log10(thermal_noise_mw(figure_db, RATE)) + 71 - RX_FULL_SCALE_DBM
    rounding = 2 / 12 / 2**22
    measured = 10 * np.log10(np.mean(np.abs(lab.receive(1, 200_000)[0]) ** 2) - rounding)
    assert measured == pytest.approx(expected_dbfs, abs=0.1)


def test_receive_faults_act_while_the_device_does_not_track_them():
    """1 dB and 5 degrees are an image 22.7 dB below (closed form, 0.1 dB); DC at -30 dBFS. Tracked, 26 dB less."""
    fault = FrontEnd(rx_iq_gain_db=1.0, rx_iq_phase_deg=5.0, rx_dc_dbfs=-30.0)
    lab = Lab([RadioModel("one"), RadioModel("two", front_end=fault)], air=CABLE)  # its noise makes rounding random
    g, phi = 10 ** (1 / 20), np.deg2rad(5.0)
    image_db = 10 * np.log10((g**2 + 1 - 2 * g * np.cos(phi)) / (g**2 + 1 + 2 * g * np.cos(phi)))
    lab.send(0, tone(8, 96))
    levels = {}
    for on in (False, True):
        lab.plutos[1].phy.tracking = dict.fromkeys(lab.plutos[1].phy.tracking, on)
        x = lab.receive(1, 96_000)[0, 2000:]
        levels[on] = [20 * np.log10(abs(at(x, turns))) for turns in (8 / 96, -8 / 96, 0.0)]
    signal, image, dc = levels[False]
    assert image - signal == pytest.approx(image_db, abs=0.1)
    assert dc == pytest.approx(-30.0, abs=0.1)
    assert levels[True][1] - levels[True][0] == pytest.approx(image_db - 26, abs=0.5)
    assert levels[True][2] == pytest.approx(-56.0, abs=0.5)


def test_transmit_faults_are_there_until_the_device_calibrates():
    """LO leakage at -40 dBFS and an image; after `calib_mode tx_quad` 26 dB less; gone again 200 MHz away."""
    fault = FrontEnd(tx_iq_gain_db=1.0, tx_leakage_dbfs=-40.0)
    lab = Lab([RadioModel("one", front_end=fault), RadioModel("two")], air=CABLE)
    lab.plutos[0].phy.tx_gains_db = [0]
    lab.plutos[1].phy.rx_gains_db = [30]
    lab.send(0, tone(8, 96))

    def faults_db() -> tuple[float, float]:
        x = lab.receive(1, 96_000)[0, 2000:]
        signal = abs(at(x, 8 / 96))
        return 20 * np.log10(abs(at(x, -8 / 96)) / signal), 20 * np.log10(abs(at(x, 0.0)))

    image_db, leakage_db = faults_db()
    assert image_db == pytest.approx(20 * np.log10(np.tanh(np.log(10) / 40)), abs=0.1)
    assert leakage_db == pytest.approx(-40.0, abs=0.1)
    lab.write(0, "calib_mode", "tx_quad")
    calibrated = faults_db()
    assert calibrated[0] == pytest.approx(image_db - 26, abs=0.5)
    assert calibrated[1] == pytest.approx(leakage_db - 26, abs=1.0)
    for phy in (pluto.phy for pluto in lab.plutos):
        phy.tx_lo.frequency_hz = phy.rx_lo.frequency_hz = LO + 200_000_000
    assert faults_db()[0] == pytest.approx(image_db, abs=0.1)


@pytest.mark.parametrize("side", ["tx", "rx"])
def test_rf_bandwidth_is_a_low_pass(side: str):
    """Two tones, one near the edge of the band: what 400 kHz of bandwidth take from it, to 0.1 dB."""
    lab = Lab([])
    lab.send(0, tone(4, 96, 0.25) + tone(32, 96, 0.25))
    wide = lab.receive(1, 50_000)[0, 3000:]
    lab.plutos[side == "rx"].phy.bandwidth_hz[side] = 400_000
    narrow = lab.receive(1, 50_000)[0, 3000:]
    corner_hz = {"tx": 1.6, "rx": 1.4}[side] * 200_000
    for cycles in (4, 32):
        ratio = abs(at(narrow, cycles / 96)) / abs(at(wide, cycles / 96))
        expected = (1 + (cycles / 96 * RATE / corner_hz) ** 6) ** -0.5
        assert 20 * np.log10(ratio) == pytest.approx(20 * np.log10(expected), abs=0.1)


def test_samples_do_not_depend_on_how_time_is_cut():
    """Two runs, in steps of 5 ms and of 0.7 ms: the same codes, through clocks, filters and noise."""
    heard = []
    for step_s in (0.005, 0.0007):
        lab = Lab([RadioModel("one", Oscillator(ppm=11.0)), RadioModel("two", Oscillator(ppm=-7.0))], air=CABLE)
        lab.plutos[1].phy.bandwidth_hz["rx"] = 1_000_000
        lab.send(0, tone(7, 96))
        heard.append(lab.receive(1, 40_000, step_s))
    assert np.array_equal(*heard)


def test_every_radio_of_an_air_hears_the_others():
    """Three, one channel of an air between each two: the level of each link is unity on a channel without fading."""
    lab = Lab([RadioModel(name) for name in ("one", "two", "three")], cabled=False)
    for sender, receiver in itertools.permutations(range(3), 2):
        lab.send(sender, tone(8, 96))
        assert abs(at(lab.receive(receiver, 20_000)[0, 2000:], 8 / 96)) == pytest.approx(0.5, abs=0.005)
        lab.ether.close(lab.plutos[sender], lab.plutos[sender].tx_buffers[0])


@pytest.mark.parametrize("text", ["A.tx1=B.rx1", "A.tx1=B.rx1,-3", "A.rx1=B.tx1,40", "C.tx1=B.rx1,40", "A.tx2=B.rx1,40",
                                  "A.tx1,40", "A.tx1=B.rx1,x", ""])  # fmt: skip
def test_a_cable_that_cannot_be_is_named(text: str):
    with pytest.raises(ScenarioError, match="--cable"):
        parse_cables([text], ["127.0.0.2", "127.0.0.3"], 1)


def test_a_pair_of_ports_has_one_cable():
    with pytest.raises(ScenarioError, match="twice"):
        parse_cables(["A.tx1=B.rx1,40", "1.tx1=2.rx1,50"], ["127.0.0.2", "127.0.0.3"], 1)
