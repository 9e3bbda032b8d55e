"""A world of radios with clocks of their own, against closed forms: power, offset, clock, delay; and for any cut."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.air.impairments import KERNEL_HALF
from testbed.air.medium import Medium
from testbed.air.oscillator import NS
from testbed.air.paths import apply_schedule, draw_paths, set_link_gain
from testbed.air.power import UNITY_PATH_LOSS_DB, path_amplitude
from testbed.air.resample import LATENCY
from testbed.air.tuned import Tuning
from testbed.air.world import Station, World
from testbed.channels.base import TappedDelayLine
from testbed.config import Air, FrontEnd, Oscillator, RadioModel, convert
from testbed.errors import ShapeError
from testbed.phy.waveform import Waveform

RATE = 1_920_000
LO = 2_400_000_000
TUNED = Tuning(RATE, RATE, LO, LO)


def station(name, tx=1, rx=1, front_end=None, **oscillator):
    model = RadioModel(name=name, oscillator=Oscillator(**oscillator), front_end=front_end or FrontEnd())
    return Station(model, tx, rx)


def cable(loss_db=0.0, delay_s=0.0):
    one, still = np.ones(1), np.zeros((1, 1))
    line = TappedDelayLine(np.array([delay_s]), one, still, still, one, 0.0)
    return line.scaled(path_amplitude(loss_db))


def pair(a=None, b=None, line=None, tunings=None, seed=1):
    """Radios a and b, a path from a to b."""
    stations = [a or station("a"), b or station("b")]
    tuned = {"a": TUNED, "b": TUNED} | (tunings or {})
    return World(stations, {(("a", 0), ("b", 0)): line or cable()}, tuned, seed)


def play(world, wave, seconds, steps=7):
    """What b hears of a, which sends ``wave(indices)``."""
    heard = []
    for end in np.linspace(0, seconds * NS, steps + 1)[1:].astype(np.int64):
        first = world.passed("a")[0]
        count = world.due(int(end))["a"][0]
        heard.append(world.advance(int(end), {"a": wave(first + np.arange(count))[None]})["b"][0])
    return np.concatenate(heard)


def tone(frequency_hz, amplitude=1.0, rate=RATE):
    """A tone whose phase is exact at any index."""

    def wave(n):
        turns = frequency_hz * (n % rate) / rate
        return (amplitude * np.exp(2j * np.pi * (turns % 1.0))).astype(np.complex64)

    return wave


def frequency_hz(y, rate=RATE):
    """Of one tone, by the phase between two halves of it: to 1e-4 Hz for a second of samples."""
    coarse = np.argmax(np.abs(np.fft.fft(y))) / len(y) * rate
    coarse -= rate * (coarse > rate / 2)
    base = y * np.exp(-2j * np.pi * (coarse / rate * np.arange(len(y)) % 1.0))
    half = len(y) // 2
    turn = np.angle(np.sum(base[half : 2 * half]) * np.conj(np.sum(base[:half]))) / (2 * np.pi)
    return coarse + turn * rate / half


def test_a_link_has_the_power_that_its_loss_leaves():
    """Antenna to antenna, in dBm: 0.05 dB, through two resamplers of clocks 40 ppm apart."""
    world = pair(station("a", ppm=20.0), station("b", ppm=-20.0), cable(loss_db=63.0))
    y = play(world, tone(200e3, amplitude=10 ** (5 / 20)), 0.02)[200:]
    assert 10 * np.log10(np.mean(np.abs(y) ** 2)) == pytest.approx(5.0 - 63.0, abs=0.05)


@pytest.mark.parametrize(("a_ppm", "b_ppm", "lo_hz"), [(20.0, -20.0, 2_400_000_000), (7.5, 0.0, 1_200_000_000)])
def test_one_ppm_figure_moves_carrier_and_clock(a_ppm, b_ppm, lo_hz):
    """A tone at f by a's clock appears at (f (1 + a) + LO (a - b)) / (1 + b) by b's, to 0.01 Hz, after 1 s."""
    tuned = Tuning(RATE, RATE, lo_hz, lo_hz)
    world = pair(station("a", ppm=a_ppm), station("b", ppm=b_ppm), tunings={"a": tuned, "b": tuned})
    y = play(world, tone(100e3), 1.0)[500:]
    a, b = a_ppm * 1e-6, b_ppm * 1e-6
    assert frequency_hz(y) == pytest.approx((100e3 * (1 + a) + lo_hz * (a - b)) / (1 + b), abs=0.01)
    assert world.cfo_hz("a", "b") == pytest.approx(lo_hz * (a - b), abs=1e-6)


def test_samples_are_counted_by_each_clock():
    """Over 100 s a's and b's sample counts tell their ppm to 0.01; a step of time that is asked for is met exactly."""
    world = pair(station("a", ppm=12.3), station("b", ppm=-17.9))
    due = world.due(100 * NS)
    assert (due["a"][0] / (100 * RATE) - 1) * 1e6 == pytest.approx(12.3, abs=0.01)
    assert (due["b"][1] / (100 * RATE) - 1) * 1e6 == pytest.approx(-17.9, abs=0.01)
    for count in (1, 2, 9999, 10_000):
        time_ns = world.time_of("b", count)
        assert world.due(time_ns)["b"][1] == count
        assert world.due(time_ns - 1)["b"][1] == count - 1


def test_drift_moves_the_carrier():
    """0.1 ppm a minute of 2.4 GHz is 4 Hz a second: against the phase in closed form, 0.01 Hz."""
    world = pair(station("a", ppm=1.0, drift_ppm_per_min=0.1))
    world.advance(10 * NS, {}, listening=())
    end = 11 * NS
    y = world.advance(end, {"a": np.ones((1, world.due(end)["a"][0]), np.complex64)})["b"][0][500:]
    t = 10 + (500 + np.arange(len(y))) / RATE
    turns = LO * (1e-6 * t + 0.1e-6 / 60 * t**2 / 2)
    assert frequency_hz(y * np.exp(-2j * np.pi * turns)) == pytest.approx(0.0, abs=0.01)
    assert world.cfo_hz("a", "b") == pytest.approx(LO * (1e-6 + 0.1e-6 / 60 * 11), abs=1e-3)


def test_delays_are_those_of_path_and_front_ends():
    """A pulse's centre, by its phase slope: to 0.01 samples. Path, transmitter, receiver and the constant latency."""
    front_ends = FrontEnd(tx_delay_samples=3.25), FrontEnd(rx_delay_samples=10.5)
    world = pair(
        station("a", front_end=front_ends[0]), station("b", front_end=front_ends[1]), cable(delay_s=40.2 / RATE)
    )

    def pulse(n):
        return (np.exp(-0.5 * ((n - 500) / 4.0) ** 2)).astype(np.complex64)

    y = np.abs(play(world, pulse, 0.001)) ** 2
    centre = np.sum(np.arange(len(y)) * y) / np.sum(y)
    latency = world.latency_s("a", "b") * RATE
    assert latency == pytest.approx(2 * LATENCY + KERNEL_HALF)
    assert centre == pytest.approx(500 + 40.2 + 3.25 + 10.5 + latency, abs=0.01)


