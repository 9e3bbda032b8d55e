"""A codec's twin is as good as the codec, and neither decodes what the other encoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from testbed.codec.registry import open_codec
from testbed.config import load_scenario
from testbed.experiments.scenario_files import find_scenario
from testbed.experiments.simulate import simulate


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def test_a_twin_differs_in_its_symbols_and_not_in_its_pictures(other_codec: Path, rng):
    """Without noise: symbols of equal magnitude on every element, the same picture to one step; mixed, below 18 dB."""
    codec, twin = open_codec("deepjscc-cifar10"), open_codec(str(other_codec))
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    picture = np.asarray(small.resize((128, 96), Image.Resampling.BICUBIC))
    size = picture.shape[:2]
    mine, other = codec.encode(picture), twin.encode(picture)
    assert np.allclose(np.abs(mine), np.abs(other), atol=1e-5)
    assert np.mean(np.abs(mine - other) ** 2) > 0.5
    no = np.full(len(mine), 0.01, np.float32)
    right = codec.decode(mine, no, *size)
    assert np.abs(right.astype(int) - twin.decode(other, no, *size)).max() <= 1
    assert psnr_db(picture, right) > 25
    for wrong in (codec.decode(other, no, *size), twin.decode(mine, no, *size)):
        assert psnr_db(picture, wrong) < 18
    assert (codec.identity.name, codec.identity.number) == (twin.identity.name, twin.identity.number)
    assert codec.identity.label != twin.identity.label


def test_pictures_can_be_sent_in_several_rounds():
    """repeat = 2: the same picture twice, over other moments of the channel."""
    scenario = load_scenario(find_scenario("two-users"), ["max_pixels=4000", "repeat=2"])
    for user in simulate(scenario).metrics.users:
        first, second = user.pictures
        assert (first.name, first.height) == (second.name, second.height)
        assert first.psnr_db != pytest.approx(second.psnr_db, abs=1e-9)
