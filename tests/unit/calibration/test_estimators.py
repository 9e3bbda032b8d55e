"""Each procedure's estimator, on signals that textbook formulas make, at 20 dB of SNR."""

from __future__ import annotations

import numpy as np
import pytest

from calibration import antennas, compression, delay, gain_table, noise, oscillator, receive_iq, transmit_iq
from calibration.plan import PERIOD, TonePlan
from testbed.errors import RadioError
from testbed.phy.beacon import beacon_period
from testbed.phy.waveform import Waveform
from tests.unit.calibration.textbook import image_rejection_db, imbalance, level_dbc, rapp, tones
from tests.unit.calibration.textbook import noise as white

RATE = 1.92e6
LO = 2.4e9
COUNT = 960_000


def heard(
    rng,
    plan,
    *,
    tx=(0.0, 0.0, 0j),
    rx=(0.0, 0.0, 0j),
    late=0.0,
    e=1.0,
    phase_noise=0.0,
    predistorted=(0j, 0j),
    snr_db=20.0,
    count=COUNT,
):
    """What a receiver hears of the plan's tones: (gain_db, phase_deg, offset) of both I/Q paths, a delay, the ratio of
    the oscillators; predistorted by (image, leakage)."""
    n = np.arange(count)
    at = (n - late) * e
    x = tones(plan.amplitudes(), np.array(plan.bins) / PERIOD, at)
    sent = imbalance(transmit_iq.predistort(x, *predistorted), *tx[:2]) + tx[2]
    turn = ((LO * (e - 1) + plan.shift_hz) / plan.rate_hz) * n
    walk = np.cumsum(rng.standard_normal(count)) * phase_noise
    arrived = sent * np.exp(2j * np.pi * turn + 1j * walk + 1.234j) * 0.7
    arrived = arrived + white(rng, count, np.mean(np.abs(arrived) ** 2) / 10 ** (snr_db / 10))
    return (imbalance(arrived, *rx[:2]) + rx[2]).astype(np.complex64)


@pytest.mark.parametrize("ppm", [-20.0, 0.0, 13.37])
def test_ppm_to_a_fiftieth_with_drift(rng, ppm):
    """Half a second at 20 dB against a tone of known frequency, drifting 0.1 ppm a minute: within 0.02 ppm."""
    reference_hz, eps = LO + 0.48e6, ppm * 1e-6
    t = np.arange(COUNT) / (RATE * (1 + eps))  # true time of each sample
    eps_t = eps + 0.1e-6 / 60 * t
    phase = reference_hz * t - LO * (t + np.cumsum(eps_t) / RATE / (1 + eps))
    y = 0.3 * np.exp(2j * np.pi * (phase % 1)) + white(rng, COUNT, 0.0009) + 0.01
    found, error = oscillator.estimate(y, RATE, LO, reference_hz)
    assert found == pytest.approx(ppm, abs=0.02)
    assert error < 0.02


@pytest.mark.parametrize("ppm", [-21.3, 4.0])
def test_ppm_by_a_servers_beacons_to_a_fiftieth(rng, ppm):
    """A fifth of a second at 20 dB, the server 5 ppm high; noise alone, and two beacons, are too little."""
    waveform = Waveform()
    sent = np.concatenate([beacon_period(waveform, number) for number in range(7, 27)])
    cfo_hz = LO * ((1 + 5e-6) / (1 + ppm * 1e-6) - 1)
    y = np.roll(sent, 4321) * np.exp(2j * np.pi * cfo_hz / RATE * np.arange(len(sent)))
    y = (y + white(rng, len(y), 10 ** (waveform.rms_dbfs / 10) / 100))[None].astype(np.complex64)
    found, error = oscillator.estimate_by_beacon(y, waveform, LO, 5.0)
    assert found == pytest.approx(ppm, abs=0.02)
    assert abs(found - ppm) < 4 * error < 0.02
    with pytest.raises(RadioError, match="2 beacons heard"):
        oscillator.estimate_by_beacon(y[:, :40_000], waveform, LO, 5.0)
    with pytest.raises(RadioError, match="0 beacons heard"):
        oscillator.estimate_by_beacon(white(rng, 96_000, 1.0)[None], waveform, LO, 5.0)


@pytest.mark.parametrize("e, phase_noise", [(1.0, 0.0), (1 + 21e-6, 2e-3)])
def test_receive_image_and_dc_are_removed(rng, e, phase_noise):
    """Imbalance of 0.8 dB and 4 degrees, DC of -34 dBFS, in a transmitter with faults of its own: with one oscillator
    and with two, 21 ppm apart with phase noise: image at most -65 dBc, DC at most -70 dBFS."""
    plan = TonePlan(RATE)
    y = heard(
        rng, plan, tx=(0.5, -3, 0.01 - 0.004j), rx=(0.8, 4, 0.015 + 0.013j), e=e, phase_noise=phase_noise, late=7.3
    )
    found = receive_iq.estimate(y, plan, LO, e)
    fresh = heard(rng, TonePlan(RATE, bins=(5,)), rx=(0.8, 4, 0.015 + 0.013j), snr_db=60)
    at = (5 + plan.shift) / PERIOD
    assert level_dbc(fresh, -at, at) == pytest.approx(-image_rejection_db(0.8, 4), abs=0.1)
    assert 20 * np.log10(abs(np.mean(fresh))) == pytest.approx(-34, abs=0.2)
    corrected = receive_iq.correct(fresh, found.image, found.dc)
    assert level_dbc(corrected, -at, at) < -65
    assert 20 * np.log10(abs(np.mean(corrected))) < -70


