"""The medium against its own equation: what `mix` does to samples is what `response` and `truth` say."""

import itertools

import numpy as np
import pytest

from testbed.air._kernels import superimpose
from testbed.air.medium import Medium
from testbed.channels.registry import MODELS
from testbed.config import Air, convert
from testbed.errors import ScenarioError, ShapeError
from testbed.phy.ofdm import demodulate, modulate, tx_amplitude
from testbed.phy.waveform import PROFILES, Waveform

WAVEFORM = Waveform()
QUIET = 80.0  # dB SNR
STILL = {"user_cfo_hz": [0.0], "common_cfo_hz": 0.0}


def medium(seed=1, users=(0, 1), antennas=2, waveform=WAVEFORM, **air):
    return Medium(waveform, Air(**air), list(users), antennas, seed)


def gaussian(rng, *shape):
    pairs = rng.standard_normal((*shape, 2), dtype=np.float32)
    return (pairs * np.float32(np.sqrt(0.5))).view(np.complex64)[..., 0]


def nmse_db(measured, expected):
    return 10 * np.log10(np.mean(np.abs(measured - expected) ** 2) / np.mean(np.abs(expected) ** 2))


@pytest.mark.parametrize("channel", MODELS)
@pytest.mark.parametrize("profile", sorted(PROFILES))
@pytest.mark.parametrize(("user", "doppler_hz", "limit_db"), [(0, 0.0, -65), (1, 0.0, -65), (1, 5.0, -60)])
def test_sounding_measures_the_response(channel, profile, user, doppler_hz, limit_db, rng):
    """One user sends 40 known symbols; least squares on each element agrees with the exact channel.

    Mean squared error relative to E|h|^2 = 1: a still channel -65 dB (noise is at -80, ripples of the interpolator
    beyond the prefix at -69), 5 Hz Doppler -60 dB (inter-carrier interference (2 pi f_d T)^2 / 24 is -67 dB on
    average)."""
    waveform = Waveform(profile=profile)
    air = medium(waveform=waveform, channel=channel, snr_db=QUIET, doppler_hz=doppler_hz)
    grid = np.exp(1j * rng.uniform(-np.pi, np.pi, (40, waveform.occupied_subcarriers))).astype(np.complex64)
    first = 100_000
    sent = np.pad(modulate(grid, waveform) * np.float32(tx_amplitude(waveform)), (0, 100))
    received = air.mix({user: sent}, first)

    truth = air.truth
    n = first + np.arange(len(sent))
    offset_hz = truth.common_cfo_hz + truth.user_cfo_hz[user]  # taken out: the FFT is to see no interference from it
    still = received * np.exp(-2j * np.pi * (offset_hz / waveform.sample_rate_hz * n % 1.0))
    # The window lies 4 samples behind the transmitter's: paths and the interpolator's ripples lie inside the prefix.
    sounded = demodulate(still.astype(np.complex64), waveform, 40, offset=4) / grid / tx_amplitude(waveform)
    centre = first + np.arange(40) * waveform.symbol_samples + waveform.cp_samples + 4 + (waveform.fft_size - 1) / 2
    turn = np.exp(2j * np.pi * (truth.user_cfo_hz[user] / waveform.sample_rate_hz * centre))[:, None]
    shift = np.exp(2j * np.pi * 4 * waveform.subcarriers / waveform.fft_size)
    expected = air.response(centre)[..., user] * shift[:, None] * turn.conj()[..., None]
    for antenna in range(2):
        error = np.mean(np.abs(sounded[antenna] - expected[..., antenna]) ** 2)
        assert 10 * np.log10(error) < limit_db


@pytest.mark.parametrize("doppler_hz", [0.0, 5.0, 200.0, 2000.0])
def test_a_tone_meets_the_response_at_every_sample(doppler_hz):
    """A steady tone of each user times the response, common offset included: -58 dB, also between grid points at 2 kHz
    Doppler (linear interpolation alone is bounded by -60 dB)."""
    air = medium(snr_db=QUIET, doppler_hz=doppler_hz)
    rate = WAVEFORM.sample_rate_hz
    tones_hz = np.array([-470e3, 310e3])
    n = 5000 + np.arange(6000)
    tones = np.exp(2j * np.pi * tones_hz[:, None] / rate * n)
    received = air.mix(tones.astype(np.complex64), 5000)[:, 100:]
    h = air.response(n[100:], tones_hz)  # [n, 2, A, U]
    expected = sum(h[:, u, :, u].T * tones[u, 100:] for u in range(2))
    expected = expected * np.exp(2j * np.pi * air.truth.common_cfo_hz / rate * n[100:])
    assert nmse_db(received, expected) < -58


