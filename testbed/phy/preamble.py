"""The preamble: one known symbol, sent twice behind a long prefix, alike for all users."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from testbed.phy.modulation import qpsk
from testbed.phy.ofdm import modulate
from testbed.phy.sequences import gold_bits
from testbed.phy.waveform import PREAMBLE_PERIODS, Waveform

# c_init of the Gold sequence, by number of occupied subcarriers. A Zadoff-Chu sequence would trade a frequency offset
# for a delay; these were searched (tests/unit/phy/test_preamble.py) for low sidelobes over delay and offset together.
PREAMBLE_SEQUENCES = {72: 5868, 144: 9519}
DEFAULT_SEQUENCE = 1


@lru_cache(maxsize=8)
def preamble_grid(waveform: Waveform) -> np.ndarray:
    """[occupied] complex64, read-only: QPSK of unit modulus, from a Gold sequence of low ambiguity and peak power."""
    c_init = PREAMBLE_SEQUENCES.get(waveform.occupied_subcarriers, DEFAULT_SEQUENCE)
    grid = qpsk(gold_bits(c_init, 2 * waveform.occupied_subcarriers))
    grid.flags.writeable = False
    return grid


@lru_cache(maxsize=8)
def preamble(waveform: Waveform) -> np.ndarray:
    """[preamble_samples] complex64, read-only: a prefix of 2 cp_samples, then two equal periods of fft_size.

    Not scaled: mean sample power is occupied / fft_size, as of a body symbol out of `testbed.phy.ofdm.modulate`.
    """
    period = modulate(preamble_grid(waveform)[None, :], waveform)[waveform.cp_samples :]
    prefix = PREAMBLE_PERIODS * waveform.cp_samples
    samples = np.concatenate([period[-prefix:], *[period] * PREAMBLE_PERIODS])
    samples.flags.writeable = False
    return samples
