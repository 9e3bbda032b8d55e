"""The single-user bound and the figures of merit, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.air.medium import Medium
from testbed.codec.base import CodecIdentity
from testbed.config import Air
from testbed.data.pictures import Picture
from testbed.lab.measure import encode_sent, psnr_db, shrink, single_user_bound, sinr_db
from testbed.phy.interleave import interleave
from testbed.phy.waveform import Waveform

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
