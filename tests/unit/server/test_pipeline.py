"""The receiver from samples to symbols: against what was sent, against a genie, and however the stream is cut."""

from __future__ import annotations

from functools import partial

import msgspec
import numpy as np
import pytest
from scipy.stats import norm

from server.estimation import ESTIMATORS, lmmse
from server.pipeline import Receiver
from server.received import ReceivedFrame
from server.synchronisation import SEARCH_PERIODS
from testbed.errors import ScenarioError, ShapeError
from testbed.phy.frame import build_frame
from testbed.phy.header import Header
from testbed.phy.waveform import Waveform

OTA = Waveform()


def receive(scene, waveform=OTA, **settings) -> list[ReceivedFrame]:
    """All frames of a scene, pushed at once."""
    receiver = Receiver(waveform, len(scene.samples), **settings)
    return receiver.push(scene.samples) + receiver.flush()


def same(a: list[ReceivedFrame], b: list[ReceivedFrame]) -> bool:
    """Bit for bit, but for the time it took."""
    return len(a) == len(b) and all(
        (x.first_sample, x.timing_samples, x.cfo_hz, x.statistic, x.no)
        == (y.first_sample, y.timing_samples, y.cfo_hz, y.statistic, y.no)
        and x.channel.tobytes() == y.channel.tobytes()
        and [(u.user, u.header, u.cfo_hz, u.symbols.tobytes(), u.no_eff.tobytes()) for u in x.users]
        == [(u.user, u.header, u.cfo_hz, u.symbols.tobytes(), u.no_eff.tobytes()) for u in y.users]
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("analogue", [False, True])
@pytest.mark.parametrize("common_cfo_hz", [-24_900.0, 0.0, 24_900.0])
def test_two_users_are_separated_at_little_loss(analogue, common_cfo_hz, rng, make_scene, know_all):
    """20 dB, 2 x 2 Rayleigh, offsets 185 Hz and delays 7.5 samples apart, 6 frames: every header arrives; the error is
    what no_eff says to 0.4 dB (5616 x 12 symbols, correlated over 20: standard error 0.1 dB) and exceeds that of a
    genie who knows channel, time and offset by less than 1 dB.
    """
    scene = make_scene(rng, OTA, frames=6, analogue=analogue, common_cfo_hz=common_cfo_hz)
    frames = receive(scene)
    assert [f.users[0].header.frame for f in frames] == list(range(6))
    honest, lost = [], []
    for number, frame in enumerate(frames):
        assert abs(frame.first_sample - scene.starts[number]) < 12
        assert frame.no == pytest.approx(scene.no, rel=0.15)
        x_genie, no_genie = know_all(scene, OTA, number)
        for user in frame.users:
            assert user.header.user == user.user
            assert user.header.frame == number
            sent = scene.data[user.user][number]
            error = np.abs(user.symbols - sent) ** 2
            genie_error = np.abs(x_genie[user.user] - sent) ** 2
            honest.append(np.mean(error / user.no_eff))
            lost.append(np.mean(error / no_genie[user.user]) / np.mean(genie_error / no_genie[user.user]))
            assert abs(user.cfo_hz - common_cfo_hz - scene.paths[user.user].cfo_hz) < 15
    assert abs(10 * np.log10(np.mean(honest))) < 0.4
    assert 0.0 < 10 * np.log10(np.mean(lost)) < 1.0


@pytest.mark.parametrize(("snr_db", "allowed_db"), [(5, 0.6), (8, 0.5)])
def test_qpsk_error_rate_is_the_q_function_behind_a_genie_and_near_it_behind_estimates(
    snr_db, allowed_db, rng, make_scene, know_all
):
    """One user, one antenna, AWGN, 8 frames, 9e4 bits: genie within 4 standard errors of Q(sqrt(SNR)); estimates within
    the rates of the SNR and of one ``allowed_db`` lower.
    """
    scene = make_scene(rng, OTA, antennas=1, frames=8, delays=(2.4,), cfos_hz=(0.0,), snr_db=snr_db, awgn=True)
    sent = np.concatenate(scene.data[0])
    known = np.concatenate([know_all(scene, OTA, f)[0][0] for f in range(8)])
    estimated = np.concatenate([frame.users[0].symbols for frame in receive(scene)])

    def rate(x: np.ndarray) -> float:
        return float(np.mean(np.r_[(x.real > 0) != (sent.real > 0), (x.imag > 0) != (sent.imag > 0)]))

    ideal = norm.sf(10 ** (snr_db / 20))
    worse = norm.sf(10 ** ((snr_db - allowed_db) / 20))
    sigma = np.sqrt(ideal * (1 - ideal) / (2 * len(sent)))
    assert abs(rate(known) - ideal) < 4 * sigma
    assert ideal - 4 * sigma < rate(estimated) < worse + 4 * sigma


@pytest.mark.parametrize("chunk", [1, 997, 14_400])
def test_what_is_received_does_not_depend_on_chunks(chunk, rng, make_scene):
    """Three frames, in pieces or whole: bit for bit the same."""
    scene = make_scene(rng, OTA, frames=3)
    whole = receive(scene)
    assert len(whole) == 3
    receiver = Receiver(OTA, 2)
    pieces = []
    for first in range(0, scene.samples.shape[1], chunk):
        pieces += receiver.push(scene.samples[:, first : first + chunk])
    assert same(whole, pieces + receiver.flush())


def test_the_same_samples_give_the_same_frames(rng, make_scene):
    """Twice through two receivers, the second with a clock that stands still."""
    scene = make_scene(rng, OTA, frames=2)
    frozen = receive(scene, clock=lambda: 1.0)
    assert same(receive(scene), frozen)
    assert set(frozen[0].stage_s) == {"sync", "estimate", "detect", "header"}
    assert all(seconds == 0 for seconds in frozen[0].stage_s.values())


def test_a_user_alone_is_received_and_the_other_is_missing(rng, make_scene):
    """User 0 alone at 20 dB: no header of user 1, whose symbols are finite and say that they are worth nothing; user 0
    is received with two antennas' gain, and its error is what it says to 0.4 dB.
    """
    scene = make_scene(rng, OTA, frames=4, delays=(0.3,), cfos_hz=(40.0,))
    frames = receive(scene)
    assert len(frames) == 4
    honest = []
    for number, frame in enumerate(frames):
        present, absent = frame.users
        assert present.header is not None
        assert absent.header is None
        assert np.all(np.isfinite(absent.symbols))
        assert np.median(absent.no_eff) > 3
        honest.append(np.mean(np.abs(present.symbols - scene.data[0][number]) ** 2 / present.no_eff))
    assert abs(10 * np.log10(np.mean(honest))) < 0.4


def test_more_users_than_antennas_give_finite_symbols_and_say_so(rng, make_scene):
    """Two users at one antenna: symbols are finite, and the reported error is the true one to 0.5 dB."""
    scene = make_scene(rng, OTA, antennas=1, frames=4, snr_db=25)
    frames = receive(scene)
    assert frames
    honest = [
        np.mean(np.abs(u.symbols - scene.data[u.user][i]) ** 2 / u.no_eff)
        for i, f in enumerate(frames)
        for u in f.users
    ]
    assert abs(10 * np.log10(np.mean(honest))) < 0.5


@pytest.mark.parametrize("settings", [{"profile": "wide"}, {"gap_samples": 0}])
def test_other_waveforms_are_received(settings, rng, make_scene):
    """Twice the band, and frames without a gap between them."""
    waveform = Waveform(**settings)
    scene = make_scene(rng, waveform, frames=4, lead=0)
    frames = receive(scene, waveform)
    assert [u.header.frame for f in frames for u in f.users] == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("overlap", [600, 400, 289, 288, 287, 150, 32, 1, 0, -1, -40])
def test_a_preamble_across_two_search_windows_is_found_once_and_whole(overlap, rng, make_scene):
    """A frame that begins so many samples before the second window: found where it is, and nowhere else."""
    lead = SEARCH_PERIODS * OTA.fft_size - overlap
    scene = make_scene(rng, OTA, delays=(0.0,), cfos_hz=(0.0,), awgn=True, snr_db=10, lead=lead)
    assert [frame.first_sample for frame in receive(scene)] == [lead]


def test_the_error_of_the_channel_estimate_enters_the_effective_noise(rng, make_scene, monkeypatch):
    """An estimator that owns to a large error: the same channel, but symbols that claim accordingly less."""

    def modest(grid, waveform):
        estimate = lmmse(grid, waveform)
        return msgspec.structs.replace(estimate, error_variance=estimate.error_variance + 9 * np.float32(estimate.no))

    scene = make_scene(rng, OTA, delays=(0.3,), cfos_hz=(40.0,))
    sure = receive(scene)[0].users[0].no_eff
    monkeypatch.setitem(ESTIMATORS, "lmmse", lambda waveform, antennas: partial(modest, waveform=waveform))
    unsure = receive(scene)[0].users[0].no_eff
    assert np.median(unsure / sure) == pytest.approx(1 + 2 * 9, rel=0.15)


def test_silence_and_noise_hold_no_frame(rng, noise):
    """Zeros, and 200 ms of noise at 1e-4 false alarms per 10 ms, of any power."""
    receiver = Receiver(OTA, 2)
    assert receiver.push(np.zeros((2, 50_000), np.complex64)) + receiver.flush() == []
    for power in (1e-12, 1.0):
        receiver = Receiver(OTA, 2)
        assert receiver.push(noise(rng, (2, 192_000), power).astype(np.complex64)) + receiver.flush() == []
        assert receiver.frames_cut == 0
    constant = Receiver(OTA, 2)
    assert constant.push(np.ones((2, 50_000), np.complex64)) + constant.flush() == []
    empty = Receiver(OTA, 2)
    assert empty.flush() == []


def test_a_frame_cut_off_by_the_end_is_dropped_and_counted(rng, make_scene):
    """One sample short of the second frame's end: the first is returned, the second counted; whole, both are."""
    scene = make_scene(rng, OTA, frames=2, delays=(0.0,), cfos_hz=(0.0,), awgn=True)
    end = scene.starts[1] + OTA.frame_samples
    receiver = Receiver(OTA, 2)
    assert len(receiver.push(scene.samples[:, : end - 1]) + receiver.flush()) == 1
    assert receiver.frames_cut == 1
    receiver = Receiver(OTA, 2)
    assert len(receiver.push(scene.samples[:, :end]) + receiver.flush()) == 2
    assert receiver.frames_cut == 0


def test_a_frame_without_readable_headers_is_still_a_frame(rng, make_scene):
    """Header symbols blotted out: both headers None, and the data come as good as they say."""
    scene = make_scene(rng, OTA, frames=1, awgn=False)
    body = scene.starts[0] + OTA.preamble_samples
    for symbol in OTA.header_symbol_indices:
        scene.samples[:, body + symbol * OTA.symbol_samples :][:, : OTA.symbol_samples] = 0
    frames = receive(scene)
    assert [u.header for u in frames[0].users] == [None, None]
    honest = [np.mean(np.abs(u.symbols - scene.data[u.user][0]) ** 2 / u.no_eff) for u in frames[0].users]
    assert np.mean(honest) < 1.3


def test_samples_that_are_no_numbers_are_counted_and_spoil_no_other_frame(rng, make_scene):
    """NaN, infinity and absurd values in frame 0: frame 1 is bit for bit as without them."""
    scene = make_scene(rng, OTA, frames=2)
    clean = receive(scene)
    scene.samples[0, scene.starts[0] + 3000 : scene.starts[0] + 3003] = [np.nan, np.inf, 1e30]
    receiver = Receiver(OTA, 2)
    frames = receiver.push(scene.samples[:, :1000]) + receiver.push(scene.samples[:, 1000:]) + receiver.flush()
    assert receiver.faulty_samples == 3
    assert receiver.first_faulty_sample == scene.starts[0] + 3000
    assert np.all(np.isfinite(frames[0].users[0].symbols))
    assert same(clean[1:], frames[1:])


def test_only_the_users_asked_for_are_reported(rng, make_scene):
    scene = make_scene(rng, OTA)
    assert [u.user for u in receive(scene, users=[1])[0].users] == [1]
    with pytest.raises(ScenarioError, match=r"allowed: 0\.\.1"):
        Receiver(OTA, 2, users=[2])


def test_wrong_shapes_are_refused():
    with pytest.raises(ShapeError, match="2 antennas"):
        Receiver(OTA, 2).push(np.zeros((3, 100), np.complex64))


def test_a_false_start_does_not_swallow_the_frame_behind_it(rng):
    """A preamble alone, then a whole frame inside what its body would be: the frame is read."""
    header = Header(user=0, frame=3, picture=0, part=0, codec=1, codec_hash=2, height=8, width=8, k=9, scale=1.0)
    data = rng.normal(size=(OTA.data_elements, 2)) @ [1, 1j] / np.sqrt(2)
    frame, _ = build_frame(header, data.astype(np.complex64), OTA)
    lone = frame[: OTA.preamble_samples]
    quiet = np.zeros(OTA.frame_samples // 3, np.complex64)
    stream = np.concatenate([quiet, lone, quiet, frame, quiet])
    noise = 1e-3 * (rng.normal(size=(2, len(stream), 2)) @ [1, 1j])
    receiver = Receiver(OTA, 2)
    frames = receiver.push((stream * np.array([[1.0], [1.0j]]) + noise).astype(np.complex64)) + receiver.flush()
    assert [f.users[0].header.frame for f in frames if f.users[0].header is not None] == [3]