def test_radios_start_when_they_start():
    """Sample 0 of a falls at its start; b, which starts later, counts from its own."""
    world = pair(station("a", start_s=0.0005), station("b", start_s=0.0002))
    until_ns = 1_000_000
    assert world.due(until_ns) == {"a": (960, 960), "b": (1536, 1536)}
    y = play(world, lambda n: np.ones(len(n), np.complex64), 0.001)
    edge = np.flatnonzero(np.abs(y) > 0.5)[0]
    assert edge == 576 + round(world.latency_s("a", "b") * RATE)


@pytest.mark.parametrize("b_ppm", [0.0, -33.0])
def test_steps_do_not_matter(b_ppm, rng):
    """Bit for bit, for steps from 1 ns to milliseconds, with drift, phase noise, fading and silence in between."""
    x = rng.standard_normal((1, 20_000, 2), dtype=np.float32).view(np.complex64)[..., 0]
    x[:, 3000:5000] = 0

    def run(ends):
        a = station("a", ppm=25.0, drift_ppm_per_min=3.0, linewidth_hz=20.0, start_s=0.0001, phase_deg=30.0)
        b = station("b", ppm=b_ppm)
        paths = draw_paths([a, b], "b", {"a": 0}, Waveform(), Air(doppler_hz=300.0), 3)
        world = World([a, b], paths, {"a": TUNED, "b": TUNED}, 3)
        world.set_gain((("a", 0), ("b", 0)), -20.0, at_ns=4_000_123)
        got = []
        for end in ends:
            first, count = world.passed("a")[0], world.due(end)["a"][0]
            quiet = first >= 3000 and first + count <= 5000
            got.append(world.advance(end, {} if quiet else {"a": x[:, first : first + count]})["b"])
        return np.concatenate(got, axis=1)

    ends = np.cumsum([1, 1, 520, 521, 300_000, 999_999, 300_001, 200_000, 200_000, 1, 2_500_000, 3_498_956])
    whole = run([8_000_000])
    assert np.abs(whole).max() > 1e-3
    assert np.array_equal(run([*ends.tolist(), 8_000_000]), whole)


