"""The single-user bound and the figures of merit, against closed forms."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from server.received import ReceivedFrame
from testbed.air.medium import Medium
from testbed.codec.base import CodecIdentity
from testbed.config import Air, EdgePart, Scenario
from testbed.data.pictures import Picture
from testbed.experiments.measure import (
    Measured,
    measure,
    shrink,
    single_user_bound,
    sinr_db,
)
from testbed.experiments.scoring import psnr_db
from testbed.experiments.sent import Sent
from testbed.phy.interleave import interleave
from testbed.phy.waveform import Waveform
from tests.unit.experiments.synthetic_link import (
    CHANNEL_GAIN,
    FRAME_STEP,
    SIZE,
    WAVEFORM,
    Errors,
    as_psnr_db,
    as_sinr_db,
    encode_sent,
    flat,
    frame_of,
    header_of,
    moved,
    part_of,
    reported_error,
    silent,
    true_error,
)

SNR_DB = 7.0


class Listening:
    """A codec that keeps what it is given to decode."""

    identity = CodecIdentity("listening", 0, 0)

    def symbol_count(self, height: int, width: int) -> int:
        return height * width

    def encode(self, picture: np.ndarray) -> np.ndarray:
        phase = 2 * np.pi * picture[:, :, 0].reshape(-1) / 256
        return np.exp(1j * phase).astype(np.complex64)

    def decode(self, symbols: np.ndarray, no_eff: np.ndarray, height: int, width: int) -> np.ndarray:
        self.symbols, self.no_eff = symbols, no_eff
        return np.zeros((height, width, 3), np.uint8)


@pytest.mark.parametrize("antennas", [1, 2, 4])
def test_the_bound_is_maximum_ratio_combining_without_the_other_user(antennas, rng):
    """Unit-gain paths: N0 / (A Es) is told to the decoder, and the noise put in has that variance within 2 %
    (6e4 symbols: one standard error is 0.4 %)."""
    waveform, codec = Waveform(), Listening()
    medium = Medium(waveform, Air(snr_db=SNR_DB, channel="AWGN"), [0, 1], antennas, seed=4)
    pixels = rng.integers(0, 256, (250, 240, 3), dtype=np.uint8)
    sent = encode_sent("edge-1", 0, [Picture("a", pixels)], [codec])
    _, error = single_user_bound(sent, waveform, medium, rng)
    no = 10 ** (-SNR_DB / 10) / antennas
    assert codec.no_eff == pytest.approx(no, rel=1e-3)
    measured = np.mean(np.abs(interleave(codec.symbols) - sent.symbols[0]) ** 2)
    assert measured == pytest.approx(no, rel=0.02)
    assert error == pytest.approx(no / (1 + no), rel=1e-3)
    assert sinr_db(error) == pytest.approx(SNR_DB + 10 * np.log10(antennas), abs=0.01)


def test_sinr_of_mmse_estimates_is_the_snr(rng):
    """Unit-power Gaussian symbols at 3 dB: 1/MSE - 1 of shrunk estimates is the SNR within 0.1 dB (1e5 symbols)."""
    no = 10**-0.3
    x, n = (rng.normal(size=(100_000, 2)) @ [1, 1j] / np.sqrt(2) for _ in range(2))
    error = np.mean(np.abs(shrink(x + np.sqrt(no) * n, np.full(len(x), no)) - x) ** 2)
    assert sinr_db(error) == pytest.approx(3.0, abs=0.1)
    assert sinr_db(1.0) is None


def test_psnr_is_of_255_steps():
    """One step of error everywhere is 48.13 dB, as every text book has it."""
    assert psnr_db(1.0) == pytest.approx(48.1308, abs=1e-4)


class Linear:
    """Pixels 128 +- 32 become symbols of power one, two colours in each; its decoder is the inverse, rounded."""

    identity = CodecIdentity("linear", 3, 0xBEE)

    def symbol_count(self, height: int, width: int) -> int:
        return -(-3 * height * width // 2)

    def encode(self, picture: np.ndarray) -> np.ndarray:
        values = (picture.ravel() - 128.0) / (32 * np.sqrt(2))
        if len(values) % 2:
            values = np.append(values, np.sqrt(0.5))
        return (values[::2] + 1j * values[1::2]).astype(np.complex64)

    def decode(self, symbols: np.ndarray, no_eff: np.ndarray, height: int, width: int) -> np.ndarray:
        values = np.stack([symbols.real, symbols.imag], axis=-1).ravel()[: 3 * height * width]
        return np.clip(np.rint(128 + 32 * np.sqrt(2) * values), 0, 255).astype(np.uint8).reshape(height, width, 3)


class Job(msgspec.Struct):
    """A run made by hand, and what every figure of it must be."""

    scenario: Scenario
    sent: list[Sent]
    frames: list[ReceivedFrame]
    received: dict[tuple[int, int], tuple[np.ndarray, float]]
    users: list[dict[str, object]]  # of metrics, without the bound
    links: dict[int, list[Errors]]  # of each user's received parts


def two_colours(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return (128 + 32 * rng.choice([-1, 1], (height, width, 3))).astype(np.uint8)


def flat_ssim(a: float, b: float) -> float:
    """SSIM of two pictures without any texture: the luminance term, L = 255, K1 = 0.01 (Wang 2004, eq. 6)."""
    c1 = (0.01 * 255) ** 2
    return (2 * a * b + c1) / (a**2 + b**2 + c1)


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    return float(structural_similarity(a, b, channel_axis=-1, data_range=255))


@pytest.fixture
def job(rng: np.random.Generator) -> Job:
    """Two edges, the second user first. User 1 sends three pictures: one comes noisy, though a frame of it is lost, one
    shifted by 10, one never; user 0 two: one exact and too small for SSIM, one of which half never came. One frame
    speaks of a picture that nobody sent.
    """
    codec = Linear()
    air = Air(
        snr_db=SNR_DB,
        channel="AWGN",
        common_cfo_hz=1234.0,
        user_cfo_hz=[250.0, -350.0],
        user_delay_samples=[1.5, 4.0],
    )
    edges = [EdgePart(name="edge-b", user=1), EdgePart(name="edge-a", user=0)]
    scenario = Scenario(name="by-hand", seed=11, air=air, edges=edges)
    big, gone = two_colours(rng, 80, 100), two_colours(rng, 16, 16)
    level = np.full((20, 30, 3), 160, np.uint8)
    tiny, half = two_colours(rng, 5, 6), two_colours(rng, 60, 70)
    sent = [
        encode_sent("edge-b", 1, [Picture("big", big), Picture("level", level), Picture("gone", gone)], [codec] * 3),
        encode_sent("edge-a", 0, [Picture("tiny", tiny), Picture("half", half)], [codec] * 2),
    ]
    links = {
        1: [Errors(0.02, 0.05), Errors(0.3, 0.2), Errors(0.001, 0.004)],
        0: [Errors(0.07, 0.03), Errors(0.01, 0.09)],
    }
    unknown = msgspec.structs.replace(
        part_of(codec, 0, 1, 0, half, Errors(0.5, 0.5)), header=header_of(codec, 0, 2, 0, half, 1.0)
    )
    loud = 2.0**1.25
    frames = [
        frame_of(
            0, 1201.0, part_of(codec, 0, 0, 0, tiny, links[0][0]), part_of(codec, 1, 0, 0, big, links[1][0], loud)
        ),
        frame_of(1, 1500.0, part_of(codec, 0, 1, 0, half, links[0][1], 0.5), silent(1)),
        frame_of(2, 1240.0, silent(0), part_of(codec, 1, 0, 2, big, links[1][1], loud)),
        frame_of(3, 1230.0, unknown, part_of(codec, 1, 1, 0, level, links[1][2])),
    ]
    assert [len(s) for s in sent[0].symbols] == [12_000, 900, 384]
    assert [len(s) for s in sent[1].symbols] == [45, 6300]
    lost_big, lost_half = SIZE / 12_000, (6300 - SIZE) / 6300
    noisy, halved = moved(big, 4, rng), moved(half, 20, rng)
    received = {
        (1, 0): (noisy, lost_big),
        (1, 1): (level - np.uint8(10), 0.0),
        (0, 0): (tiny.copy(), 0.0),
        (0, 1): (halved, lost_half),
    }
    grey = np.full((16, 16, 3), 128, np.uint8)
    label = {"codec": "linear 00000bee"}
    seen_b, seen_a = [ssim(big, noisy), flat_ssim(160, 150), ssim(gone, grey)], [ssim(half, halved)]
    size = [{"height": p.shape[0], "width": p.shape[1]} for p in (big, level, gone, tiny, half)]
    pictures_b = [
        {"name": "big", "psnr_db": as_psnr_db(16), "ssim": seen_b[0], "lost_share": lost_big, **size[0], **label},
        {"name": "level", "psnr_db": as_psnr_db(100), "ssim": seen_b[1], "lost_share": 0.0, **size[1], **label},
        {"name": "gone", "psnr_db": as_psnr_db(32**2), "ssim": seen_b[2], "lost_share": 1.0, **size[2], **label},
    ]
    pictures_a = [
        {"name": "tiny", "psnr_db": as_psnr_db(1 / 12), "ssim": None, "lost_share": 0.0, **size[3], **label},
        {"name": "half", "psnr_db": as_psnr_db(400), "ssim": seen_a[0], "lost_share": lost_half, **size[4], **label},
    ]
    users: list[dict[str, object]] = [
        {
            "user": 1,
            "node": "edge-b",
            "images": 3,
            "psnr_db": as_psnr_db((16 + 100 + 1024) / 3),
            "ssim": sum(seen_b) / 3,
            "frames_sent": 3 + 1 + 1,
            "frames_detected": 3,
            "channel_uses": 12_000 + 900 + 384,
            "pictures": pictures_b,
        },
        {
            "user": 0,
            "node": "edge-a",
            "images": 2,
            "psnr_db": as_psnr_db((0 + 400) / 2),
            "ssim": seen_a[0],
            "frames_sent": 1 + 2,
            "frames_detected": 2,
            "channel_uses": 45 + 6300,
            "pictures": pictures_a,
        },
    ]
    for user in users:
        errors = links[user["user"]]  # type: ignore[index]
        user["evm_percent"] = 100 * np.sqrt(true_error(errors))
        user["sinr_db_estimated"], user["sinr_db_true"] = (
            as_sinr_db(reported_error(errors)),
            as_sinr_db(true_error(errors)),
        )
    return Job(scenario, sent, frames, received, users, links)


def run(job: Job) -> Measured:
    medium = Medium(WAVEFORM, job.scenario.air, [1, 0], 2, job.scenario.seed)
    return measure(job.scenario, job.sent, job.frames, job.received, medium)


def split_bound(metrics: object) -> tuple[dict[str, object], dict[str, float]]:
    """All places of metrics, those of the single-user bound apart."""
    places = flat(metrics)
    bound = {place: places.pop(place) for place in list(places) if "single_user" in place}
    return places, bound  # type: ignore[return-value]


def test_every_figure_of_a_run_is_what_was_made_by_hand(job):
    """All of ``metrics`` but the bound, field by field, so that none can be forgotten: closed forms to 1e-5 (float32),
    SSIM of textures by scikit-image. True and estimated SINR differ by 1 dB and more, the mean of the PSNRs and the
    PSNR of the mean by 5 dB and more."""
    metrics = run(job).metrics
    air = {
        "snr_db": SNR_DB,
        "common_cfo_hz": 1234.0,
        "common_cfo_hz_estimated": 1235.0,  # the median of 1201, 1230, 1240, 1500
        "user_cfo_hz": [-350.0, 250.0],
        "user_delay_samples": [4.0, 1.5],
    }
    (warning,) = metrics.warnings
    assert "differ by 600 Hz" in warning
    expected = flat({"users": job.users, "air": air, "counted": [], "warnings": [warning]})
    assert split_bound(metrics)[0] == pytest.approx(expected, rel=1e-5)
    for user in metrics.users:
        assert abs(user.sinr_db_true - user.sinr_db_estimated) > 1
        assert abs(np.mean([p.psnr_db for p in user.pictures]) - user.psnr_db) > 5


def test_the_bounds_figures_are_those_of_its_pictures(job):
    """Of each picture by scikit-image, of each user of the mean MSE, all exactly; and the MSE that maximum ratio
    combining over two unit-gain antennas leaves, 1024 N0/2 + 1/12 for the rounding, within four standard errors."""
    measured = run(job)
    no = 10 ** (-SNR_DB / 10) / 2
    for one, user in zip(job.sent, measured.metrics.users, strict=True):
        pairs = [(p.pixels, measured.bounds[one.user, i]) for i, p in enumerate(one.pictures)]
        for picture, (pixels, bound) in zip(user.pictures, pairs, strict=True):
            exact = peak_signal_noise_ratio(pixels, bound, data_range=255)
            assert picture.single_user_psnr_db == pytest.approx(exact, rel=1e-9)
        mse = float(np.mean([mean_squared_error(*pair) for pair in pairs]))
        assert user.single_user_psnr_db == pytest.approx(as_psnr_db(mse), rel=1e-9)
        assert user.single_user_sinr_db == pytest.approx(-10 * np.log10(no), abs=0.01)
    values = [
        (p.pixels.astype(float) - measured.bounds[one.user, i]).ravel()
        for one in job.sent
        for i, p in enumerate(one.pictures)
    ]
    errors = np.concatenate(values)
    assert np.mean(errors**2) == pytest.approx(1024 * no + 1 / 12, rel=4 * np.sqrt(2 / len(errors)))


def test_without_an_air_nothing_is_said_of_it(job):
    """Over real radios: the same figures, no bound, no truth, no warning."""
    measured = measure(job.scenario, job.sent, job.frames, job.received, None)
    rest, bound = split_bound(measured.metrics)
    assert rest == pytest.approx(flat({"users": job.users, "air": None, "counted": [], "warnings": []}), rel=1e-5)
    assert set(bound.values()) == {None}
    assert measured.bounds == {}


def test_of_what_never_came_no_quality_is_claimed(job):
    """No frame, no picture: everything sent is counted, every picture is mid-grey, what cannot be known is None."""
    measured = measure(job.scenario, job.sent, [], {}, Medium(WAVEFORM, job.scenario.air, [1, 0], 2, 11))
    for user, count in zip(measured.metrics.users, (3, 2), strict=True):
        assert user.images == count
        assert user.psnr_db == pytest.approx(as_psnr_db(32**2))  # every colour lies 32 from mid-grey
        assert [p.lost_share for p in user.pictures] == [1.0] * count
        assert (user.frames_detected, user.evm_percent) == (0, None)
        assert (user.sinr_db_estimated, user.sinr_db_true) == (None, None)
    assert [u.frames_sent for u in measured.metrics.users] == [5, 3]
    assert measured.metrics.air.common_cfo_hz == 1234.0
    assert measured.metrics.air.common_cfo_hz_estimated is None


def test_the_figures_arrays_say_the_same(job):
    """SINR of each frame and user, estimated and true, at the time of the frame; the channel at 20 log10 of its gain;
    the symbols of the constellation as they were sent and detected, on the codec's scale."""
    arrays = run(job).arrays
    assert arrays["frame_time_s"] == pytest.approx((1000 + np.arange(4) * FRAME_STEP) / 1.92e6)
    nothing = [Errors(np.nan, np.nan)]
    columns = {0: [[job.links[0][0]], [job.links[0][1]], nothing, nothing]}
    columns[1] = [[job.links[1][0]], nothing, [job.links[1][1]], [job.links[1][2]]]
    for column, user in enumerate((0, 1)):
        for row, parts in enumerate(columns[user]):
            missing = parts is nothing
            for name, error in (("sinr_est_db", reported_error), ("sinr_true_db", true_error)):
                expected = np.nan if missing else as_sinr_db(error(parts))
                assert arrays[name][row, column] == pytest.approx(expected, rel=1e-4, nan_ok=True)
        tx, rx, no = (arrays[f"{name}_u{user}"] for name in ("tx", "rx", "no_eff"))
        made = np.repeat([p.made for p in job.links[user]], [p.count for p in job.links[user]])
        reported = np.repeat([p.reported for p in job.links[user]], [p.count for p in job.links[user]])
        assert np.abs(rx - tx) ** 2 == pytest.approx(made, rel=1e-3)
        assert no == pytest.approx(reported, rel=1e-5)
    assert arrays["channel_db"] == pytest.approx(20 * np.log10(CHANNEL_GAIN), abs=1e-3)