@pytest.mark.parametrize("late", [0.0, 11.7, 31.2])
@pytest.mark.parametrize("e, phase_noise", [(1.0, 0.0), (1 - 13e-6, 2e-3)])
def test_transmit_image_and_leakage_are_removed_through_a_receiver_with_faults(rng, late, e, phase_noise):
    """At any delay: image and leakage of -28 dBc and -26 dBFS come to at most -50 dBc of what is sent."""
    plan, tx = TonePlan(RATE), (0.5, -3, 0.04 - 0.03j)
    y = heard(rng, plan, tx=tx, rx=(0.8, 4, 0.015 + 0.013j), late=late, e=e, phase_noise=phase_noise)
    found = transmit_iq.estimate(y, plan, LO, e)
    after = heard(rng, plan, tx=tx, predistorted=(found.image, found.leakage), snr_db=60, count=96_000)
    lines = plan.received().frequencies
    bins = len(plan.bins)
    before = heard(rng, plan, tx=tx, snr_db=60, count=96_000)
    assert level_dbc(before, lines[2 * bins], lines[0]) > -13
    for k in range(bins):
        assert level_dbc(before, lines[bins + k], lines[k]) == pytest.approx(-image_rejection_db(0.5, -3), abs=0.1)
        assert level_dbc(after, lines[bins + k], lines[k]) < -50
        assert level_dbc(after, lines[2 * bins], lines[k]) < -50


def test_what_is_not_there_is_not_significant(rng):
    """Faultless radios, 40 captures: what is found is beyond three standard errors no more often than chance allows
    (exp(-9) each, so none of 160)."""
    plan = TonePlan(RATE)
    for _ in range(40):
        y = heard(rng, plan, late=rng.uniform(0, 40), count=96_000)
        r, t = receive_iq.estimate(y, plan), transmit_iq.estimate(y, plan)
        for value, error in (
            (r.image, r.image_error),
            (r.dc, r.dc_error),
            (t.image, t.image_error),
            (t.leakage, t.leakage_error),
        ):
            assert abs(value) < 3 * error


def test_an_echo_is_not_taken_for_a_transmitters_fault(rng):
    """Two paths, a tenth of a period apart, one 4 dB below the other: refused."""
    plan = TonePlan(RATE)
    y = heard(rng, plan, count=96_000) + 0.63 * heard(rng, plan, late=5.1, count=96_000)
    with pytest.raises(RadioError, match="one delay"):
        transmit_iq.estimate(y, plan)


def test_gain_tables_come_apart(rng):
    """Pairs in a window of 30 dB, errors of each table drawn at random and 0.02 dB of noise: all steps to 0.2 dB, and
    within their standard errors (chi-squared of 24 figures)."""
    rx, tx = np.arange(4.0, 71, 6), np.arange(-58.0, 1, 6)
    e, d = rng.normal(0, 1, len(rx)), rng.normal(0, 1, len(tx))
    e[6] = d[8] = 0
    levels = {}
    for i, r in enumerate(rx):
        for j, t in enumerate(tx):
            if -40 <= (level := r + t - 40) <= -10:
                levels[r, t] = (level + e[i] + d[j] + 0.02 * rng.standard_normal(), 0.02)
    found = gain_table.estimate(levels, (rx[6], tx[8]))
    pairs = [*zip(found.receive_db.values(), e, strict=True), *zip(found.transmit_db.values(), d, strict=True)]
    assert all(abs(value - true) < 0.2 for (value, _), true in pairs)
    left = [(value - true) / sigma for (value, sigma), true in pairs if sigma]
    assert np.sqrt(np.mean(np.square(left))) < 2
    with pytest.raises(RadioError, match="overlap"):
        gain_table.estimate({(0.0, 0.0): (0, 1), (6.0, -6.0): (0, 1)}, (0.0, 0.0))


def test_a_level_is_that_of_the_tones_without_the_noise(rng):
    """18 dB below the noise, a quarter of a second: within three of its standard errors, which are below 0.1 dB, of the
    closed form; noise alone would add 0.5 dB."""
    plan = TonePlan(RATE)
    y = heard(rng, plan, snr_db=-18.0, count=480_000)
    level, error = gain_table.tone_level(y, plan, LO, 1.0)
    assert level == pytest.approx(10 * np.log10(4 * (plan.level * 0.7) ** 2), abs=3 * error)
    assert error < 0.1