def test_two_ideal_radios_hear_what_the_medium_mixes(rng):
    """An edge and a server without faults, through the same realisations: -65 dB, and 30 dB of path loss."""
    air = Air(snr_db=80.0, doppler_hz=5.0, user_cfo_hz=[0.0, 0.0], common_cfo_hz=0.0)
    stations = [station("edge-1"), station("edge-2"), station("server", rx=2)]
    users = {"edge-1": 0, "edge-2": 1}
    world = World(
        stations,
        draw_paths(stations, "server", users, Waveform(), air, 5),
        dict.fromkeys((*users, "server"), TUNED),
        5,
    )
    frequencies = 100e3 * np.arange(-6, 7)
    t = np.arange(9600) / RATE
    x = np.stack([np.exp(2j * np.pi * (frequencies[:, None] * t + rng.random((13, 1)))).sum(axis=0) for _ in users])
    x = x.astype(np.complex64)
    y = world.advance(5_000_000, {"edge-1": x[:1], "edge-2": x[1:]})["server"]
    expected = Medium(Waveform(), air, [0, 1], 2, 5).mix(x, 0)
    shift = 2 * LATENCY
    got = y[:, shift + 100 :] / np.float32(path_amplitude(UNITY_PATH_LOSS_DB))
    wanted = expected[:, 100:-shift]
    assert 10 * np.log10(np.mean(np.abs(got - wanted) ** 2) / np.mean(np.abs(wanted) ** 2)) < -65


def test_the_channel_is_the_same_in_both_directions():
    """What the server sends from one antenna arrives at the edge as what the edge sends arrives at that antenna."""
    air = Air(doppler_hz=5.0)
    stations = [station("edge-1"), station("server", tx=2, rx=2)]
    paths = draw_paths(stations, "server", {"edge-1": 0}, Waveform(), air, 5)
    assert len(paths) == 4
    world = World(stations, paths, {"edge-1": TUNED, "server": TUNED}, 5)
    x = tone(150e3)(np.arange(4000))
    none = np.zeros_like(x)
    for antenna in range(2):
        sent = {"edge-1": x[None], "server": np.stack([x if a == antenna else none for a in range(2)])}
        end = world.time_of("server", 4000)
        heard = world.advance(end, sent)
        np.testing.assert_allclose(heard["edge-1"][0][500:], heard["server"][antenna][500:], atol=1e-6)
        assert np.abs(heard["edge-1"]).max() > 1e-3


