"""Users who share no clock are brought onto one grid and one carrier, stay there, and are taken back in."""

from __future__ import annotations

import numpy as np
import pytest

from server.alignment import ANSWER_S, FRAMES_MEASURED, LOST_FRAMES, Alignment
from server.received import ReceivedFrame, UserFrame
from testbed.config import Air, Oscillator, RadioModel
from testbed.phy.access import access_burst
from testbed.phy.header import Header
from testbed.phy.waveform import Waveform
from tests.own_clocks import Loop

WAVEFORM = Waveform()
PERIOD = WAVEFORM.frame_period_samples
QUARTER_PREFIX = WAVEFORM.cp_samples / 4
MOST_HZ = 50.0


def apart(ppm: float, drift: float = 0.1) -> list[RadioModel]:
    return [
        RadioModel(name="server", oscillator=Oscillator(ppm=2.0, start_s=0.013)),
        RadioModel(name="edge-1", oscillator=Oscillator(ppm=ppm, drift_ppm_per_min=drift, start_s=0.0031)),
        RadioModel(name="edge-2", oscillator=Oscillator(ppm=-ppm, drift_ppm_per_min=-drift, start_s=0.0077)),
    ]


def assert_aligned(loop: Loop, user: int, since_s: float, least: int) -> None:
    errors = np.abs(loop.latest(user, since_s))
    assert len(errors) >= least
    assert errors[:, 0].max() < QUARTER_PREFIX
    assert np.percentile(errors[:, 1], 95) < MOST_HZ


@pytest.mark.timeout(240)
def test_two_users_20_ppm_apart_align_stay_and_are_taken_back():
    """TDL-A at 20 dB, 5 Hz of Doppler, clocks 40 ppm apart that drift: aligned within a second, by the true arrival of
    frames; one is silent for 0.8 s and is back within another second, while the other's frames go on."""
    loop = Loop(Air(snr_db=20.0, channel="TDL-A", doppler_hz=5.0, radios=apart(20.0)))
    loop.run(1.5)
    for user in (0, 1):
        assert_aligned(loop, user, 1.0, 50)
    loop.muted = {"edge-1"}
    loop.run(0.8)
    loop.muted = set()
    loop.run(1.2)
    assert_aligned(loop, 0, loop.time_s - 0.5, 50)
    assert_aligned(loop, 1, 1.0, 280)
    for edge, ppm in zip(loop.edges.values(), (18.0, -22.0), strict=True):
        assert edge.receiver.acquisitions == 1
        assert edge.receiver.state is not None
        assert edge.receiver.state.ppm == pytest.approx(ppm, abs=0.02)


@pytest.mark.timeout(240)
def test_an_edge_that_hears_no_beacon_for_a_while_goes_on_by_what_it_knew():
    """Half a second without one: its frames arrive as before, though the oscillator drifts."""
    loop = Loop(Air(snr_db=20.0, channel="AWGN", radios=apart(10.0)), seed=3)
    loop.run(1.0)
    loop.deaf = {"edge-2"}
    loop.run(0.5)
    loop.deaf = set()
    loop.run(0.5)
    assert_aligned(loop, 1, 0.5, 170)
    assert loop.edges["edge-2"].receiver.misses > 0
    assert loop.edges["edge-2"].receiver.acquisitions == 2


def received(user: int, number: int, error: float, cfo_hz: float = 0.0, slot: int = 100) -> ReceivedFrame:
    """A frame that says of one user what a receiver would."""
    header = Header(
        user=user, frame=number, picture=0, part=0, codec=1, codec_hash=1, height=1, width=1, k=1, scale=1.0
    )
    nothing = np.zeros(0, np.complex64)
    parts = [UserFrame(user, header, nothing, np.zeros(0, np.float32), cfo_hz, error + 8.0)]
    return ReceivedFrame(slot * PERIOD - 8, 0.0, 0.0, 1.0, 1.0, parts, nothing, {})


