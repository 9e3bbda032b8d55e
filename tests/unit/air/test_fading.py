"""Gains on a grid of times against each line's own closed form."""

import numpy as np
import pytest

from testbed.air.fading import GainGrid
from testbed.channels.base import Place
from testbed.channels.registry import MODELS, find_channel


@pytest.mark.parametrize("channel", MODELS)
@pytest.mark.parametrize("chunk", [0, 3, 20_000])
def test_the_grid_equals_the_closed_form(channel, chunk):
    """Rotation from exact anchors, also 11 minutes in: to 1e-9 of unit power."""
    rngs = [np.random.default_rng(s) for s in np.random.SeedSequence(7).spawn(3)]
    some = [find_channel(channel).draw(100e-9, 50.0, Place(1, u, 2), rng) for u, rng in enumerate(rngs)]
    grid = GainGrid(some, step_s=1024 / 1.92e6)
    times = (chunk * GainGrid.CHUNK_POINTS + np.arange(GainGrid.CHUNK_POINTS)) * grid.step_s
    expected = np.stack([line.gains(times) for line in some])
    assert np.abs(grid.chunk(chunk) - expected).max() < 1e-9
