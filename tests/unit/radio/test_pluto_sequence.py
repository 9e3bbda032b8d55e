"""The counter by which lost samples are found: every loss of one sample and up is seen, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.radio.pluto_sequence import PERIOD, breaks, counter_codes


def received(channels: int, periods: int = 3) -> np.ndarray:
    """As the digital loopback gives it back: the DAC's upper 12 bits, full scale 2^11."""
    codes = np.tile(counter_codes(channels), (periods, 1)) >> 4
    return (codes[:, ::2] + 1j * codes[:, 1::2]).T.astype(np.complex64) / 2048


def test_an_unbroken_counter_has_no_break_also_where_it_begins_anew():
    for channels in (1, 2):
        x = received(channels)
        assert x.shape == (channels, 3 * PERIOD)
        assert max(np.abs(x.real).max(), np.abs(x.imag).max()) <= 1
        assert x.all()
        assert breaks(x) == 0


@pytest.mark.parametrize("lost", [1, 255, 256, 257, 9600, PERIOD - 1, PERIOD + 1])
def test_a_loss_is_one_break(lost: int, rng: np.random.Generator):
    x, where = received(2), int(rng.integers(1, PERIOD))
    assert breaks(np.delete(x, slice(where, where + lost), axis=1)) == 1


def test_zeros_in_place_of_samples_and_a_repeated_block_are_breaks():
    x = received(1)
    x[:, 1000:1100] = 0
    assert breaks(x) > 1
    x = received(1)
    assert breaks(np.concatenate([x[:, :500], x[:, 400:]], axis=1)) == 1