def test_blocks_do_not_matter(rng):
    """Bit for bit, for any cut, also where gains move fast and delays are long."""
    x = gaussian(rng, 2, 20_000)
    settings = {"doppler_hz": 300.0, "user_delay_samples": [40.3, 0.0]}
    whole = medium(**settings).mix(x, 0)
    cuts = [0, 1, 2, 65, 66, 7000, 7007, 7007, 16_384, 20_000]
    air = medium(**settings)
    parts = [air.mix(x[:, a:b], a) for a, b in itertools.pairwise(cuts)]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)


def test_a_gap_counts_as_silence(rng):
    x = gaussian(rng, 2, 600)
    x[:, 200:210] = 0
    whole = medium().mix(x, 0)
    air = medium()
    parts = [air.mix(x[:, :200], 0), air.mix(x[:, 210:], 210)]
    assert np.array_equal(parts[0], whole[:, :200])
    assert np.array_equal(parts[1], whole[:, 210:])
    with pytest.raises(ShapeError, match="600 or later"):
        air.mix(x, 599)


def test_users_superimpose(rng):
    """mix(a, b) = mix(a, -) + mix(-, b) apart from the noise, which is the same in all three."""
    x = gaussian(rng, 2, 3000)
    both = medium().mix(x, 0)
    one, other, none = medium().mix({0: x[0]}, 0), medium().mix({1: x[1]}, 0), medium().mix(np.zeros_like(x), 0)
    assert np.abs(both - (one + other - none)).max() < 1e-5


def test_the_seed_decides_all_and_two_seeds_differ(rng):
    x = gaussian(rng, 2, 500)
    assert np.array_equal(medium(seed=5).mix(x, 0), medium(seed=5).mix(x, 0))
    one, other = medium(seed=5), medium(seed=6)
    assert one.truth != other.truth
    h, g = one.response(np.zeros(1)), other.response(np.zeros(1))
    assert np.abs(h - g).min() > 1e-4


def test_a_user_keeps_its_channel_when_others_come():
    """Streams are keyed by antenna and user number: users 0 and 1 are the same beside a third, with a third antenna."""
    few, many = medium(), medium(users=(0, 1, 2), antennas=3)
    assert few.truth.user_cfo_hz == many.truth.user_cfo_hz[:2]
    assert few.truth.common_cfo_hz == many.truth.common_cfo_hz
    times = np.array([0.0, 1e6])
    assert np.array_equal(few.response(times), many.response(times)[:, :, :2, :2])


def test_channel_power_is_one_and_antennas_and_users_differ():
    """1500 realisations of 2 x 2 at one frequency: E|h|^2 = 1 within 4 standard errors; entries uncorrelated."""
    h = np.stack([medium(seed=s).response(np.zeros(1), np.zeros(1))[0, 0].ravel() for s in range(1500)])
    assert np.mean(np.abs(h) ** 2, axis=0) == pytest.approx(np.ones(4), abs=4 / np.sqrt(1500))
    correlation = h.T @ h.conj() / len(h)
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(1500)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_snr_is_es_over_n0_per_resource_element(snr_db, rng):
    """QPSK frame through AWGN, 2 x 99 x 72 elements: Es and N0 apart, each within 4 standard errors (3 %)."""
    air = medium(users=(0,), channel="AWGN", snr_db=snr_db, user_delay_samples=[0.0], **STILL)
    grid = np.exp(0.5j * np.pi * rng.integers(0, 4, (99, 72))).astype(np.complex64)
    frame = (modulate(grid, WAVEFORM) * np.float32(tx_amplitude(WAVEFORM))).astype(np.complex64)
    sent = np.concatenate([frame, np.zeros(64, np.complex64)])[None]
    y = demodulate(air.mix(sent, 0), WAVEFORM, 99, offset=4)
    clean = y / grid
    h = clean.mean(axis=1, keepdims=True)  # over symbols; the phase slope of the latency stays
    n0 = np.mean(np.abs(clean - h) ** 2) * 99 / 98
    es = np.mean(np.abs(clean) ** 2) - n0
    assert es == pytest.approx(tx_amplitude(WAVEFORM) ** 2, rel=0.03)
    assert 10 * np.log10(es / n0) == pytest.approx(snr_db, abs=0.15)
    assert n0 == pytest.approx(air.truth.noise_variance, rel=4 / np.sqrt(2 * 99 * 72))