def test_a_schedule_holds_in_both_directions_from_its_sample_on():
    """A link of -6 dB goes to a path loss of 50 dB at sample 1000: from -36 dB to -50 dB there, to 0.01 dB."""
    schedule = [{"at_sample": 1000, "link": "edge-1.server", "path_loss_db": 50.0}]
    links = [{"user": 0, "gain_db": -6.0}]
    air = convert({"channel": "AWGN", "links": links, "schedule": schedule, "user_delay_samples": [0.0]}, Air)
    stations, users = [station("edge-1"), station("server", tx=1, rx=1)], {"edge-1": 0}
    paths = draw_paths(stations, "server", users, Waveform(), air, 5)
    world = World(stations, paths, {"edge-1": TUNED, "server": TUNED}, 5)
    apply_schedule(world, "server", users, air, RATE)
    ones = np.ones((1, 3840), np.complex64)
    heard = world.advance(2_000_000, {"edge-1": ones, "server": ones})
    for y in heard.values():
        level_db = 20 * np.log10(np.abs(y[0]) + 1e-12)
        last = 1000 + LATENCY  # where the change comes out of the receiver's resampler
        assert level_db[200 : last - LATENCY] == pytest.approx(-36.0, abs=0.01)
        assert level_db[last + LATENCY :] == pytest.approx(-50.0, abs=0.01)
        assert level_db[last - 1] > -43 > level_db[last]
    with pytest.raises(ShapeError, match="no path between edge-2 and server"):
        set_link_gain(world, "server", users | {"edge-2": 1}, air, "edge-2", 0.0)


@pytest.mark.parametrize("offset_hz", [300e3, -700e3])
def test_bands_that_overlap_in_part_are_heard_in_part(offset_hz):
    """A transmitter 0.3 or 0.7 MHz aside: tones in the receiver's band stand at their frequency, others are gone."""
    tunings = {"a": Tuning(RATE, RATE, LO + offset_hz, LO)}
    inside_hz, outside_hz = -0.5 * offset_hz, (700e3 if offset_hz > 0 else -500e3)
    world = pair(tunings=tunings)
    y = play(world, tone(inside_hz), 0.01)[400:]
    assert frequency_hz(y) == pytest.approx(inside_hz + offset_hz, abs=0.1)
    assert 20 * np.log10(np.abs(y)).min() > -0.05
    gone = play(pair(tunings=tunings), tone(outside_hz), 0.01)[400:]
    assert 20 * np.log10(np.abs(gone).max() + 1e-12) < -65


def test_bands_apart_are_not_heard():
    world = pair(tunings={"a": Tuning(RATE, RATE, LO + 2e6, LO)})
    assert not play(world, tone(0.0), 0.002).any()


@pytest.mark.parametrize(("tx_rate", "rx_rate"), [(3_840_000, RATE), (RATE, 3_840_000), (30_720_000, RATE)])
def test_rates_may_differ(tx_rate, rx_rate):
    """A tone inside both bands keeps frequency and level; one above the receiver's band is gone."""
    tunings = {"a": Tuning(tx_rate, tx_rate, LO, LO), "b": Tuning(rx_rate, rx_rate, LO, LO)}
    y = play(pair(tunings=tunings), tone(310e3, rate=tx_rate), 0.004)[600:]
    assert frequency_hz(y, rx_rate) == pytest.approx(310e3, abs=0.5)
    assert 20 * np.log10(np.abs(y).mean()) == pytest.approx(0.0, abs=0.02)
    if tx_rate > rx_rate:
        gone = play(pair(tunings=tunings), tone(1.2e6, rate=tx_rate), 0.004)[600:]
        assert 20 * np.log10(np.abs(gone).max() + 1e-12) < -65


def test_a_correction_takes_the_offset_away():
    """``correction_ppm`` moves carrier and clock from its moment on: a's 20 ppm are gone, without a step in phase."""
    world = pair(station("a", ppm=20.0, phase_deg=120.0))
    exact = -20.0 / (1 + 20e-6)  # (1 + 20 ppm)(1 + c) = 1
    first = play(world, tone(0.0), 0.01)
    world.tune("a", Tuning(RATE, RATE, LO, LO, correction_ppm=exact))
    end = 30_000_000
    second = world.advance(end, {"a": np.ones((1, world.due(end)["a"][0]), np.complex64)})["b"][0]
    assert frequency_hz(first[200:]) == pytest.approx(48_000.0, abs=0.1)
    assert frequency_hz(second[200:]) == pytest.approx(0.0, abs=0.01)
    joined = np.concatenate([first, second])[len(first) - 100 : len(first) + 200]
    steps = np.angle(joined[1:] / joined[:-1]) / (2 * np.pi) * RATE
    assert np.all((steps > -1e3) & (steps < 49e3))
    assert world.due(end + NS)["a"][0] == RATE