def test_noise_density_and_figure(rng):
    """A resistor at 290 K behind 7 dB of noise figure, at full scale -30 dBm: found to 0.1 dB, as well as it says; DC
    does not count."""
    density_dbm = -173.975 + 7
    variance = 10 ** ((density_dbm + 10 * np.log10(RATE) + 30) / 10)
    found, error = noise.estimate(white(rng, COUNT, variance) + np.sqrt(variance) * 10, RATE)
    assert noise.noise_figure_db(found, -30.0) == pytest.approx(7, abs=min(0.1, 4 * error))
    reported = [noise.estimate(white(rng, 96_000, 1.0), RATE) for _ in range(100)]
    assert np.std([x for x, _ in reported], ddof=1) == pytest.approx(reported[0][1], rel=0.3)


@pytest.mark.parametrize(
    "amplifier, input_at_1_db",
    [
        *((lambda a, p=p: rapp(a, 0.5, p), 0.5 * ((10 ** (p / 10) - 1) ** (1 / (2 * p)))) for p in (1.0, 2.0, 3.0)),
        (lambda a: 0.4 * np.tanh(a / 0.4), 0.4 * 0.6267),  # tanh(x) / x = 10^(-1/20) at x = 0.6267
        (lambda a: a / (1 + (a / 0.9) ** 2), 0.9 * np.sqrt(10 ** (1 / 20) - 1)),  # Saleh's AM/AM
    ],
)
def test_p1db_of_amplifiers_of_several_kinds(rng, amplifier, input_at_1_db):
    """At 20 dB of SNR for each amplitude, integrated over 96000 samples: to 0.3 dB, and within what it says."""
    a = 10 ** (compression.LEVELS_DBFS / 20)
    error = 8.69 * np.sqrt(0.01 / 2 / 96_000) * np.ones(len(a))
    gain = 20 * np.log10(np.abs(amplifier(a)) / a) - 3.0 + error * rng.standard_normal(len(a))
    found = compression.estimate(compression.LEVELS_DBFS, gain, error)
    assert found is not None
    assert found.input_dbfs == pytest.approx(20 * np.log10(input_at_1_db), abs=0.3)
    assert abs(found.input_dbfs - 20 * np.log10(input_at_1_db)) < 3 * found.standard_error_db
    assert found.small_signal_gain_db == pytest.approx(-3, abs=0.05)


def test_a_linear_transmitter_has_no_p1db(rng):
    error = 0.003 * np.ones(len(compression.LEVELS_DBFS))
    assert compression.estimate(compression.LEVELS_DBFS, error * rng.standard_normal(len(error)), error) is None


@pytest.mark.parametrize("late", [0.0, 3.25, 9599.5, 4711.013])
def test_delay_to_a_twentieth_of_a_sample(rng, late):
    """At 20 dB: within 0.05 samples and three standard errors; a transform delays the probe, modulo its period."""
    x = delay.probe()
    turned = np.fft.ifft(np.fft.fft(x) * np.exp(-2j * np.pi * np.fft.fftfreq(len(x)) * late)) * np.exp(2j)
    y = np.tile(turned, (10, 1))
    y = y + white(rng, y.size, np.mean(np.abs(x) ** 2) / 100).reshape(y.shape)
    found, error = delay.estimate(y, x)
    assert (found - late + 4800) % 9600 - 4800 == pytest.approx(0, abs=min(0.05, 4 * error + 1e-6))


def test_delays_reach_their_bound(rng):
    """200 draws against the Cramér-Rao bound of the probe's spectrum: variance to 25 %, and as reported."""
    x, found = delay.probe(), []
    for _ in range(200):
        y = np.tile(x, (4, 1)) + white(rng, 4 * len(x), np.mean(np.abs(x) ** 2) / 100).reshape(4, -1)
        found.append(delay.estimate(y, x))
    at = np.array([(t + 4800) % 9600 - 4800 for t, _ in found])
    omega = 2 * np.pi * np.fft.fftfreq(len(x))[delay.occupied()]
    spread = np.sum((omega - omega.mean()) ** 2)
    snr = 100 / delay.OCCUPIED
    assert np.var(at) == pytest.approx(1 / (2 * 4 * snr * spread), rel=0.25)
    assert np.mean([e**2 for _, e in found]) == pytest.approx(np.var(at), rel=0.25)


def test_a_probe_that_is_not_there_is_refused(rng):
    with pytest.raises(RadioError, match="not among"):
        delay.estimate(white(rng, 96_000, 1.0).reshape(10, -1), delay.probe())


def test_antennas_to_a_degree(rng):
    """Factors of up to 1.5 dB and any phase, 20 dB, two oscillators: within 1 degree and 0.05 dB."""
    plan, e = TonePlan(RATE), 1 + 9e-6
    clean = heard(rng, plan, e=e, phase_noise=2e-3, snr_db=200, count=480_000)
    for g in (1.0, 1.15 * np.exp(2.5j), 0.85 * np.exp(-0.6j)):
        y = np.stack([h * clean + white(rng, len(clean), np.mean(np.abs(clean) ** 2) / 100) for h in (1, g)])
        ((found, error),) = antennas.estimate(y, plan, LO, e)
        assert abs(np.angle(found / g, deg=True)) < 1
        assert 20 * np.log10(abs(found / g)) == pytest.approx(0, abs=0.05)
        assert abs(found - g) < 3 * error + 1e-3