def noise_of(air, first, count):
    """[A, count] of what comes while nobody sends, in units of the noise's own standard deviation."""
    silence = np.zeros((len(air.users), count), np.complex64)
    return air.mix(silence, first) / np.sqrt(air.truth.noise_variance)


def correlation_at_any_shift(a, b):
    """[n] |mean of a(m + shift) b*(m)| for every circular shift: of independent noise its square has the mean 1/n."""
    return np.abs(np.fft.ifft(np.fft.fft(a) * np.fft.fft(b).conj())) / len(a)


@pytest.mark.parametrize("antennas", [2, 4])
def test_noise_is_white_of_one_power_and_independent_between_antennas(antennas):
    """2^17 samples over 17 chunks: at no shift is an antenna's noise, or its conjugate, correlated with another's or,
    but for shift 0, with its own. By chance |c|^2 > r^2 has probability exp(-n r^2): the limit, 1.4 %, is passed at one
    of all shifts with 1e-6 a pair; a stream used twice has 100 %. Power is 1 within 4.9 standard errors (1.4 %, 1e-6).
    """
    count = 2**17
    w = noise_of(medium(antennas=antennas, snr_db=13.0), 123_456, count)
    assert np.mean(np.abs(w) ** 2, axis=1) == pytest.approx(np.ones(antennas), abs=4.9 / np.sqrt(count))
    limit = np.sqrt(np.log(count / 1e-6) / count)
    for one, other in itertools.combinations_with_replacement(range(antennas), 2):
        first = 1 if one == other else 0
        assert correlation_at_any_shift(w[one], w[other])[first:].max() < limit
        assert correlation_at_any_shift(w[one], w[other].conj()).max() < np.sqrt(2) * limit  # of itself: twice 1/n


def test_noise_of_other_seeds_and_other_times_is_other_noise():
    """Seeds 1, 2 and 1001, and seed 1 a minute later: at no shift correlated; the limit is
    2.7 %, the chance as above."""
    count = 2**15
    streams = [noise_of(medium(seed=seed), 0, count) for seed in (1, 2, 1001)]
    streams.append(noise_of(medium(seed=1), 60 * 1_920_000, count))
    limit = np.sqrt(np.log(count / 1e-6) / count)
    for one, other in itertools.combinations(streams, 2):
        for a, b in itertools.product(one, other):
            assert correlation_at_any_shift(a, b).max() < limit


@pytest.mark.parametrize("delay", [0.0, 2.5, 7.31])
def test_user_delay_shows_as_phase_slope(delay, rng):
    """Delay by regression of the phase over the subcarriers: right to 1e-3 samples."""
    air = medium(users=(0,), channel="AWGN", snr_db=QUIET, user_delay_samples=[delay], **STILL)
    grid = np.exp(0.5j * np.pi * rng.integers(0, 4, (10, 72))).astype(np.complex64)
    sent = np.concatenate([modulate(grid, WAVEFORM), np.zeros(64, np.complex64)])[None]
    h = (demodulate(air.mix(sent, 0), WAVEFORM, 10, offset=8) / grid).mean(axis=1)[0]
    slope = np.polyfit(WAVEFORM.subcarriers, np.unwrap(np.angle(h)), 1)[0]
    measured = -slope * WAVEFORM.fft_size / (2 * np.pi) + 8 - air.truth.latency_samples
    assert measured == pytest.approx(delay, abs=1e-3)


