"""`semtb run two-users`, whole: four processes, two photographs, one folder that holds all there is to know."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from testbed.experiments.resolve import resolve, write_configs
from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.simulate import simulate
from testbed.record.events import Bound
from testbed.record.folder import RunFolder
from testbed.record.schema import metrics_bytes, read_result
from tests.waiting import await_event

pytestmark = pytest.mark.timeout(240)
Run = Any  # of conftest.py, which pytest loads and nobody imports
SEED = "5"
BUSY = "while True: pass"


def without_time(log: Path) -> list[dict[str, object]]:
    """Events of frames and pictures, in order, without the keys that end in _s."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lines = [line for line in lines if line["event"] in ("frame", "picture")]
    return [{key: value for key, value in line.items() if not key.endswith("_s")} for line in lines]


def frames(folder: Path) -> dict[str, bytes]:
    """Everything that was received, byte by byte, but the summary of times."""
    return {p.name: p.read_bytes() for p in sorted((folder / "received").iterdir()) if p.name != "server.json"}


def test_one_seed_gives_one_result_whatever_the_machine_does(start_run: Callable[..., Run], photographs: Path):
    """Twice with one seed, the second time beside two busy processes, and once in one process without any socket.

    ``metrics`` is equal byte by byte in all three; so are, between the two runs, all received frames and pictures, of
    which only the first was recorded. Another seed gives other metrics.
    """
    first = start_run("--images", str(photographs), "--seed", SEED, "--set", "max_pixels=12000", "--record")
    assert first.finish() == 0, first.errors
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2)]
    try:
        second = start_run("--images", str(photographs), "--seed", SEED, "--set", "max_pixels=12000")
        assert second.finish() == 0, second.errors
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert frames(first.folder) == frames(second.folder)
    assert without_time(first.folder / "events.jsonl") == without_time(second.folder / "events.jsonl")
    results = [read_result(RunFolder(run.folder)) for run in (first, second)]
    assert metrics_bytes(results[0]) == metrics_bytes(results[1])
    scenario = open_scenario("two-users", ["max_pixels=12000"], int(SEED), str(photographs))
    assert msgspec.json.encode(simulate(scenario).metrics) == metrics_bytes(results[0])
    other = msgspec.structs.replace(scenario, seed=int(SEED) + 1)
    assert msgspec.json.encode(simulate(other).metrics) != metrics_bytes(results[0])


def test_the_shipped_scenario_tells_all_there_is_to_know(start_run: Callable[..., Run]):
    """Defaults, as a newcomer types it: every file that the issue names, every frame found, no network in the page."""
    run = start_run()
    assert run.finish() == 0, run.errors
    assert run.errors.strip() == ""
    folder = run.folder
    assert f"report: {folder}/report.html" in run.output
    result = json.loads((folder / "result.json").read_text())
    assert result["complete"] is True
    assert result["seed"] == open_scenario("two-users", [], None, None).seed
    assert set(result["versions"]) >= {"python", "numpy", "onnxruntime", "semcom-testbed"}
    assert result["timing"]["air_time_s"] > 0
    assert set(result["timing"]["stages"]) >= {"encode", "sync", "estimate", "detect", "decode"}
    users = result["metrics"]["users"]
    assert [user["node"] for user in users] == ["edge-1", "edge-2"]
    for user in users:
        assert user["frames_sent"] == user["frames_detected"] > 0
        assert user["images"] == 1
        assert user["channel_uses"] == pytest.approx(427 * 640 * 3 / 6, rel=0.01)
        assert 20 < user["psnr_db"] <= user["single_user_psnr_db"] + 0.5
    for name in ("scenario.toml", "events.jsonl", "nodes/air.toml", "logs/server.log"):
        assert (folder / name).is_file()
    for node in ("edge-1", "edge-2"):
        assert (folder / "received" / f"{node}-000.png").is_file()
        assert (folder / "sent" / node / "000.png").is_file()
    assert len(list((folder / "figures").iterdir())) >= 5
    page = (folder / "report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert not list(folder.rglob("*.tmp"))


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image)


