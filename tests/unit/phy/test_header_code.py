"""How a header is sent and judged: statistics against their closed forms."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from scipy.stats import norm

from testbed.errors import ShapeError
from testbed.phy import header_code, polar
from testbed.phy.header import DESCRIPTION_BITS, FRAME_CYCLE, Header
from testbed.phy.header_code import (
    LEAST_CONSISTENCY,
    MAX_DECODES,
    MAX_TRIALS,
    agreement,
    agreement_threshold,
    code_soft_bits,
    codeword,
    consistency,
    decode_description,
    full_number,
    header_places,
    header_soft_bits,
    header_to_symbols,
    information,
    mark_scores,
    read_alone,
    wrong_header_bound,
)
from testbed.phy.waveform import HEADER_CODE_BITS, HEADER_MARK_BITS, PROFILES, Waveform

OTA = Waveform()
WIDE = msgspec.convert({"profile": "wide"} | PROFILES["wide"], Waveform)
PLACES = header_places(OTA)
HEADER = Header(
    user=1,
    frame=70_000,
    picture=40,
    part=2,
    codec=1,
    codec_hash=0xDEADBEEF,
    height=427,
    width=640,
    k=137_280,
    scale=1.25,
)


def noisy(x, snr_db, rng):
    deviation = np.sqrt(0.5 / 10 ** (snr_db / 10))
    return x + deviation * (rng.standard_normal(x.shape) + 1j * rng.standard_normal(x.shape))


def soft_bits(header, snr_db, rng, waveform=OTA):
    """What arrives of a header over AWGN."""
    return header_soft_bits(noisy(header_to_symbols(header, waveform), snr_db, rng), 10 ** (-snr_db / 10), waveform)


def test_agreement_and_consistency_are_their_formulas(rng):
    """The kernel against NumPy, 20 frames of noise of any strength; nothing at all agrees with nothing."""
    word = codeword(HEADER.description(), PLACES)
    signs = 2.0 * (header_code.pattern(1, HEADER.frame, PLACES) ^ word) - 1
    for strength in np.geomspace(0.1, 30, 20):
        soft = (strength * rng.standard_normal(PLACES)).astype(np.float32)
        posterior, size = np.tanh(soft / 2), np.abs(soft)
        formula = signs @ posterior / np.linalg.norm(posterior)
        assert agreement(soft, 1, HEADER.frame, word) == pytest.approx(formula, rel=1e-4)
        excess, spread = np.sum(signs * soft - size * np.abs(posterior)), np.sum(size**2 * (1 - posterior**2))
        assert consistency(soft, 1, HEADER.frame, word) == pytest.approx(excess / np.sqrt(spread), rel=1e-2, abs=1e-3)
    assert agreement(np.zeros(PLACES, np.float32), 1, 0, word) == 0


def test_the_bound_is_a_millionth_at_the_threshold():
    """Both terms written out: 8 trials of 3.178 Q(t), 16 decodings of 8 paths and 32 bits of CRC."""
    t = agreement_threshold()
    assert wrong_header_bound(t) == pytest.approx(1e-6, rel=1e-6)
    by_hand = 8 * norm.sf(t) / (4 * norm.sf(np.sqrt(2))) + 16 * 8 / 2**32
    assert (MAX_TRIALS, MAX_DECODES, polar.LIST_SIZE) == (8, 16, 8)
    assert wrong_header_bound(t) == pytest.approx(by_hand, rel=1e-3)
    assert 5.3 < t < 5.4


@pytest.mark.parametrize("case", ["noise", "neighbour", "a few strong bits"])
def test_a_wrong_header_agrees_as_seldom_as_the_closed_form_says(case, rng):
    """The statistic of all other frame numbers, 60 x 4095: noise alone, the frame of a true header at 10 dB, and noise
    of which one bit in ten is sure. Tails beyond 2, 3 and 3.5 within 4 standard errors of Q(t), so that what is
    extrapolated to 5.4 is the tail of a normal distribution; and never above the theorem's bound.
    """
    word = codeword(HEADER.description(), PLACES)
    signs = 2 * word.astype(np.float32) - 1
    every = 1 - 2 * header_code._patterns(1, np.arange(FRAME_CYCLE), PLACES).astype(np.float32)
    found = []
    for trial in range(60):
        number = HEADER.frame + 37 * trial
        if case == "neighbour":
            soft = soft_bits(msgspec.structs.replace(HEADER, frame=number, part=number - HEADER.first), 10.0, rng)
        else:
            soft = rng.standard_normal(PLACES).astype(np.float32)
            soft *= np.where(rng.random(PLACES) < 0.1, 20, 0.3) if case != "noise" else 1
        posterior = np.tanh(soft / 2)
        statistic = every @ (signs * posterior) / np.linalg.norm(posterior)
        other = np.arange(FRAME_CYCLE) != number % FRAME_CYCLE
        assert statistic[7] == pytest.approx(agreement(soft, 1, 7, word), abs=1e-3)
        found.append(statistic[other])
    found = np.concatenate(found)
    assert abs(found.mean()) < 4 / np.sqrt(len(found))
    assert found.var() == pytest.approx(1, abs=4 * np.sqrt(2 / len(found)))
    for t in (2.0, 3.0, 3.5):
        expected = len(found) * norm.sf(t)
        assert abs(np.count_nonzero(found > t) - expected) < 4 * np.sqrt(expected)
        assert np.mean(found > t) < header_code.RADEMACHER * norm.sf(t)


@pytest.mark.parametrize(("snr_db", "share"), [(-11.0, 0.99), (-14.0, 0.5)])
def test_a_true_header_agrees_far_below_where_it_can_be_decoded(snr_db, share, rng):
    """864 bits: T is about sqrt(864 SNR), 8.3 and 5.9 against a threshold of 5.4; 200 headers, none decodes."""
    word = codeword(HEADER.description(), PLACES)
    soft = [soft_bits(HEADER, snr_db, rng) for _ in range(200)]
    values = np.array([agreement(s, 1, HEADER.frame, word) for s in soft])
    assert values.mean() == pytest.approx(np.sqrt(PLACES * 10 ** (snr_db / 10)), rel=0.1)
    assert np.mean(values > agreement_threshold()) > share
    assert all(read_alone(s, 1) is None for s in soft[:40])


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 5.0])
def test_consistency_of_the_true_header_is_about_standard_normal(snr_db, rng):
    """400 headers: mean within 0.3, deviation within 15 %, none below the limit."""
    word = codeword(HEADER.description(), PLACES)
    values = np.array([consistency(soft_bits(HEADER, snr_db, rng), 1, HEADER.frame, word) for _ in range(400)])
    assert abs(values.mean()) < 0.3
    assert values.std() == pytest.approx(1, rel=0.15)
    assert values.min() > LEAST_CONSISTENCY


@pytest.mark.parametrize("change", [{"scale": 1.26}, {"picture": 41}, {"k": 137_281}])
def test_another_pictures_word_of_the_same_frame_number_is_not_consistent(change, rng):
    """It may agree, for most of its bits are the same; z tells at 0 dB, 40 headers."""
    word = codeword(msgspec.structs.replace(HEADER, **change).description(), PLACES)
    for _ in range(40):
        assert consistency(soft_bits(HEADER, 0.0, rng), 1, HEADER.frame, word) < LEAST_CONSISTENCY


@pytest.mark.parametrize(("waveform", "snr_db"), [(OTA, 0.0), (WIDE, -2.0)], ids=["ota", "wide"])
def test_a_header_alone_is_read_where_bits_alone_would_not_be(waveform, snr_db, rng):
    """100 of 100, nothing else known; uncoded, with Q(sqrt(SNR)) a bit, none of 172 bits would be."""
    x = header_to_symbols(HEADER, waveform)
    assert x.shape == (waveform.header_symbols, waveform.occupied_subcarriers)
    np.testing.assert_allclose(np.abs(x), 1, rtol=1e-6)
    assert [read_alone(soft_bits(HEADER, snr_db, rng, waveform), 1) for _ in range(100)] == [HEADER] * 100
    assert (1 - norm.sf(10 ** (snr_db / 20))) ** DESCRIPTION_BITS < 1e-8


def test_soft_bits_of_frames_of_one_picture_add_up(rng):
    """At -5 dB no frame of six can be read alone; their sum can, in each of 20 pictures."""
    for _ in range(20):
        frames = [msgspec.structs.replace(HEADER, frame=70_000 + i, part=2 + i) for i in range(6)]
        soft = [soft_bits(h, -5.0, rng) for h in frames]
        assert all(read_alone(s, 1) is None for s in soft)
        together = sum(code_soft_bits(s, 1, h.frame) for s, h in zip(soft, frames, strict=True))
        found = decode_description(together)
        assert found is not None
        assert Header.of_frame(1, 70_003, found) == frames[3]


def test_marks_of_frames_of_one_stream_add_up(rng):
    """At -9 dB one mark names the frame in under half of 60 cases, four together in over nine tenths."""
    alone = together = 0
    for _ in range(60):
        scores = np.zeros(FRAME_CYCLE, np.float32)
        for i in range(4):
            one = mark_scores(soft_bits(msgspec.structs.replace(HEADER, frame=4094 + i, part=0), -9.0, rng), 1)
            scores = np.roll(scores, 1) + one
        alone += int(np.argmax(one)) == (4094 + 3) % FRAME_CYCLE
        together += int(np.argmax(scores)) == (4094 + 3) % FRAME_CYCLE
    assert alone < 30
    assert together > 54


def test_a_header_is_read_for_its_own_user_only(rng):
    """Another user's pattern makes it noise; noise is no header; nor is what is not finite."""
    x = header_to_symbols(HEADER, OTA)
    assert read_alone(header_soft_bits(x, 0.1, OTA), 1) == HEADER
    assert read_alone(header_soft_bits(x, 0.1, OTA), 0) is None
    assert read_alone(header_soft_bits(noisy(0 * x, 0, rng), 1.0, OTA), 1) is None
    assert read_alone(header_soft_bits(np.full_like(x, np.nan), np.nan, OTA), 1) is None
    with pytest.raises(ShapeError):
        header_soft_bits(x[:-1], 0.1, OTA)