def test_awgn_gives_orthogonal_users_of_unit_gain():
    h = medium(users=(0, 1, 2, 3), antennas=4, channel="AWGN").response(np.array([0.0]), np.zeros(1))[0, 0]
    assert np.abs(h) == pytest.approx(np.ones((4, 4)))
    assert h.conj().T @ h == pytest.approx(4 * np.eye(4), abs=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_drawn_stays_within_its_limits(seed):
    truth = medium(seed=seed, users=(0, 1, 2)).truth
    assert abs(truth.common_cfo_hz) <= 25e3
    assert max(np.abs(truth.user_cfo_hz)) <= 100
    assert 0 <= min(truth.user_delay_samples) <= max(truth.user_delay_samples) <= WAVEFORM.cp_samples / 2
    assert len(set(truth.user_delay_samples)) == 3


def test_given_offsets_are_taken():
    truth = medium(users=(1,), common_cfo_hz=5.0, user_cfo_hz=[1.0, -2.0], user_delay_samples=[0.5, 3.0]).truth
    assert (truth.common_cfo_hz, truth.user_cfo_hz, truth.user_delay_samples) == (5.0, [-2.0], [3.0])


def test_within_limits_nothing_is_warned_of():
    assert medium(user_cfo_hz=[-100.0, 100.0], user_delay_samples=[0.0, 7.0]).warnings() == []


@pytest.mark.parametrize(("difference_hz", "sir_db"), [(300, 28.8), (600, 22.8), (1500, 14.7)])
def test_cfo_differences_are_warned_of_with_their_interference(difference_hz, sir_db):
    """At 15 kHz spacing, in closed form: sinc^2(e) / (1 - sinc^2(e)) at an offset of e subcarriers (Moose 1994)."""
    (line,) = medium(user_cfo_hz=[0.0, difference_hz], user_delay_samples=[0.0, 0.0]).warnings()
    assert f"differ by {difference_hz} Hz" in line
    assert f"interference is {sir_db} dB" in line


@pytest.mark.parametrize(("delay", "excess"), [(20.0, 2.0), (32.0, 8.0)])
def test_delays_are_warned_of_with_their_interference(delay, excess, rng):
    """Two static users on a full band; the window in the middle leaves `excess` samples of each outside the prefix. The
    stated figure is the measured error of both users' elements, 600 symbols, to 0.3 dB."""
    full = Waveform(occupied_subcarriers=126)
    settings = {"channel": "AWGN", "snr_db": QUIET, "user_cfo_hz": [0.0, 0.0], "common_cfo_hz": 0.0}
    air = medium(antennas=1, waveform=full, user_delay_samples=[0.0, delay], **settings)
    (line,) = air.warnings()
    assert line.startswith(f"user 1: delay {delay}")
    stated_db = float(line.split("together: ")[1].split()[0])
    assert 10 ** (-stated_db / 10) == pytest.approx(2 * (1 - (1 - excess / 128) ** 2), rel=0.02)
    grid = np.exp(0.5j * np.pi * rng.integers(0, 4, (2, 600, 126))).astype(np.complex64)
    sent = np.concatenate([modulate(grid, full), np.zeros((2, 100), np.complex64)], axis=1)
    offset = int(air.truth.latency_samples + delay / 2 - full.cp_samples / 2)
    lost = 0.0
    for u in range(2):
        received = air.mix({u: sent[u]}, u * sent.shape[1] * 2)
        y = demodulate(received, full, 600, offset=offset)[0]
        h = (y * grid[u].conj()).mean(axis=0)
        lost += np.mean(np.abs(y - h * grid[u]) ** 2)
    assert -10 * np.log10(lost) == pytest.approx(stated_db, abs=0.3)


def test_delay_within_the_prefix_costs_nothing_and_is_not_warned_of():
    assert medium(channel="AWGN", user_delay_samples=[0.0, 12.0], user_cfo_hz=[0.0, 0.0]).warnings() == []


def test_wrong_delays_and_shapes_are_refused(rng):
    with pytest.raises(ScenarioError, match=r"user_delay_samples = \[-1.0, 2.0\]"):
        medium(user_delay_samples=[-1.0, 2.0])
    with pytest.raises(ScenarioError, match="one value for each user"):
        medium(user_cfo_hz=[1.0])
    with pytest.raises(ShapeError, match="allowed: \\[2, n\\]"):
        medium().mix(gaussian(rng, 3, 10), 0)
    with pytest.raises(ShapeError, match="users \\[7\\] are not in this medium"):
        medium().mix({7: gaussian(rng, 10)}, 0)
    with pytest.raises(ShapeError, match="lengths"):
        medium().mix({0: gaussian(rng, 10), 1: gaussian(rng, 11)}, 0)


def test_the_kernel_equals_its_numpy_twin(rng):
    """Random coefficients, blocks that begin within a segment: to 1e-5."""
    users, antennas, taps, count, step, first = 3, 2, 16, 500, 64, 1_000_037
    points = (first + count - 1) // step + 1 - first // step + 1
    h = gaussian(rng, points, antennas, users, taps)
    x = gaussian(rng, users, count + 60)
    starts, begins = np.array([0, 7, 40]), np.array([[0, 8, 0], [3, 0, 15]])
    h[:, np.arange(taps) < begins[..., None]] = 0
    y = np.zeros((2, antennas, count), np.float32)
    parts = (x.real.copy(), x.imag.copy(), starts, begins, h.real.copy(), h.imag.copy(), first, step, y[0], y[1])
    superimpose(*parts)

    n = np.arange(count)
    g, alpha = (first + n) // step - first // step, ((first + n) % step / step)[:, None, None, None]
    moving = (1 - alpha) * h[g] + alpha * h[g + 1]  # [n, A, U, K]
    windows = np.stack([x[u, starts[u] + n[:, None] + np.arange(taps)] for u in range(users)], axis=1)
    twin = np.einsum("nauk,nuk->an", moving, windows)
    assert np.abs(y[0] + 1j * y[1] - twin).max() < 1e-4


def scheduled(*changes, channel="AWGN", **settings):
    air = convert({"channel": channel, "schedule": list(changes), "snr_db": QUIET, **settings}, Air)
    return Medium(WAVEFORM, air, [0, 1], 2, 1, {"edge-1": 0, "edge-2": 1})


SOFTER = {"at_sample": 3000, "link": "edge-1.server", "path_loss_db": 80.0}
LOUDER = {"at_sample": 5001, "link": "server.edge-1", "gain_db": 3.0}


def test_a_schedule_changes_a_link_at_exact_samples():
    """A steady tone's level: -7 dB, -50 dB of a path loss of 80 from sample 3000, +3 dB from 5001; to 0.05 dB."""
    air = scheduled(SOFTER, LOUDER, user_delay_samples=[0.0, 0.0], links=[{"user": 0, "gain_db": -7.0}])
    y = np.abs(air.mix({0: np.ones(7000, np.complex64)}, 0))
    for begin, end, level_db in ((100, 3000, -7.0), (3000, 5001, -50.0), (5001, 7000, 3.0)):
        assert 10 * np.log10(np.mean(y[:, begin:end] ** 2, axis=1)) == pytest.approx(level_db, abs=0.05)
        assert 20 * np.log10(y[:, [begin, end - 1]]) == pytest.approx(level_db, abs=0.5)  # noise is at -94 dB
    h = np.abs(air.response(np.array([2999.0, 3000.0, 5000.0, 5001.0]), np.zeros(1)))[:, 0]
    assert 20 * np.log10(h[..., 0]) == pytest.approx(np.array([-7.0, -50.0, -50.0, 3.0])[:, None] * [1, 1], abs=1e-4)
    assert 20 * np.log10(h[..., 1]) == pytest.approx(0.0, abs=1e-4)  # the other user's


def test_blocks_do_not_matter_where_a_schedule_changes_links(rng):
    x = gaussian(rng, 2, 8000)
    whole = scheduled(SOFTER, LOUDER, channel="TDL-A").mix(x, 0)
    air = scheduled(SOFTER, LOUDER, channel="TDL-A")
    cuts = [0, 1, 2999, 3001, 5000, 5001, 8000]
    assert np.array_equal(np.concatenate([air.mix(x[:, a:b], a) for a, b in itertools.pairwise(cuts)], axis=1), whole)
    assert np.array_equal(whole[:, :3000], scheduled(channel="TDL-A").mix(x[:, :3000], 0))


def test_a_gain_that_is_set_while_it_runs_holds_from_the_next_sample(rng):
    """As if it had been scheduled there; over the gain that the link was drawn with."""
    x = gaussian(rng, 2, 2000)
    links = [{"user": 0, "gain_db": -7.0}]
    air, planned = scheduled(links=links), scheduled({**SOFTER, "at_sample": 900}, links=links)
    first = air.mix(x[:, :900], 0)
    assert air.set_gain(0, -50.0) == 900
    assert np.array_equal(np.concatenate([first, air.mix(x[:, 900:], 900)], axis=1), planned.mix(x, 0))
    with pytest.raises(ShapeError, match="at_sample = 5: allowed: 2000 or later"):
        air.set_gain(0, 0.0, 5)
    with pytest.raises(ShapeError, match=r"user 3 is not in this medium; known: \[0, 1\]"):
        air.set_gain(3, 0.0)