def test_quality_is_what_the_pictures_themselves_show(
    start_run: Callable[..., Run], photographs: Path, tmp_path: Path, rng: np.random.Generator
):
    """PSNR and SSIM of every picture and of the bound by scikit-image from the PNG files of the folder, and each user's
    PSNR of the mean MSE: equal to result.json to 1e-9. What counts as sent is the photograph itself, pixel by pixel,
    and edge 1's pictures are so different that the mean of the PSNRs is 3 dB off."""
    folder = tmp_path / "small"
    folder.mkdir()
    for source in sorted(photographs.iterdir())[:4]:
        Image.fromarray(pixels(source)[:96, :128]).save(folder / source.name)
    # Edge 1's two: nothing is easier to send, nothing harder.
    Image.fromarray(np.full((96, 128, 3), 90, np.uint8)).save(folder / "picture-0.png")
    Image.fromarray(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)).save(folder / "picture-2.png")
    sources = sorted(folder.iterdir())
    run = start_run("--images", str(folder), "--set", "air.snr_db=10.0", "--seed", "2")
    assert run.finish() == 0, run.errors
    users = json.loads((run.folder / "result.json").read_text())["metrics"]["users"]
    for number, (node, user) in enumerate(zip(("edge-1", "edge-2"), users, strict=True)):
        mine = sources[number::2]
        assert [p["name"] for p in user["pictures"]] == [s.stem for s in mine]
        errors, bound_errors, similarities = [], [], []
        for index, (source, picture) in enumerate(zip(mine, user["pictures"], strict=True)):
            sent = pixels(run.folder / "sent" / node / f"{index:03d}.png")
            received = pixels(run.folder / "received" / f"{node}-{index:03d}.png")
            bound = pixels(run.folder / "bound" / f"{node}-{index:03d}.png")
            assert np.array_equal(sent, pixels(source))
            psnr, best = (peak_signal_noise_ratio(sent, seen, data_range=255) for seen in (received, bound))
            assert picture["psnr_db"] == pytest.approx(psnr, rel=1e-9)
            assert picture["single_user_psnr_db"] == pytest.approx(best, rel=1e-9)
            similarities.append(structural_similarity(sent, received, channel_axis=-1, data_range=255))
            assert picture["ssim"] == pytest.approx(similarities[-1], rel=1e-9)
            errors.append(mean_squared_error(sent, received))
            bound_errors.append(mean_squared_error(sent, bound))
        assert user["psnr_db"] == pytest.approx(10 * np.log10(255**2 / np.mean(errors)), rel=1e-9)
        assert user["single_user_psnr_db"] == pytest.approx(10 * np.log10(255**2 / np.mean(bound_errors)), rel=1e-9)
        assert user["ssim"] == pytest.approx(np.mean(similarities), rel=1e-9)
    assert np.mean([p["psnr_db"] for p in users[0]["pictures"]]) > users[0]["psnr_db"] + 3


def test_nodes_started_by_hand_do_what_semtb_run_does(photographs: Path, tmp_path: Path):
    """`semtb resolve`, then its four commands in any order the server first, then `semtb report`: a complete run."""
    scenario = open_scenario("two-users", ["max_pixels=4000"], int(SEED), str(photographs))
    nodes = resolve(scenario)
    files = write_configs(tmp_path, scenario, nodes)
    semtb = [sys.executable, "-m", "testbed.cli.main"]
    processes = {}
    for node in nodes:
        more = ["--out", str(tmp_path)] if node.kind == "server" else []
        processes[node.name] = subprocess.Popen(
            [*semtb, node.kind, str(files[node.name]), *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if node.kind == "server":
            await_event(tmp_path, Bound, processes[node.name])
    try:
        printed = {name: process.communicate(timeout=120) for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.kill()
    assert {name: process.returncode for name, process in processes.items()} == dict.fromkeys(processes, 0), printed
    done = subprocess.run([*semtb, "report", str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["complete"] is True
    assert all(user["frames_detected"] == user["frames_sent"] for user in result["metrics"]["users"])
