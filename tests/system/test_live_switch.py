"""Encoder and decoder change while pictures are on the air, at an agreed frame; no frame meets the wrong decoder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from server.decoder import PictureAssembler
from server.recording import frame_from_arrays
from testbed.codec.registry import open_codec
from testbed.config import EdgeConfig, Scenario, ServerConfig, load_node
from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.simulate import simulate
from testbed.experiments.switch import switch_settings
from testbed.record.folder import RunFolder
from testbed.record.schema import User, metrics_bytes, read_result
from tests.replays import replayed
from tests.unit.codec.changed_codecs import changed

pytestmark = pytest.mark.timeout(180)
Run = Any  # of conftest.py, which pytest loads and nobody imports
SEED = 5
ALIKE_DB = 0.3  # another codec meets the same noise in another order
GARBAGE_DB = 20.0  # what the right decoder exceeds, and the wrong one does not come near


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty small pictures, twenty an edge, two frames each."""
    folder = tmp_path_factory.mktemp("album")
    rng = np.random.default_rng(21)
    for number in range(40):
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        small.resize((128, 96), Image.Resampling.BICUBIC).save(folder / f"picture-{number:02d}.png")
    return folder


def scenario(images: Path, *switches: str) -> Scenario:
    return open_scenario("two-users", switch_settings(list(switches)), SEED, str(images))


def labels(card: Path) -> tuple[str, str]:
    """Of the codec that ships, and of the other."""
    return open_codec("deepjscc-cifar10").identity.label, open_codec(str(card)).identity.label


def check_every_frame(folder: Path) -> Counter[tuple[str, str]]:
    """Each frame's hash is that of the codec that encoded and decoded its picture; counts frames by node and codec."""
    summary = json.loads((folder / "received" / "server.json").read_text())
    assert summary["codecs_refused"] == {}
    assert summary["headers_refused"] == 0
    users = load_node(folder / "nodes" / "server.toml", ServerConfig).users
    decoded = {(p["user"], p["picture"]): p["codec"] for p in summary["pictures"]}
    seen: Counter[tuple[str, str]] = Counter()
    for node, user in users.items():
        encoded = summary["nodes"][node]["codecs"]
        assert encoded == [decoded[user, picture] for picture in range(len(encoded))]
    for file in sorted((folder / "received").glob("frame-*.npz")):
        with np.load(file) as arrays:
            frame = frame_from_arrays(dict(arrays))
        for part in frame.users:
            assert part.header is not None
            node = next(n for n, user in users.items() if user == part.user)
            used = summary["nodes"][node]["codecs"][part.header.picture]
            assert used.endswith(f" {part.header.codec_hash:08x}")
            seen[node, used] += 1
    return seen


def psnr(users: list[User]) -> np.ndarray:
    return np.array([[p.psnr_db for p in user.pictures] for user in users])


def test_a_planned_switch_changes_nothing_but_the_codec(
    start_run: Callable[..., Run], photographs: Path, other_codec: Path, tmp_path: Path
):
    """Edge 1 from the first picture behind frame 7 on, edge 2 from its very first and back: four processes, twice, the
    second time recorded.

    Metrics are equal byte by byte, to those of one process without sockets and to those of the replay, too. Each
    picture is within 0.3 dB of the run without a switch. No frame's hash differs from the codec that encoded and
    decoded it.
    """
    plans = (f"edge-1:{other_codec}@7", f"edge-2:{other_codec}@0", "edge-2:deepjscc-cifar10@12")
    arguments = [part for plan in plans for part in ("--switch", plan)]
    runs = [start_run("--images", str(photographs), "--seed", str(SEED), *a, *arguments) for a in ((), ("--record",))]
    for run in runs:
        assert run.finish() == 0, run.errors
    results = [read_result(RunFolder(run.folder)) for run in runs]
    assert metrics_bytes(results[0]) == metrics_bytes(results[1])
    assert msgspec.json.encode(simulate(scenario(photographs, *plans)).metrics) == metrics_bytes(results[0])
    status, words = replayed(runs[1].folder, tmp_path / "replay")
    assert (status, "byte for byte" in words) == (0, True), words
    assert metrics_bytes(read_result(RunFolder(tmp_path / "replay"))) == metrics_bytes(results[0])
    ours, other = labels(other_codec)
    one, two = results[0].metrics.users
    assert [p.codec for p in one.pictures] == [ours, ours, other, other]
    assert [p.codec for p in two.pictures] == [other, other, other, ours]
    assert f"edge-1: {other} from frame 10 on" in runs[0].output
    for run in runs:
        assert check_every_frame(run.folder) == {
            ("edge-1", ours): 10,
            ("edge-1", other): 10,
            ("edge-2", other): 15,
            ("edge-2", ours): 5,
        }
        summary = json.loads((run.folder / "received" / "server.json").read_text())
        assert [(s["edge"], s["first_frame"], s["reason"]) for s in summary["switches"]] == [
            ("edge-1", 10, ""),
            ("edge-2", 0, ""),
            ("edge-2", 15, ""),
        ]
    without = simulate(scenario(photographs)).metrics.users
    assert np.abs(psnr(results[0].metrics.users) - psnr(without)).max() < ALIKE_DB


