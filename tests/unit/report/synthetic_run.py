"""Not a test: makes a run folder as `semtb run` leaves it, from photographs and noise, so that reports need no run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_sample_images

from testbed.config import EdgePart, Scenario, dump
from testbed.record.folder import FIGURE_DATA, RunFolder, bound_name, received_name, sent_name
from testbed.record.schema import AirTruth, Metrics, Picture, Result, Stage, Timing, User, write_result

NODES = ("edge-1", "edge-2")
FRAMES = 40
SAMPLE_RATE_HZ = 1.92e6


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    """Peak 255."""
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def noisy(picture: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """What a picture looks like after a codec and a channel, roughly: smoothed, with grain."""
    from scipy.ndimage import gaussian_filter

    soft = gaussian_filter(picture.astype(float), (0.6, 0.6, 0))
    return np.clip(soft + rng.normal(0, sigma, picture.shape), 0, 255).round().astype(np.uint8)


def make_run(root: Path, seed: int = 1, scale: int = 1, complete: bool = True) -> RunFolder:
    """A finished run of two users with one photograph each, every ``scale``-th pixel of it."""
    rng = np.random.default_rng(seed)
    folder = RunFolder.create(root, "two-users")
    scenario = Scenario(name="two-users", seed=seed, edges=[EdgePart(name=n, user=u) for u, n in enumerate(NODES)])
    folder.write_bytes("scenario.toml", dump(scenario))
    folder.write_text("logs/server.log", "server: 40 frames\n")
    users = [write_user(folder, u, node, scale, rng) for u, node in enumerate(NODES)]
    folder.write_npz(FIGURE_DATA, **figure_data(rng))
    air = AirTruth(snr_db=20.0, common_cfo_hz=-13_402.7, common_cfo_hz_estimated=-13_401.9)
    air.user_cfo_hz, air.user_delay_samples = [41.2, -77.9], [1.37, 6.02]
    stages = {
        name: Stage(count=n, p50_ms=p, p95_ms=1.6 * p, p99_ms=2.4 * p, total_s=1.1e-3 * p * n)
        for name, n, p in (
            ("encode", 2, 310.0),
            ("sync", 95, 2.1),
            ("estimate", 40, 1.4),
            ("detect", 40, 0.9),
            ("decode", 2, 480.0),
        )
    }
    result = Result(
        scenario="two-users",
        seed=seed,
        complete=complete,
        reason="" if complete else "edge-2 was lost after 3.2 s (process ended with status -9)",
        versions={
            "python": "3.11.2",
            "numpy": "2.4.6",
            "scipy": "1.17.1",
            "numba": "0.68.1",
            "semcom-testbed": "0.1.0",
        },
        git_commit="c7f0e74d3b1a",
        command=f"semtb run two-users --seed {seed}",
        machine="2 cores, x86_64, Linux",
        metrics=Metrics(users=users, air=air, warnings=[]),
        timing=Timing(air_time_s=0.412, wall_time_s=14.8, stages=stages),
    )
    write_result(folder, result)
    return folder


def write_user(folder: RunFolder, user: int, node: str, scale: int, rng: np.random.Generator) -> User:
    """One user's photograph in three states, and its metrics."""
    name = ("china.jpg", "flower.jpg")[user]
    sent = np.ascontiguousarray(load_sample_images().images[user][::scale, ::scale])
    received, bound = noisy(sent, 7.0, rng), noisy(sent, 4.0, rng)
    folder.write_png(sent_name(node, 0), sent)
    folder.write_png(received_name(node, 0), received)
    folder.write_png(bound_name(node, 0), bound)
    quality, limit = psnr_db(sent, received), psnr_db(sent, bound)
    picture = Picture(
        name=name, height=sent.shape[0], width=sent.shape[1], psnr_db=quality, ssim=0.913, single_user_psnr_db=limit
    )
    return User(
        user=user,
        node=node,
        images=1,
        psnr_db=quality,
        ssim=0.913,
        evm_percent=17.4,
        sinr_db_estimated=15.3,
        sinr_db_true=15.2,
        frames_sent=FRAMES,
        frames_detected=FRAMES,
        channel_uses=sent.size // 6,
        single_user_psnr_db=limit,
        single_user_sinr_db=22.6,
        pictures=[picture],
    )


def figure_data(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Arrays with the names and shapes that the run folder promises."""
    data: dict[str, np.ndarray] = {"sample_rate_hz": np.float64(SAMPLE_RATE_HZ)}
    for user in range(2):
        no = (10 ** (-rng.normal(16 - 2 * user, 3, 20_000) / 10)).astype(np.float32)
        data[f"tx_u{user}"] = complex_normal(rng, no.size)
        data[f"rx_u{user}"] = (data[f"tx_u{user}"] + np.sqrt(no) * complex_normal(rng, no.size)).astype(np.complex64)
        data[f"no_eff_u{user}"] = no
    frame_time = np.arange(FRAMES) * 14_976 / SAMPLE_RATE_HZ
    data["frame_time_s"] = frame_time
    pilots = (frame_time[:, None] + np.arange(15) * 1008 / SAMPLE_RATE_HZ).ravel()
    frequency = np.setdiff1d(np.arange(-36, 37), [0]) * 15e3
    taps = rng.normal(size=(2, 2, 6, 2)) @ [1, 1j] * np.exp(-np.arange(6) / 2)
    turn = np.exp(2j * np.pi * rng.uniform(-5, 5, (2, 2, 6)) * pilots[:, None, None, None])
    response = np.einsum("paul,fl->pfau", turn * taps, np.exp(-2j * np.pi * np.outer(frequency, np.arange(6) * 1e-7)))
    data["channel_db"] = (20 * np.log10(np.abs(response))).astype(np.float32)
    data["channel_time_s"], data["channel_freq_hz"] = pilots, frequency
    grid = np.zeros((2, 400, 128), np.complex64)
    grid[:, :, np.r_[1:37, 92:128]] = complex_normal(rng, 2, 400, 72)
    iq = np.fft.ifft(grid, norm="ortho").reshape(2, -1) * 0.25 + 0.01 * complex_normal(rng, 2, 400 * 128)
    iq[:, 14_500:15_000] = 0.01 * complex_normal(rng, 2, 500)
    data["spectrum_iq"] = iq.astype(np.complex64)
    true = 15 + 2 * np.sin(8 * frame_time[:, None] + [0, 2]) + rng.normal(0, 0.1, (FRAMES, 2))
    data["sinr_true_db"] = true
    data["sinr_est_db"] = true + rng.normal(0, 0.3, true.shape)
    return data


def complex_normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Unit variance, complex64."""
    return ((rng.normal(size=(*shape, 2)) @ [1, 1j]) / np.sqrt(2)).astype(np.complex64)
