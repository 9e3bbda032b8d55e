"""The file of an edge's frames holds what the run carries of that edge, sample for sample."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.io import imsave

from testbed.codec.registry import open_codec
from testbed.config import load_scenario
from testbed.errors import ScenarioError
from testbed.experiments.frames import write_frames
from testbed.experiments.scenario_files import find_scenario
from testbed.experiments.simulate import make_medium, make_receiver


def test_a_receiver_finds_every_frame_of_the_file(tmp_path, rng):
    """Another edge has a larger picture and a tail is wanted: the file is as long as the run. At 40 dB every header
    is read, and the level is what the waveform is laid out for."""
    for name, side in (("one", 128), ("two", 192)):
        (tmp_path / name).mkdir()
        imsave(tmp_path / name / "a.png", rng.integers(0, 255, (side, side, 3)).astype(np.uint8), check_contrast=False)
    settings = [f"edges.{i}.images={tmp_path / name}" for i, name in enumerate(("one", "two"))]
    settings += ["air.snr_db=40", "air.channel=AWGN", "server.tail_s=0.01"]
    scenario = load_scenario(find_scenario("two-users"), settings)
    written = write_frames(scenario, "edge-1", tmp_path / "edge-1.cf32")
    samples = np.fromfile(tmp_path / "edge-1.cf32", np.complex64)
    assert len(samples) == written.samples
    waveform, codec = scenario.waveform, open_codec("deepjscc-cifar10")
    longest = waveform.frames_for(codec.symbol_count(192, 192))
    assert written.frames == waveform.frames_for(codec.symbol_count(128, 128)) < longest
    assert len(samples) == 2400 + longest * waveform.frame_period_samples + 2 * waveform.frame_samples + 19_200
    assert written.level_dbfs == pytest.approx(-12.0, abs=0.3)
    assert written.peak <= 1.0
    receiver = make_receiver(scenario)
    frames = receiver.push(make_medium(scenario).mix({0: samples}, 0)) + receiver.flush()
    heard = [part.header.frame for frame in frames for part in frame.users if part.header and part.user == 0]
    assert heard == list(range(written.frames))


def test_an_edge_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ScenarioError, match="two-users has no such edge; its edges: edge-1, edge-2"):
        write_frames(load_scenario(find_scenario("two-users")), "edge-7", tmp_path / "x")
    assert not (tmp_path / "x").exists()
