"""An edge's continuous stream: slots that move on order, samples that fit another clock."""

from __future__ import annotations

import numpy as np
import pytest

from edge.clock import ClockCorrection
from edge.slots import ACCESS, FRAMES, LEAST_GAP, Order, Slots
from edge.uplink import Uplink
from testbed.phy.access import access_burst, find_access
from testbed.phy.waveform import Waveform

WAVEFORM = Waveform()
PERIOD, FRAME = WAVEFORM.frame_period_samples, WAVEFORM.frame_samples
CONTENT = np.full(FRAME, 0.25 + 0.1j, np.complex64)


def starts(slots: Slots, count: int) -> list[float]:
    """Where frames begin in a stream of so many slots, fractions added."""
    at, found = 0.0, []
    for _ in range(count):
        slots.begin()
        sends = slots.order.phase == FRAMES
        samples, fraction = slots.lay(CONTENT if sends else None)
        if sends:
            found.append(at)
            np.testing.assert_array_equal(samples[:FRAME], CONTENT)
            assert len(samples) >= FRAME + LEAST_GAP
        assert not samples[FRAME:].any()
        at += len(samples) + fraction
    return found


@pytest.mark.parametrize("delay", [0.0, 0.25, 5000.6, -0.75, -300.5, -2000.125])
def test_frames_leave_later_by_what_was_ordered(delay: float):
    """The order comes in slot 3; from when it is in force all frames stand there, the ones before where they stood."""
    slots = Slots(WAVEFORM, 0)
    slots.obey(Order(1, FRAMES))
    before = starts(slots, 3)
    slots.obey(Order(2, FRAMES, delay))
    after = [3 * PERIOD + start for start in starts(slots, 12)]
    assert before == [0, PERIOD, 2 * PERIOD]
    assert slots.order.number == 2
    np.testing.assert_allclose(np.array(after[-3:]), PERIOD * np.arange(12, 15) + delay, atol=1e-9)


def test_an_order_is_in_force_when_the_stream_stands_where_it_says():
    """2000 samples earlier take six gaps: no answer before; a later order replaces one on its way."""
    uplink = Uplink(WAVEFORM, 1, 2.4e9)
    _, answer = uplink.next(0.0, lambda: CONTENT, Order(1, FRAMES))
    assert answer is not None and (answer.number, answer.frame) == (1, 0)
    answers = [uplink.next(0.0, lambda: CONTENT, Order(7, FRAMES, -2000.0))[1]]
    while answers[-1] is None:
        answers.append(uplink.next(0.0, lambda: CONTENT)[1])
    assert len(answers) == 1 + -(-2000 // (WAVEFORM.gap_samples - LEAST_GAP))
    assert (answers[-1].number, answers[-1].frame) == (7, len(answers))
    assert uplink.next(0.0, lambda: CONTENT)[1] is None


def test_access_bursts_are_of_the_order_s_number():
    """One a slot, of its variant and at its beginning; frames wait meanwhile, and are not asked for."""
    uplink = Uplink(WAVEFORM, 1, 2.4e9)

    def none_wanted() -> np.ndarray:
        raise AssertionError

    parts = [uplink.next(0.0, none_wanted, Order(6, ACCESS, 100.0) if slot == 1 else None)[0] for slot in range(4)]
    stream = np.concatenate(parts)
    found = find_access(stream[None], WAVEFORM, 1, 6 % 4)
    assert found is not None
    assert found.arrival % PERIOD == pytest.approx(100.0, abs=0.05)
    assert not np.any(stream[:PERIOD])  # silent until ordered
    burst = access_burst(WAVEFORM, 1, 6)
    assert find_access(stream[None], WAVEFORM, 1, 5) is None
    assert len(burst) < PERIOD


@pytest.mark.parametrize("ppm, trim_hz", [(20.0, 0.0), (-37.5, 0.0), (3.0, 250.0)])
def test_a_tone_leaves_at_the_server_s_frequency_and_rate(ppm: float, trim_hz: float):
    """Corrected, sent by an oscillator that is faster by p, heard by the server's: the tone itself, less the trim."""
    rate_hz, lo_hz, tone_hz = WAVEFORM.sample_rate_hz, 2.4e9, 300e3
    clock = ClockCorrection(rate_hz, lo_hz)
    clock.ppm, clock.trim_hz = ppm, trim_hz
    n = np.arange(200_000)
    y = np.concatenate([clock.push(0.5 * np.exp(2j * np.pi * tone_hz / rate_hz * part)) for part in np.split(n, 8)])
    share = ppm * 1e-6
    seconds = np.arange(len(y)) / (rate_hz * (1 + share))  # of the server's clock, at which the edge's samples leave
    on_air = y * np.exp(2j * np.pi * lo_hz * share * seconds)  # the edge's carrier over the server's
    expected = 0.5 * np.exp(2j * np.pi * (tone_hz - trim_hz) * seconds)
    assert np.abs(on_air - expected)[50:].max() < 2e-4


def test_what_interpolation_lifts_beyond_full_scale_is_limited_and_counted():
    clock = ClockCorrection(1.92e6, 2.4e9)
    clock.delay(0.5)
    y = clock.push(np.where(np.arange(600) % 7 < 3, 1.0, -1.0).astype(np.complex64))
    assert np.abs(y).max() <= 1.0 + 1e-6
    assert clock.clipped_samples > 0
