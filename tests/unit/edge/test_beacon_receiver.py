"""An edge and its oscillator: acquired over all offsets, tracked while it drifts, found again after silence."""

from __future__ import annotations

import numpy as np
import pytest

from edge.receiver import LOST_AFTER, MAX_PPM, BeaconReceiver, OscillatorTrack, cfo_of, ppm_of
from testbed.phy import beacon, ofdm
from testbed.phy.waveform import Waveform

WAVEFORM = Waveform()
LO_HZ = 2.44e9
PERIOD, BURST = beacon.period_samples(WAVEFORM), beacon.burst_samples(WAVEFORM)
RATE_HZ = WAVEFORM.sample_rate_hz


def downlink(rng, ppm: float, periods: int, snr_db: float, drift_ppm_per_s: float = 0.0, first: float = 777.3):
    """[1, n] of an edge so much faster: bursts at the instants of the closed form (a phase ramp over the DFT), turned
    by the offset, in noise; the ppm at each burst, and its arrival."""
    sigma = np.sqrt(ofdm.tx_amplitude(WAVEFORM) ** 2 / 10 ** (snr_db / 10) / 2)
    count = int((periods + 1) * PERIOD)
    y = sigma * (rng.standard_normal((count, 2), dtype=np.float32).view(np.complex64)[:, 0] * (1 + 0j))
    seconds = np.arange(periods) * beacon.PERIOD_S
    ppms = ppm + drift_ppm_per_s * seconds
    arrivals = first + PERIOD * (
        np.arange(periods) + 1e-6 * (ppm * np.arange(periods) + drift_ppm_per_s * seconds**2 / 2 / beacon.PERIOD_S)
    )
    for number, (arrival, now) in enumerate(zip(arrivals, ppms, strict=True)):
        pad = 32
        sent = np.pad(beacon.beacon_burst(WAVEFORM, number), pad)
        begin = int(arrival) - pad
        ramp = np.exp(-2j * np.pi * np.fft.fftfreq(len(sent)) * (arrival - int(arrival)))
        turns = cfo_of(now, LO_HZ) / RATE_HZ * (np.arange(len(sent)) - pad)
        part = np.fft.ifft(np.fft.fft(sent) * ramp) * np.exp(2j * np.pi * (turns + rng.random()))
        y[begin : begin + len(sent)] += part[: max(0, count - begin)]
    return y.astype(np.complex64)[None], ppms, arrivals


@pytest.mark.parametrize("ppm", [-50.0, 0.3, 50.0])
def test_an_oscillator_is_known_within_a_second(ppm: float, rng):
    """20 dB, 25 ppm at either end: found by one search, then every beacon; 0.002 ppm, 5 Hz at 2.4 GHz, after 0.5 s."""
    y, _, arrivals = downlink(rng, ppm, 50, 20.0)
    receiver = BeaconReceiver(WAVEFORM, LO_HZ)
    beacons = receiver.push(y)
    assert receiver.acquisitions == 1
    assert [b.number for b in beacons] == list(range(beacons[0].number, 50))
    assert beacons[0].number <= 1
    np.testing.assert_allclose([b.arrival for b in beacons], arrivals[beacons[0].number :], atol=0.06)  # its middle's
    state = receiver.state
    assert state is not None and state.heard
    assert state.ppm == pytest.approx(ppm, abs=2e-3)
    assert state.deviation_ppm < 1e-3


def test_a_drift_is_followed(rng):
    """0.02 ppm a second, as after switching on, at 10 dB: 0.005 ppm after two seconds, the drift to a quarter."""
    y, ppms, _ = downlink(rng, 12.0, 200, 10.0, drift_ppm_per_s=0.02)
    receiver = BeaconReceiver(WAVEFORM, LO_HZ)
    receiver.push(y)
    assert receiver.state is not None
    assert receiver.state.ppm == pytest.approx(ppms[-1], abs=5e-3)
    assert receiver.state.drift_ppm_per_s == pytest.approx(0.02, rel=0.25)


def test_pieces_do_not_matter(rng):
    """Whole, in blocks of a radio, sample by sample where it is decided: the same beacons, the same state."""
    y, _, _ = downlink(rng, -7.0, 12, 15.0)
    states = []
    for sizes in ([y.shape[1]], [9600], [1, 4095, 17]):
        receiver, begin, found = BeaconReceiver(WAVEFORM, LO_HZ), 0, []
        while begin < y.shape[1]:
            for size in sizes:
                found += receiver.push(y[:, begin : begin + size])
                begin += size
        states.append((found, receiver.state))
    assert states[0] == states[1] == states[2]


def test_after_silence_and_a_jump_it_is_found_again(rng):
    """Half a second of noise, then the beacon at another phase and number: what was known is kept, then renewed."""
    before, _, _ = downlink(rng, 20.0, 20, 20.0)
    after, _, _ = downlink(rng, 20.4, 40, 20.0, first=5000.8)
    sigma = 0.02
    silence = sigma * (rng.standard_normal((1, 50 * PERIOD, 2)) @ [1, 1j]).astype(np.complex64)
    receiver = BeaconReceiver(WAVEFORM, LO_HZ)
    receiver.push(before)
    receiver.push(silence)
    assert receiver.state is not None
    assert not receiver.state.heard
    assert receiver.misses == LOST_AFTER
    assert receiver.state.ppm == pytest.approx(20.0, abs=5e-3)
    receiver.push(after)
    assert receiver.acquisitions == 2
    assert receiver.state.heard
    assert receiver.state.ppm == pytest.approx(20.4, abs=5e-3)
    assert receiver.state.beacon.number == 39


def test_noise_alone_is_no_server(rng):
    receiver = BeaconReceiver(WAVEFORM, LO_HZ)
    receiver.push((rng.standard_normal((1, 20 * PERIOD, 2)) @ [1, 1j]).astype(np.complex64))
    assert receiver.state is None
    assert receiver.beacons == 0


def test_ppm_and_offset_are_inverse_of_each_other():
    """Against the definition with two clocks, and far beyond what a first order would allow."""
    server, edge = 1 + 25e-6, 1 - 25e-6
    heard_hz = (2.4e9 * server - 2.4e9 * edge) / edge  # in the edge's own hertz
    assert ppm_of(heard_hz, 2.4e9) == pytest.approx((edge / server - 1) * 1e6, abs=1e-9)
    for ppm in (-MAX_PPM, 0.0, 1.5, MAX_PPM):
        assert ppm_of(cfo_of(ppm, 2.4e9), 2.4e9) == pytest.approx(ppm, abs=1e-9)


def test_the_filter_s_own_variance_is_that_of_its_errors(rng):
    """200 oscillators that follow the model for a second: squared errors over the variance are one on average, 99.9 %
    sure; a measurement that cannot be is not taken."""
    ratios = []
    for _ in range(200):
        truth = np.array([3.0, rng.normal(0, 0.01)])
        track = OscillatorTrack(3.0 + rng.normal(0, 0.003), 0.003)
        for _ in range(100):
            truth += (truth[1] * 0.01, rng.normal(0, 5e-5))
            track.predict(0.01)
            assert track.update(truth[0] + rng.normal(0, 0.003), 0.003)
        ratios.append((track.ppm - truth[0]) ** 2 / track.deviation_ppm**2)
    assert 0.7 < np.mean(ratios) < 1.35
    before = track.ppm
    assert not track.update(before + 1.0, 0.003)
    assert track.ppm == before
