"""A channel of its own for each link: which holds where, and that the medium gives each what it says."""

import itertools

import numpy as np
import pytest

from testbed.air.links import Link, in_words, link_of
from testbed.air.medium import Medium
from testbed.config import Air, AirLink, load_scenario
from testbed.errors import ScenarioError
from testbed.phy.waveform import Waveform

WAVEFORM = Waveform()
STILL = {"user_cfo_hz": [0.0, 0.0, 0.0], "user_delay_samples": [0.0, 0.0, 0.0], "common_cfo_hz": 0.0, "snr_db": 80.0}
MIXED = [
    AirLink(user=1, channel="two-ray", delay_spread_s=400e-9, doppler_hz=60.0, gain_db=-6.0),
    AirLink(user=1, antenna=1, gain_db=3.0),
    AirLink(user=2, channel="AWGN"),
    AirLink(user=0, antenna=0, channel="TDL-E", doppler_hz=200.0),
]


def medium(links, seed=3, users=(0, 1, 2), antennas=2, **air):
    return Medium(WAVEFORM, Air(links=links, **STILL | air), list(users), antennas, seed)


def test_an_entry_for_an_antenna_goes_before_that_for_the_user_which_goes_before_the_airs():
    air = Air(channel="TDL-B", delay_spread_s=50e-9, doppler_hz=7.0, links=MIXED[::-1])  # in any order
    assert link_of(air, 0, 1) == Link("TDL-B", 50e-9, 7.0, 0.0)
    assert link_of(air, 0, 0) == Link("TDL-E", 50e-9, 200.0, 0.0)
    assert link_of(air, 1, 0) == Link("two-ray", 400e-9, 60.0, -6.0)
    assert link_of(air, 1, 1) == Link("two-ray", 400e-9, 60.0, 3.0)
    assert link_of(air, 2, 0) == Link("AWGN", 50e-9, 7.0, 0.0)


def test_links_are_told_in_words():
    assert in_words(Air(links=MIXED)) == [
        "TDL-A fading, 5 Hz Doppler",
        "user 1: two-ray fading, 60 Hz Doppler, -6 dB",
        "user 1 at antenna 1: two-ray fading, 60 Hz Doppler, +3 dB",
        "user 2: AWGN",
        "user 0 at antenna 0: TDL-E fading, 200 Hz Doppler",
    ]


def test_every_link_of_a_mixed_medium_is_what_its_response_says():
    """Tones of three users at once over links of four models: samples against the closed form, -58 dB."""
    air = medium(MIXED)
    rate, n = WAVEFORM.sample_rate_hz, 70_000 + np.arange(6000)
    tones_hz = np.array([-400e3, 150e3, 310e3])
    tones = np.exp(2j * np.pi * tones_hz[:, None] / rate * n)
    received = air.mix(tones.astype(np.complex64), n[0])[:, 200:]
    h = air.response(n[200:], tones_hz)
    expected = sum(h[:, u, :, u].T * tones[u, 200:] for u in range(3))
    error = np.mean(np.abs(received - expected) ** 2) / np.mean(np.abs(expected) ** 2)
    assert 10 * np.log10(error) < -58


def test_the_two_ray_link_has_its_closed_form_and_its_gain_beside_others():
    """|h|^2 = G (1 + cos(4 pi f_d t + 2 pi f tau + phi)): over the band, and over time, by least squares on the cosine
    and sine: nothing is left (1e-5); gains of -6 and 3 dB to 1e-5."""
    frequencies_hz, samples = np.linspace(-5e5, 5e5, 64), np.arange(0, 2e5, 5e3)
    h = medium(MIXED).response(samples, frequencies_hz)
    turn = 4 * np.pi * 60.0 * samples[:, None] / WAVEFORM.sample_rate_hz + 2 * np.pi * frequencies_hz * 800e-9
    basis = np.stack([np.ones(turn.size), np.cos(turn).ravel(), np.sin(turn).ravel()], axis=1)
    for antenna, gain_db in ((0, -6.0), (1, 3.0)):
        power = (np.abs(h[:, :, antenna, 1]) ** 2).ravel().astype(np.float64)
        found, _, _, _ = np.linalg.lstsq(basis, power, rcond=None)
        assert np.abs(power - basis @ found).max() < 1e-5
        assert 10 * np.log10(found[0]) == pytest.approx(gain_db, abs=1e-4)
        assert np.hypot(*found[1:]) == pytest.approx(found[0], rel=1e-4)