def test_lost_elements_are_survived_when_they_are_known(rng):
    """Half the band lost: garbage with infinite noise at 10 dB is read, the same without being told is not."""
    x = noisy(header_to_symbols(HEADER, OTA), 10, rng).astype(np.complex64)
    x[:, ::2] = 30 * (rng.standard_normal((6, 36)) + 1j * rng.standard_normal((6, 36)))
    no = np.full(x.shape, 0.1, np.float32)
    assert read_alone(header_soft_bits(x, no, OTA), 1) is None
    no[:, ::2] = np.inf
    assert read_alone(header_soft_bits(x, no, OTA), 1) == HEADER


def test_headers_of_users_and_of_frames_look_unlike():
    """All else alike, their 432 symbols correlate by less than 4 standard deviations of random ones."""
    a = header_to_symbols(HEADER, OTA)
    for change in ({"user": 0}, {"frame": HEADER.frame + 1, "part": HEADER.part + 1}):
        b = header_to_symbols(msgspec.structs.replace(HEADER, **change), OTA)
        assert abs(np.vdot(a, b)) / a.size < 4 / np.sqrt(a.size)


def test_a_word_is_mark_and_code_repeated():
    """Mark all zero, then 512 bits and their first 256 once more."""
    word, code = codeword(HEADER.description(), PLACES), polar.encode(HEADER.description(), HEADER_CODE_BITS)
    assert not word[:HEADER_MARK_BITS].any()
    np.testing.assert_array_equal(word[HEADER_MARK_BITS:], np.concatenate([code, code[:256]]))


@pytest.mark.parametrize(("llr", "bits"), [(0.0, 0.0), (30.0, 100.0), (-np.log(9), 100 * 0.531)])
def test_information_is_what_a_binary_symmetric_channel_carries(llr, bits):
    """1 - H2(0.1) = 0.531 a bit where one in ten is wrong."""
    assert information(np.full(100, llr, np.float32)) == pytest.approx(bits, abs=0.05)


def test_a_frame_number_is_completed_from_its_pictures_first():
    """Across a cycle, at its beginning and at its end."""
    assert full_number(2, 4094) == 4098
    assert full_number(4094, 4094) == 4094
    assert full_number(4093, 4094) == 4093 + FRAME_CYCLE
    assert full_number(70_001 % FRAME_CYCLE, 70_000) == 70_001


def test_too_small_a_waveform_is_refused():
    """Before any header is laid on it."""
    with pytest.raises(ShapeError, match="header_symbols"):
        header_code._order(HEADER_MARK_BITS + HEADER_CODE_BITS - 1)