def in_frames(alignment: Alignment) -> None:
    """User 0, after its access bursts were heard on the grid."""
    alignment.join(0)
    (command,) = alignment.commands()
    assert (command.number, command.frames, command.delay_samples) == (0, False, 0.0)
    alignment.answer(0, 0, 0)
    slot = np.zeros(PERIOD, np.complex64)
    burst = access_burst(WAVEFORM, 0, 0)
    slot[: len(burst)] = burst
    for _ in range(4):
        alignment.push(slot[None])
    (command,) = alignment.commands()
    assert command.frames
    assert command.number == 1
    assert command.delay_samples == pytest.approx(0.0, abs=0.05)
    alignment.answer(0, 1, 10)


def test_frames_that_left_before_an_answer_do_not_count():
    """Otherwise one error would be corrected twice; half of what the others say is corrected, by their median."""
    alignment = Alignment(WAVEFORM, 1)
    in_frames(alignment)
    for number in range(10):
        alignment.take(received(0, number, 500.0))
    for number in range(10, 10 + FRAMES_MEASURED):
        assert alignment.commands() == []
        alignment.take(received(0, number, 3.0 if number != 12 else -4000.0, 20.0))
    (command,) = alignment.commands()
    assert command.delay_samples == pytest.approx(-1.5, abs=0.05)
    assert command.trim_hz == pytest.approx(10.0)
    for number in range(40, 40 + 2 * FRAMES_MEASURED):  # no answer to that one yet
        alignment.take(received(0, number, 3.0))
    assert alignment.commands() == []


def test_small_errors_are_left_alone():
    alignment = Alignment(WAVEFORM, 1)
    in_frames(alignment)
    for number in range(10, 10 + 2 * FRAMES_MEASURED):
        alignment.take(received(0, number, 0.1, 2.0))
    assert alignment.commands() == []


def test_who_is_silent_is_asked_for_bursts_and_who_does_not_answer_is_asked_again():
    """By the samples that pass; one who has left is asked nothing."""
    alignment = Alignment(WAVEFORM, 1)
    in_frames(alignment)
    silence = np.zeros((1, PERIOD), np.complex64)
    slots = LOST_FRAMES
    for _ in range(slots - 1):
        alignment.push(silence)
    assert alignment.commands() == []
    for _ in range(2):
        alignment.push(silence)
    (command,) = alignment.commands()
    assert not command.frames
    for _ in range(int(ANSWER_S * WAVEFORM.sample_rate_hz / PERIOD) + 2):
        alignment.push(silence)
    assert alignment.commands() == [command]
    alignment.answer(0, command.number - 1, 0)  # to an older one
    alignment.leave(0)
    for _ in range(int(2 * ANSWER_S * WAVEFORM.sample_rate_hz / PERIOD)):
        alignment.push(silence)
    assert alignment.commands() == []


def test_bursts_that_still_come_show_that_a_user_is_there():
    """Samples lag behind answers: as long as bursts of the order before are heard, nobody is lost."""
    alignment = Alignment(WAVEFORM, 1)
    in_frames(alignment)
    slot = np.zeros(PERIOD, np.complex64)
    slot[: WAVEFORM.symbol_samples * 8] = access_burst(WAVEFORM, 0, 0)
    slots = LOST_FRAMES
    for _ in range(2 * slots):
        alignment.push(slot[None])
    assert alignment.commands() == []
    for _ in range(slots + 3):
        alignment.push(np.zeros((1, PERIOD), np.complex64))
    (command,) = alignment.commands()
    assert not command.frames


@pytest.mark.parametrize("late", [1.0, 5000.4, PERIOD - 700.25])
def test_a_burst_anywhere_moves_the_stream_onto_the_grid(late: float):
    """Always later, never earlier: by what is left of a period; frames only once a burst was heard there."""
    alignment = Alignment(WAVEFORM, 1)
    alignment.join(0)
    alignment.commands()
    alignment.answer(0, 0, 0)
    slot = np.zeros(PERIOD, np.complex64)
    slot[: WAVEFORM.symbol_samples * 8] = access_burst(WAVEFORM, 0, 0)
    ramp = np.exp(-2j * np.pi * np.fft.fftfreq(PERIOD) * late)
    slot = np.fft.ifft(np.fft.fft(slot) * ramp).astype(np.complex64)
    for _ in range(4):
        alignment.push(slot[None])
    (command,) = alignment.commands()
    close = late < 2
    assert command.frames == close
    assert command.delay_samples == pytest.approx(-late if close else PERIOD - late, abs=0.05)