def test_what_is_on_its_way_arrives_after_its_sender_fell_silent():
    """A path of 400 samples and a sender that hands in nothing after its pulse: the same as one that hands in zeros."""

    def run(silent):
        world, heard = pair(line=cable(delay_s=400 / RATE)), []
        for end in range(50_000, 1_000_000, 50_000):
            first, count = world.passed("a")[0], world.due(end)["a"][0]
            pulse = (first + np.arange(count) < 100).astype(np.complex64)[None]
            heard.append(world.advance(end, {} if silent and not pulse.any() else {"a": pulse})["b"][0])
        return np.concatenate(heard)

    assert np.count_nonzero(np.abs(run(True)) > 0.5) == 100
    assert np.array_equal(run(True), run(False))


def test_who_does_not_listen_loses_samples_and_hears_again():
    world = pair(station("a", ppm=5.0))
    y = []
    for step, listening in enumerate((["b"], [], ["b"])):
        end = (step + 1) * 1_000_000
        sent = {"a": tone(10e3)(world.passed("a")[0] + np.arange(world.due(end)["a"][0]))[None]}
        heard = world.advance(end, sent, listening)
        assert list(heard) == listening
        y.append(heard.get("b"))
    assert world.passed("b")[1] == 5760
    assert np.abs(y[2][0, 100:]).min() > 0.99
    whole = play(pair(station("a", ppm=5.0)), tone(10e3), 0.003)
    np.testing.assert_allclose(y[2][0, 100:], whole[-1820:], atol=1e-5)


def test_a_new_rate_begins_at_sample_0():
    world = pair()
    play(world, tone(10e3), 0.001)
    fast = Tuning(2 * RATE, 2 * RATE, LO, LO)
    for name in ("a", "b"):
        world.tune(name, fast)
        assert world.passed(name) == (0, 0)
    until_ns = 2_000_000
    x = tone(10e3, rate=2 * RATE)(np.arange(world.due(until_ns)["a"][0]))
    y = world.advance(until_ns, {"a": x[None]})["b"][0]
    assert len(y) == 3840
    assert np.abs(y[100:]).min() > 0.99


def test_what_cannot_be_is_refused():
    world = pair()
    with pytest.raises(ShapeError, match=r"a transmits \(1, 5\): due at 1000000 ns is \(1, 1920\)"):
        world.advance(1_000_000, {"a": np.zeros((1, 5), np.complex64)})
    world.advance(1_000_000, {})
    with pytest.raises(ShapeError, match="allowed: 1000000 or later"):
        world.advance(0, {})
    with pytest.raises(ShapeError, match="no path"):
        world.set_gain((("b", 0), ("a", 0)), 3.0)
    with pytest.raises(ShapeError, match="at_ns = 5: allowed: 1000000 or later"):
        world.set_gain((("a", 0), ("b", 0)), 3.0, at_ns=5)


def test_phase_noise_turns_what_is_heard():
    """The phase of a carrier wanders as its linewidth says: Var over 1000 samples is 2 pi linewidth t, within
    4 standard errors of 480 steps; and it does not without one."""
    linewidth_hz, lag = 30.0, 1000
    for a, variance in ((station("a", linewidth_hz=linewidth_hz), 2 * np.pi * linewidth_hz * lag / RATE), (None, 0.0)):
        y = play(pair(a), tone(0.0), 0.25)[200:]
        steps = np.angle(y[lag::lag] * y[:-lag:lag].conj())
        assert np.mean(steps**2) == pytest.approx(variance, rel=4 * np.sqrt(2 / len(steps)), abs=1e-9)