def test_a_switch_may_change_the_rate(start_run: Callable[..., Run], photographs: Path, tmp_path: Path):
    """Both edges go over to half the rate and back: 5, 5, 3 and 5 frames a picture, by k in each header. Metrics are
    those of one process without sockets; what comes with half the symbols is a picture still, and worse."""
    half = changed("half the rate", tmp_path)
    plans = (f"{half}@7", "deepjscc-cifar10@12")
    switches = [part for plan in plans for part in ("--switch", plan)]
    run = start_run("--images", str(photographs), "--seed", str(SEED), *switches)
    assert run.finish() == 0, run.errors
    result = read_result(RunFolder(run.folder))
    assert msgspec.json.encode(simulate(scenario(photographs, *plans)).metrics) == metrics_bytes(result)
    ours, other = labels(half)
    frames = {(node, codec): n for node in ("edge-1", "edge-2") for codec, n in ((ours, 15), (other, 3))}
    assert check_every_frame(run.folder) == frames
    for user in result.metrics.users:
        assert [p.codec for p in user.pictures] == [ours, ours, other, ours]
        assert (user.frames_sent, user.channel_uses) == (18, 3.5 * 192 * 256 // 2)
        quality = psnr([user])[0]
        assert 12.0 < quality[2] < quality[[0, 1, 3]].min() - 2.0


def test_a_frame_that_met_the_wrong_decoder_would_be_seen(
    photographs: Path, other_codec: Path, monkeypatch: pytest.MonkeyPatch
):
    """A server that decodes all with the codec it began with: what comes behind the switch is garbage."""
    planned = scenario(photographs, f"edge-1:{other_codec}@7")
    right = psnr(simulate(planned).metrics.users)
    decode = PictureAssembler.decode

    def with_the_first(self: PictureAssembler, key: tuple[int, int]) -> object:
        first = next(iter(self.codecs.values()))
        self.codecs = dict.fromkeys(self.codecs, first)
        return decode(self, key)

    monkeypatch.setattr(PictureAssembler, "decode", with_the_first)
    wrong = psnr(simulate(planned).metrics.users)
    assert np.array_equal(wrong[0, :2], right[0, :2])
    assert np.array_equal(wrong[1], right[1])
    assert right.min() > GARBAGE_DB
    assert wrong[0, 2:].max() < GARBAGE_DB


def test_a_switch_by_hand_reaches_a_run_that_has_begun(start_run: Callable[..., Run], album: Path, other_codec: Path):
    """`semtb switch` beside a run, as early as it is heard: the first picture is encoded, most are not yet.

    It tells the frame; pictures before it are of one codec, those behind of the other, frame by frame.
    """
    lasting = ("--set", "air.block_samples=64")
    near = [part for edge in ("edge-1", "edge-2") for part in ("--set", f"edges.{edge}.ahead_frames=1")]
    run = start_run("--images", str(album), "--seed", str(SEED), *lasting, *near)
    log = run.folder / "logs" / "server.log"
    run.wait_until(lambda: log.exists() and "control bus at" in log.read_text())
    config = load_node(run.folder / "nodes" / "edge-1.toml", EdgeConfig)
    command = [sys.executable, "-m", "testbed.cli.main", "switch", "--control", config.control]
    done = subprocess.run([*command, "--codec", str(other_codec)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert run.finish() == 0, run.errors
    ours, other = labels(other_codec)
    seen = check_every_frame(run.folder)
    assert set(seen) == {(node, codec) for node in ("edge-1", "edge-2") for codec in (ours, other)}
    summary = json.loads((run.folder / "received" / "server.json").read_text())
    for switch in summary["switches"]:
        assert switch["agreed"], switch
        assert f"{switch['edge']}: {other} from frame {switch['first_frame']} " in done.stdout
        used = summary["nodes"][switch["edge"]]["codecs"]
        assert used == [ours] * switch["picture"] + [other] * (20 - switch["picture"])
    result = read_result(RunFolder(run.folder))
    assert psnr(result.metrics.users).min() > GARBAGE_DB
    page = (run.folder / "report.html").read_text()
    assert ours in page
    assert other in page
