"""Headers from frame to frame: read together where none can be read alone, never wrong, never held for long."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from server.headers import HELD_FRAMES, MISSES, HeaderTracker
from testbed.phy.header import FRAME_CYCLE, Header
from testbed.phy.header_code import (
    agreement,
    agreement_threshold,
    codeword,
    header_places,
    header_soft_bits,
    header_to_symbols,
    read_alone,
)
from testbed.phy.waveform import Waveform

OTA = Waveform()
PERIOD = OTA.frame_period_samples
LIKE = {"user": 1, "codec": 1, "codec_hash": 0xDEADBEEF, "height": 427, "width": 640}


def picture(number: int, first: int, parts: int, **other) -> list[Header]:
    """The headers of one picture's frames."""
    fields = LIKE | {"k": parts * OTA.data_elements - 5, "scale": 1 + number / 100} | other
    return [Header(frame=first + part, picture=number, part=part, **fields) for part in range(parts)]


def album(parts: int, count: int, begin: int = 0) -> list[Header]:
    """Pictures of one size, one behind the other."""
    return [h for n in range(count) for h in picture(n, begin + n * parts, parts)]


def soft_bits(header: Header | None, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """What arrives of a header over AWGN; None: noise alone."""
    no = 10 ** (-snr_db / 10)
    sent = header_to_symbols(header, OTA) if header is not None else np.zeros((6, 72))
    noise = rng.standard_normal((6, 72, 2)) @ [1, 1j] * np.sqrt(no / 2)
    return header_soft_bits(sent + noise, no, OTA)


def track(frames, snr_db, rng, user: int = 1):
    """{start: header} of (start, header or None) sent, and the largest delay in frames."""
    tracker, out, late = HeaderTracker(OTA, user), [], 0
    for count, (start, header) in enumerate(frames):
        out += tracker.push(start, soft_bits(header, snr_db, rng))
        late = max(late, count + 1 - len(out))
    out += tracker.finish()
    assert [start for start, _ in out] == [start for start, _ in frames], "each frame once, in order"
    return dict(out), late


def on_time(headers, begin: int = 1000):
    """Each at its place in time, from the first on."""
    return [(begin + PERIOD * i, header) for i, header in enumerate(headers)]


def test_at_good_snr_each_header_is_read_at_once(rng):
    """Three pictures of five frames at 5 dB: nothing waits, and each description is decoded once."""
    frames = on_time(album(5, 3))
    found, late = track(frames, 5.0, rng)
    assert found == dict(frames)
    assert late == 0
    tracker = HeaderTracker(OTA, 1)
    for start, header in frames:
        tracker.push(start, soft_bits(header, 5.0, rng))
    assert tracker.decodes == 3


def test_frames_of_a_picture_are_read_together(rng):
    """At -6 dB nine in ten cannot be read alone; of five pictures of eight frames all are."""
    frames = on_time(album(8, 5))
    assert sum(read_alone(soft_bits(header, -6.0, rng), 1) is not None for _, header in frames) < 4
    found, late = track(frames, -6.0, rng)
    assert found == dict(frames)
    assert 1 < late < 16


def test_pictures_of_one_frame_help_each_other(rng):
    """Sixty pictures of one size at -4 dB, nine in ten of which cannot be read alone, and every fifth does not come at
    all: once one at 5 dB was read, over 44 of the 48 are."""
    headers = album(1, 60)
    assert sum(read_alone(soft_bits(header, -4.0, rng), 1) is not None for header in headers) < 6
    tracker, out = HeaderTracker(OTA, 1), []
    frames = {start: header for start, header in on_time(headers) if header.frame % 5 != 3}
    for start, header in frames.items():
        out += tracker.push(start, soft_bits(header, 5.0 if start == 1000 else -4.0, rng))
    out += tracker.finish()
    assert all(header is None or header == frames[start] for start, header in out)
    assert sum(header is not None for _, header in out) > 44


@pytest.mark.parametrize("begin", [0, FRAME_CYCLE - 7, 70_000])
def test_a_stream_is_joined_in_the_middle_and_misses_frames(begin, rng):
    """From the third frame of ten on, every fourth frame missing, at -3 dB, across a cycle of frame numbers: the first
    picture's remaining frames, too, are what they are."""
    frames = [f for i, f in enumerate(on_time(album(10, 3, begin))) if i >= 2 and i % 4]
    found, _ = track(frames, -3.0, rng)
    assert found == dict(frames)


def test_a_user_that_is_absent_has_no_headers(rng):
    """Noise for 100 frames, then a stream at 0 dB, then noise for 100: the stream is read, the rest is None, and
    nothing waits longer than promised."""
    silence = [(1000 + PERIOD * i, None) for i in range(100)]
    frames = [*silence, *on_time(album(4, 5), silence[-1][0] + PERIOD)]
    frames += [(frames[-1][0] + PERIOD * (i + 1), None) for i in range(100)]
    found, late = track(frames, 0.0, rng)
    assert found == dict(frames)
    assert late <= HELD_FRAMES


def test_another_users_frames_are_nobodys(rng):
    """Twenty frames of user 0 at 10 dB, heard as user 1."""
    frames = on_time([msgspec.structs.replace(h, user=0) for h in album(5, 4)])
    found, _ = track(frames, 10.0, rng)
    assert set(found.values()) == {None}


@pytest.mark.parametrize("snr_db", [-3.0, 10.0])
def test_a_stream_that_pauses_is_found_again(snr_db, rng):
    """Between pictures and within one, by times that are no multiple of a frame's."""
    headers, start, frames = album(8, 3), 1000, []
    for i, header in enumerate(headers):
        start += PERIOD + (5000 if i == 8 else 7777 if i == 19 else 0)
        frames.append((start, header))
    found, _ = track(frames, snr_db, rng)
    assert found == dict(frames)


def test_an_edge_that_begins_anew_is_believed(rng):
    """Frame 0 again in the middle of a picture of 40, at the very place in time: at 3 dB no frame is given the old
    picture's header, and from the first on all have their own."""
    before, after = picture(0, 0, 40)[:20], picture(0, 0, 40, scale=1.7, codec_hash=5)
    frames = on_time([*before, *after])
    found, _ = track(frames, 3.0, rng)
    assert found == dict(frames)


def test_an_edge_that_begins_anew_with_the_same_frame_number_is_believed(rng):
    """Another picture whose frame 20 stands where the old one's would, of 300 the one whose word differs least: frames
    agree with the old one's header, past the threshold, and yet they are not taken for it."""
    before, places = picture(0, 0, 40)[:20], header_places(OTA)
    word = codeword(before[0].description(), places)
    others = [picture(0, 0, 40, scale=1.1 + n / 500) for n in range(300)]
    after = min(others, key=lambda o: np.count_nonzero(codeword(o[0].description(), places) != word))[20:]
    assert agreement(soft_bits(after[0], 10.0, rng), 1, 20, word) > agreement_threshold()
    frames = on_time([*before, *after])
    found, _ = track(frames, 10.0, rng)
    assert found == dict(frames)


def test_no_header_is_wrong_whatever_happens(rng):
    """Four hundred frames at -12 to 0 dB: streams that stop, skip, begin anew, and noise between: each header that is
    given is the one that was sent; over half of the present ones are read."""
    frames, start, number = [], 1000, 0
    while len(frames) < 400:
        parts = int(rng.integers(1, 12))
        for header in picture(int(rng.integers(0, 9)), number, parts, scale=float(rng.uniform(0.5, 2))):
            start += PERIOD * int(rng.choice([1, 1, 1, 2])) + int(rng.integers(-3, 4))
            event = rng.random()
            frames.append((start, header if event > 0.05 else None))
            if event > 0.99:
                start += int(rng.integers(0, 9 * PERIOD))
        number = number + parts if rng.random() < 0.9 else int(rng.integers(0, 5000))
    tracker, out = HeaderTracker(OTA, 1), []
    for start, header in frames:
        out += tracker.push(start, soft_bits(header, rng.uniform(-12, 0), rng))
    out += tracker.finish()
    for (start, header), (_, sent) in zip(out, frames, strict=True):
        assert header is None or header == sent, start
    assert sum(header is not None for _, header in out) > 200


def test_an_edge_that_leaves_in_mid_picture_is_forgotten(rng):
    """Frames 0 to 9 of 60, then noise, then at other times a new stream of lower numbers: read as what it is."""
    frames = on_time(picture(0, 100, 60)[:10])
    frames += [(frames[-1][0] + PERIOD * (i + 1), None) for i in range(MISSES + 2)]
    frames += on_time(album(6, 3), frames[-1][0] + PERIOD + 999)
    found, _ = track(frames, -3.0, rng)
    assert found == dict(frames)


def test_erasures_are_no_header():
    """Zeros and what was no number."""
    tracker = HeaderTracker(OTA, 1)
    for i in range(HELD_FRAMES + 2):
        out = tracker.push(1000 + PERIOD * i, np.zeros(header_places(OTA), np.float32))
    assert out == [(1000 + PERIOD, None)]
    assert all(header is None for _, header in tracker.finish())
