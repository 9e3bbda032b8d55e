"""result.json of a run folder made by hand: metrics and timing as a whole, against closed forms and scikit-image."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import numpy as np
import pytest
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from server.received import ReceivedFrame
from server.recording import frame_arrays
from testbed.codec.pictures import PictureCodec
from testbed.codec.registry import open_codec
from testbed.config import Air, CodecChoice, EdgePart, Scenario, dump, load_scenario
from testbed.errors import DataError
from testbed.experiments.evaluate import evaluate, percentiles
from testbed.experiments.simulate import make_medium
from testbed.phy.interleave import deinterleave, interleave
from testbed.record.folder import RunFolder, bound_name, received_name, sent_name, symbols_name
from testbed.record.schema import Metrics, read_result
from tests.unit.experiments.synthetic_link import (
    SIZE,
    Errors,
    as_psnr_db,
    as_sinr_db,
    flat,
    frame_of,
    moved,
    part_of,
    reported_error,
    silent,
    true_error,
)

SNR_DB = 7.0
CODEC = "deepjscc-cifar10-small"
SAMPLES = 2_880_000  # 1.5 s at 1.92 MS/s


class Made(msgspec.Struct):
    """A run folder and all that lies in it."""

    folder: RunFolder
    sent: dict[str, list[np.ndarray]]
    received: dict[tuple[str, int], np.ndarray]
    frames: list[ReceivedFrame]
    links: dict[str, list[Errors]]


def smooth(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A picture in whose range there is room for errors of 20 steps."""
    coarse = rng.integers(30, 226, (height // 16, width // 16, 3))
    return np.kron(coarse, np.ones((16, 16, 1), int)).astype(np.uint8)


def psnr(sent: np.ndarray, received: np.ndarray) -> float:
    return float(peak_signal_noise_ratio(sent, received, data_range=255))


def ssim(sent: np.ndarray, received: np.ndarray) -> float:
    return float(structural_similarity(sent, received, channel_axis=-1, data_range=255))


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.full_like(pixels, 128)


@pytest.fixture(scope="module")
def codec() -> PictureCodec:
    return open_codec(CODEC)


@pytest.fixture
def made(tmp_path: Path, codec: PictureCodec, rng: np.random.Generator) -> Made:
    """Edge 1 sent a picture of two frames, whose second was lost, and one of one; edge 2 two, of which one was lost.

    The edges measured their encoding, 1, 3, .. 99 ms and 2, 4, .. 100 ms, the server its stages.
    """
    air = Air(snr_db=SNR_DB, channel="AWGN", common_cfo_hz=-500.0, user_cfo_hz=[20.0, -30.0])
    edges = [EdgePart(name="edge-1", user=0), EdgePart(name="edge-2", user=1)]
    scenario = Scenario(name="by-hand", seed=5, codec=CodecChoice(CODEC), air=air, edges=edges)
    folder = RunFolder(tmp_path)
    folder.write_bytes("scenario.toml", dump(scenario))
    a, b, c, d = (smooth(rng, *size) for size in ((96, 128), (64, 32), (32, 32), (48, 32)))
    sent = {"edge-1": [a, b], "edge-2": [c, d]}
    for node, pictures in sent.items():
        for index, pixels in enumerate(pictures):
            folder.write_png(sent_name(node, index), pixels)
    links = {"edge-1": [Errors(0.02, 0.05), Errors(0.1, 0.04)], "edge-2": [Errors(0.004, 0.01)]}
    frames = [
        frame_of(
            0,
            -480.0,
            part_of(codec, 0, 0, 0, a, links["edge-1"][0], 2.0),
            part_of(codec, 1, 0, 0, c, links["edge-2"][0]),
        ),
        frame_of(1, -507.0, silent(0), silent(1)),
        frame_of(2, -503.0, part_of(codec, 0, 1, 0, b, links["edge-1"][1], 0.5), silent(1)),
    ]
    for index, frame in enumerate(frames):
        folder.write_npz(f"received/frame-{index:05d}.npz", **frame_arrays(frame))
    received = {("edge-1", 0): moved(a, 20, rng), ("edge-1", 1): moved(b, 3, rng), ("edge-2", 0): moved(c, 2, rng)}
    for (node, index), pixels in received.items():
        folder.write_png(received_name(node, index), pixels)
    label = codec.identity.label
    odd, even = (rng.permutation(np.arange(first, 101, 2)) * 1e-3 for first in (1, 2))
    folder.write_json(
        "received/server.json",
        {
            "samples": SAMPLES,
            "provider": "cpu",
            "pictures": [
                {
                    "user": int(node[-1]) - 1,
                    "picture": index,
                    "file": received_name(node, index),
                    "lost_share": (6144 - SIZE) / 6144 if (node, index) == ("edge-1", 0) else 0.0,
                }
                for node, index in received
            ],
            "nodes": {
                "edge-1": {
                    "pictures": ["a.jpg", "b.jpg"],
                    "codecs": [label] * 2,
                    "provider": "cuda",
                    "calibrations": ["transmit-iq-20261125T101500Z"],
                    "adjusted": ["tx_gain_db: -10.1 was asked for, -10 is in force"],
                    "stage_s": {"encode": odd, "cooling": [7.0]},
                },
                "edge-2": {"pictures": ["c.jpg", "d.jpg"], "codecs": [label] * 2, "stage_s": {"encode": even}},
            },
            "stage_s": {"decode": [0.25], "sync": [0.003, 0.001], "header": []},
        },
    )
    return Made(folder, sent, received, frames, links)


def stage(count: int, p50_ms: float, p95_ms: float, p99_ms: float, total_s: float) -> dict[str, float]:
    return {"count": count, "p50_ms": p50_ms, "p95_ms": p95_ms, "p99_ms": p99_ms, "total_s": total_s}


# 1, 2, .. 100 ms: the share p lies at 1 + 99 p. 1 and 3 ms: at 1 + 2 p.
STAGES = {
    "encode": stage(100, 50.5, 95.05, 99.01, 5.05),
    "sync": stage(2, 2.0, 2.9, 2.98, 0.004),
    "decode": stage(1, 250.0, 250.0, 250.0, 0.25),
    "cooling": stage(1, 7000.0, 7000.0, 7000.0, 7.0),
}


def test_metrics_and_timing_are_what_the_folder_holds(made, codec):
    """All fields of both, so that none can be forgotten, to 1e-5: MSEs of 20^2, 3^2, 2^2 and mid-grey, SINR and EVM in
    closed form, SSIM and the bound's PSNR by scikit-image from the PNG files, percentiles of 1 .. 100 ms."""
    result = evaluate(made.folder.path, complete=True, reason="", wall_time_s=12.5)
    lost_mse = float(mean_squared_error(made.sent["edge-2"][1], grey(made.sent["edge-2"][1])))
    mse = {"edge-1": [20.0**2, 3.0**2], "edge-2": [2.0**2, lost_mse]}
    lost = {"edge-1": [(6144 - SIZE) / 6144, 0.0], "edge-2": [0.0, 1.0]}
    uses = {"edge-1": 96 * 128 // 2 + 64 * 32 // 2, "edge-2": 32 * 32 // 2 + 48 * 32 // 2}
    users = []
    for user, node in enumerate(made.sent):
        pictures, bound_mse = [], []
        for index, pixels in enumerate(made.sent[node]):
            bound = made.folder.read_png(bound_name(node, index))
            bound_mse.append(float(mean_squared_error(pixels, bound)))
            pictures.append(
                {
                    "name": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"][2 * user + index],
                    "height": pixels.shape[0],
                    "width": pixels.shape[1],
                    "psnr_db": as_psnr_db(mse[node][index]),
                    "ssim": ssim(pixels, made.received.get((node, index), grey(pixels))),
                    "single_user_psnr_db": psnr(pixels, bound),
                    "lost_share": lost[node][index],
                    "codec": codec.identity.label,
                }
            )
        links = made.links[node]
        users.append(
            {
                "user": user,
                "node": node,
                "images": 2,
                "psnr_db": as_psnr_db(np.mean(mse[node])),
                "ssim": np.mean([p["ssim"] for p in pictures]),
                "evm_percent": 100 * np.sqrt(true_error(links)),
                "sinr_db_estimated": as_sinr_db(reported_error(links)),
                "sinr_db_true": as_sinr_db(true_error(links)),
                "frames_sent": [3, 2][user],
                "frames_detected": [2, 1][user],
                "channel_uses": uses[node],
                "single_user_psnr_db": as_psnr_db(np.mean(bound_mse)),
                "single_user_sinr_db": pytest.approx(SNR_DB + 10 * np.log10(2), abs=0.01),
                "pictures": pictures,
            }
        )
    air = {
        "snr_db": SNR_DB,
        "common_cfo_hz": -500.0,
        "common_cfo_hz_estimated": -503.0,
        "user_cfo_hz": [20.0, -30.0],
        "user_delay_samples": result.metrics.air.user_delay_samples,  # drawn: test_medium.py holds them
    }
    found, expected = flat(result.metrics), flat({"users": users, "air": air, "counted": [], "warnings": []})
    for place in [place for place in found if place.endswith("single_user_sinr_db")]:
        assert found.pop(place) == expected.pop(place)
    assert found == pytest.approx(expected, rel=1e-5)
    timing = {"air_time_s": 1.5, "wall_time_s": 12.5, "stages": STAGES}
    assert flat(result.timing) == pytest.approx(flat(timing), rel=1e-9)
    assert list(result.timing.stages) == list(STAGES)  # in the order of processing, unknown ones behind
    assert (result.scenario, result.seed, result.complete, result.reason) == ("by-hand", 5, True, "")
    assert result.providers == {"server": "cpu", "edge-1": "cuda"}
    assert result.calibrations == {"edge-1": ["transmit-iq-20261125T101500Z"]}
    assert result.adjusted == {"edge-1": ["tx_gain_db: -10.1 was asked for, -10 is in force"]}
    assert flat(read_result(made.folder)) == pytest.approx(flat(result), rel=1e-12)


def test_a_server_that_left_no_summary_is_made_up_for(made, codec):
    """Pictures are decoded here from the frames that are kept, lost parts as erasures, on the codec's own scale; their
    PSNR by scikit-image from the file that is written. Times and shares that nobody told are None or computed."""
    (made.folder.path / "received" / "server.json").unlink()
    for file in made.folder.names("received", "*.png"):
        (made.folder.path / file).unlink()
    result = evaluate(made.folder.path, complete=False, reason="the server is gone", wall_time_s=3.0)
    a = made.sent["edge-1"][0]
    sent, place = interleave(codec.encode(a)), np.arange(6144) < SIZE
    symbols = np.where(place, sent * (1 + 1j * np.sqrt(0.02)), 0).astype(np.complex64)
    noise = np.where(place, 0.05, np.inf).astype(np.float32)
    expected = codec.decode(deinterleave(symbols), deinterleave(noise), 96, 128)
    found = made.folder.read_png(received_name("edge-1", 0))
    assert np.abs(found.astype(int) - expected).max() <= 1  # one step where float32 rounds another way
    first, second = result.metrics.users
    for node, user in (("edge-1", first), ("edge-2", second)):
        mse = []
        for index, (pixels, picture) in enumerate(zip(made.sent[node], user.pictures, strict=True)):
            name = received_name(node, index)
            seen = made.folder.read_png(name) if made.folder.has(name) else grey(pixels)
            assert picture.psnr_db == pytest.approx(psnr(pixels, seen), rel=1e-9)
            mse.append(mean_squared_error(pixels, seen))
        assert user.psnr_db == pytest.approx(as_psnr_db(np.mean(mse)), rel=1e-9)
    assert [p.lost_share for p in first.pictures] == pytest.approx([(6144 - SIZE) / 6144, 0.0])
    assert [p.lost_share for p in second.pictures] == [0.0, 1.0]
    assert flat(result.timing) == {"air_time_s": None, "wall_time_s": 3.0, "stages": {}}
    assert (result.complete, result.reason) == (False, "the server is gone")


def test_a_run_that_ended_before_its_first_frame_claims_nothing(made):
    """Not complete and without a frame: no metrics at all. Complete without a frame: every picture is mid-grey."""
    for file in made.folder.names("received"):
        (made.folder.path / file).unlink()
    broken = evaluate(made.folder.path, complete=False, reason="Ctrl-C", wall_time_s=None)
    assert broken.metrics == Metrics()
    done = evaluate(made.folder.path, complete=True, reason="", wall_time_s=None)
    for node, user in zip(made.sent, done.metrics.users, strict=True):
        mse = np.mean([mean_squared_error(p, grey(p)) for p in made.sent[node]])
        assert user.psnr_db == pytest.approx(as_psnr_db(mse), rel=1e-9)
        assert [p.lost_share for p in user.pictures] == [1.0, 1.0]
        assert (user.frames_detected, user.sinr_db_true, user.sinr_db_estimated) == (0, None, None)


@pytest.mark.parametrize("emulated", [False, True])
def test_over_real_radios_nothing_is_said_of_an_air(made, emulated):
    """Edges with radios: neither truth nor bound, in result.json or as files, unless an air was among the nodes."""
    scenario = load_scenario(made.folder.file("scenario.toml"))
    edges = [msgspec.structs.replace(edge, radio="pluto:ip:192.168.2.1") for edge in scenario.edges]
    made.folder.write_bytes("scenario.toml", dump(msgspec.structs.replace(scenario, edges=edges)))
    if emulated:
        made.folder.write_text("nodes/air.toml", "")
    metrics = evaluate(made.folder.path, complete=True, reason="", wall_time_s=1.0).metrics
    assert (metrics.air is not None) == emulated
    assert len(made.folder.names("bound")) == 4 * emulated
    for user in metrics.users:
        bounds = [user.single_user_psnr_db, user.single_user_sinr_db, *(p.single_user_psnr_db for p in user.pictures)]
        assert [bound is not None for bound in bounds] == [emulated] * 4
    assert metrics.users[0].psnr_db == pytest.approx(as_psnr_db((20**2 + 3**2) / 2))


@pytest.mark.parametrize("count", [1, 2, 3, 1000])
def test_percentiles_are_linear_between_the_ranks(count, rng):
    """Of 0, 1, .. n-1 s in any order the share p lies at p (n-1) s; the sum is n (n-1) / 2 s."""
    found = flat(percentiles(rng.permutation(count).astype(float).tolist()))
    top = 1000.0 * (count - 1)
    expected = stage(count, 0.5 * top, 0.95 * top, 0.99 * top, count * (count - 1) / 2)
    assert found == pytest.approx(expected, rel=1e-12)


def with_air(made: Made, expects: list[str], **values: object) -> Metrics:
    """Metrics of the run if its server had waited for ``expects``, and its air had handed in ``values``."""
    summary = made.folder.read_json("received/server.json")
    summary["expects"] = expects
    if values:
        summary["nodes"]["air"] = values
    made.folder.write_json("received/server.json", summary)
    return evaluate(made.folder.path, complete=True, reason="", wall_time_s=1.0).metrics


def truth_of(made: Made) -> dict[str, object]:
    return msgspec.to_builtins(make_medium(load_scenario(made.folder.file("scenario.toml"))).truth)


def test_an_air_that_took_part_gives_a_bound(made: Made):
    metrics = with_air(made, ["air", "edge-1", "edge-2"], truth=truth_of(made))
    assert metrics.air is not None
    assert all(user.single_user_psnr_db is not None for user in metrics.users)
    assert metrics.warnings == []


@pytest.mark.parametrize("how", ["absent", "another"])
def test_without_the_scenarios_air_there_is_no_bound_and_a_word_why(made: Made, how: str):
    if how == "absent":
        metrics = with_air(made, ["edge-1", "edge-2"])
        says = "no bound: the scenario's air took no part in this run, and what lay between the radios is not known"
    else:
        truth = truth_of(made) | {"common_cfo_hz": 1.0}
        metrics = with_air(made, ["air", "edge-1", "edge-2"], truth=truth)
        says = "no bound: air was another than the scenario's, and what lay between the radios is not known"
    assert metrics.air is None
    assert all(user.single_user_psnr_db is user.single_user_sinr_db is None for user in metrics.users)
    assert metrics.warnings == [says]


def test_a_level_that_makes_the_snr_another_is_warned_of(made: Made):
    levels = {"0": -12.1, "1": 26.85, "x": 3.0, "7": None}
    (warning,) = with_air(made, ["air"], truth=truth_of(made), levels_dbfs=levels).warnings
    assert warning.startswith("user 1 sends at 26.9 dBFS (rms 22)")
    assert f"its SNR is {SNR_DB + 38.85:.1f} dB instead of air.snr_db = {SNR_DB:g}" in warning


def test_the_bound_knows_of_a_change_that_was_ordered(made: Made):
    """User 0 is 10 dB weaker from sample 0 on: its bound's SINR falls by 10 dB, user 1's stays as it was."""
    whole = with_air(made, ["air"], truth=truth_of(made))
    change = {"at_sample": 0, "link": "edge-1.server", "gain_db": -10.0}
    after = with_air(made, ["air"], truth=truth_of(made), changes=[change])
    weaker, same = (
        b.single_user_sinr_db - a.single_user_sinr_db for a, b in zip(whole.users, after.users, strict=True)
    )
    assert weaker == pytest.approx(-10.0, abs=0.3)
    assert same == 0.0


def test_what_foreign_peers_did_is_told_with_how_often(made: Made):
    events = {"receiver server at tcp://h:1: 10.0.0.7:5 sent a message that is no request": 3, "x": 1}
    assert with_air(made, ["air"], truth=truth_of(made), events=events).warnings == [
        f"{next(iter(events))}, 3 times",
        "x",
    ]
    many = {f"event {i}": 9 - i for i in range(9)}
    warnings = with_air(made, ["air"], truth=truth_of(made), events=many).warnings
    assert warnings[0] == "event 0, 9 times"
    assert warnings[5:] == ["4 more such lines in the air's log"]


def test_symbols_are_those_that_the_edge_handed_in(made: Made, codec: PictureCodec, monkeypatch: pytest.MonkeyPatch):
    """Nothing is encoded again: with an encoder that fails here, the same metrics; turned by 180 degrees, no SINR is
    left. Symbols that are none are refused with their place."""
    encoded = {
        symbols_name(node, k): interleave(codec.encode(pixels))
        for node, pictures in made.sent.items()
        for k, pixels in enumerate(pictures)
    }
    wanted = evaluate(made.folder.path, complete=True, reason="", wall_time_s=None).metrics

    def hand_in(name: str, symbols: np.ndarray) -> None:
        stream = io.BytesIO()
        np.save(stream, symbols, allow_pickle=True)
        made.folder.write_bytes(name, stream.getvalue())

    def fails(self: PictureCodec, picture: np.ndarray) -> np.ndarray:
        raise AssertionError("encoded again")

    for name, symbols in encoded.items():
        hand_in(name, symbols)
    monkeypatch.setattr(PictureCodec, "try_out", lambda self: None)
    monkeypatch.setattr(PictureCodec, "encode", fails)
    assert evaluate(made.folder.path, complete=True, reason="", wall_time_s=None).metrics == wanted
    for name, symbols in encoded.items():
        hand_in(name, -symbols)
    turned = evaluate(made.folder.path, complete=True, reason="", wall_time_s=None).metrics
    assert turned.users[0].sinr_db_true is None and wanted.users[0].sinr_db_true is not None
    first = symbols_name("edge-1", 0)
    for wrong in (encoded[first][1:], encoded[first] * np.complex64("nan"), np.array([{"a": 1}], object)):
        hand_in(first, wrong)
        with pytest.raises(DataError, match=r"edge-1/000\.npy: (.*finite values of complex64|not an array)"):
            evaluate(made.folder.path, complete=True, reason="", wall_time_s=None)