def test_a_links_mean_power_is_its_gain():
    """800 realisations of TDL-D at -10 dB beside TDL-A at 0 dB: each within 5 standard errors of its gain."""
    links = [AirLink(user=1, channel="TDL-D", gain_db=-10.0)]
    h = np.stack([medium(links, seed, (0, 1)).response(np.zeros(1), np.zeros(1))[0, 0] for seed in range(800)])
    power = (np.abs(h) ** 2).mean(axis=0)  # [A, U]
    assert power[:, 0] == pytest.approx(np.ones(2), abs=5 / np.sqrt(800))
    assert power[:, 1] == pytest.approx(np.full(2, 0.1), abs=0.5 / np.sqrt(800))


def test_what_one_link_is_changes_nothing_for_the_others(rng):
    """User 0 alone sends: the same bit for bit whether user 1's links are as all others, or longer, or faster."""
    x = np.zeros((2, 4000), np.complex64)
    x[0] = (rng.standard_normal((4000, 2)) @ np.array([1, 1j])).astype(np.complex64)
    plain = medium([], users=(0, 1)).mix(x, 0)
    other = medium([AirLink(user=1, channel="two-ray", delay_spread_s=3e-6)], users=(0, 1)).mix(x, 0)
    assert np.array_equal(plain, other)


def test_blocks_do_not_matter_where_links_differ(rng):
    """Bit for bit, for any cut."""
    x = (rng.standard_normal((3, 9000, 2)) @ np.array([1, 1j])).astype(np.complex64)
    whole = medium(MIXED, snr_db=10.0).mix(x, 0)
    air, cuts = medium(MIXED, snr_db=10.0), [0, 1, 70, 4097, 9000]
    parts = [air.mix(x[:, a:b], a) for a, b in itertools.pairwise(cuts)]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)


def test_a_long_link_is_warned_of_with_its_user_alone():
    """The window's prefix of 16 is centred between the rays. 24 samples apart both lie 4 outside it: of user 1 each
    ray of half the power, of user 0 its one path, loses 1 - (1 - 4/128)^2. 16 apart, nothing is lost or warned of."""
    links = [AirLink(user=1, channel="two-ray", delay_spread_s=24 / 2 / WAVEFORM.sample_rate_hz)]
    (line,) = medium(links, users=(0, 1), channel="AWGN").warnings()
    assert line.startswith("user 1: delay 0.0 + delay spread 12.0 samples")
    stated_db = float(line.split("together: ")[1].split()[0])
    assert 10 ** (-stated_db / 10) == pytest.approx(2 * (1 - (1 - 4 / 128) ** 2), rel=0.02)
    near = [AirLink(user=1, channel="two-ray", delay_spread_s=16 / 2 / WAVEFORM.sample_rate_hz)]
    assert medium(near, users=(0, 1), channel="AWGN").warnings() == []


SCENARIO = """
name = "linked"
[air]
channel = "TDL-A"
{links}
[[edges]]
name = "edge-1"
user = 0
[[edges]]
name = "edge-2"
user = 1
"""


def load(tmp_path, links, settings=None):
    path = tmp_path / "linked.toml"
    path.write_text(SCENARIO.format(links=links), encoding="utf-8")
    return load_scenario(path, settings)


def test_a_scenario_names_its_links(tmp_path):
    text = '[[air.links]]\nuser = 1\nchannel = "two-ray"\ndelay_spread_s = 300e-9\ngain_db = -6'
    scenario = load(tmp_path, text, ["air.links.0.doppler_hz=20"])
    assert link_of(scenario.air, 1, 1) == Link("two-ray", 300e-9, 20.0, -6.0)
    assert link_of(scenario.air, 0, 1) == Link("TDL-A", 100e-9, 5.0, 0.0)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('user = 1\nchannel = "rummler"', r"air.links.channel = rummler: allowed: TDL-A, .*two-ray"),
        ("user = 2", r"air.links.user = 2: allowed: .*\[0, 1\]"),
        ("user = 1\nantenna = 2", r"air.links.antenna = 2: allowed: 0..1"),
        ("user = -1", r"air.links.user = -1"),
        ("user = 1\ndelay_spread_s = 1.0", r"air.links.delay_spread_s = 1.0: allowed: 0..1e-5"),
        ("user = 1\ndoppler_hz = -5", r"air.links.doppler_hz = -5.0: allowed: 0..2000"),
        ("user = 1\ngain_db = 200", r"air.links.gain_db = 200.0: allowed: -100..40"),
        ("user = 1\ngain_db = nan", r"air.links.gain_db = nan"),
        ("user = 1\ngain = 2", r"unknown key.*gain_db"),
        ("user = 1\n[[air.links]]\nuser = 1", r"air.links = .*one entry for each user"),
    ],
)
def test_wrong_links_are_refused(tmp_path, entry, message):
    with pytest.raises(ScenarioError, match=message):
        load(tmp_path, f"[[air.links]]\n{entry}")
