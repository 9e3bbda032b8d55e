"""Filters of a virtual Pluto: against SciPy's Butterworth filter and the taps themselves; and what stands for them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from testbed.air.iiod.analogue import equivalent_taps, response
from testbed.air.iiod.fir import Fir, parse_fir

RATE = 4e6
INNER = np.linspace(-0.4, 0.4, 81) * RATE


def fir(factor: int = 4, taps: int = 96, cutoff: float = 0.4) -> Fir:
    """One that passes up to so much of the rate; gains and the sum of taps are those of pyadi-iio's own filters."""
    h = np.round(signal.firwin(taps, 2 * cutoff / factor) * 2**16).astype(int)
    lines = [f"TX 3 GAIN 0 INT {factor}", f"RX 3 GAIN -6 DEC {factor}", *(f"{k},{k}" for k in h)]
    return parse_fir("\n".join(lines))


@pytest.mark.parametrize("side, corner", [("tx", 1.6), ("rx", 1.4)])
@pytest.mark.parametrize("bandwidth_hz", [1e6, 3e6, 18e6])
def test_rf_bandwidth_is_a_butterworth_low_pass(side: str, corner: float, bandwidth_hz: float):
    """Third order, 3 dB at 1.4 or 1.6 times half the bandwidth; magnitude as scipy.signal has it to 1e-9."""
    f = np.linspace(-10e6, 10e6, 201)
    b, a = signal.butter(3, 2 * np.pi * corner * bandwidth_hz / 2, analog=True)
    _, wanted = signal.freqs(b, a, 2 * np.pi * f)
    assert np.abs(response(side, f, RATE, bandwidth_hz)) == pytest.approx(np.abs(wanted), abs=1e-9)


def test_a_loaded_filter_responds_as_its_taps():
    """Against scipy.signal.freqz at four times the rate, with the gains that the file names. At 0 Hz the receiver's
    is 1; the transmitter's is 2 for two samples of the filter's rate, one of which is a zero, and half for four."""
    loaded = fir()
    wide = 1e12  # no analogue filter
    _, wanted = signal.freqz(np.array(loaded.rx) / 2**15, worN=INNER, fs=4 * RATE)
    assert np.abs(response("rx", INNER, RATE, wide, loaded)) == pytest.approx(np.abs(wanted) * 10**-0.3, abs=1e-6)
    for side, factor, gain in (("rx", 4, 1.0), ("rx", 2, 1.0), ("tx", 2, 1.0), ("tx", 4, 0.5)):
        assert abs(response(side, np.zeros(1), RATE, wide, fir(factor))[0]) == pytest.approx(gain, abs=0.01)


@pytest.mark.parametrize("side", ["tx", "rx"])
@pytest.mark.parametrize("bandwidth_hz", [1e6, 4e6, 18e6])
@pytest.mark.parametrize("loaded", [None, fir(), fir(2, 64, 0.5)])
def test_what_stands_for_the_filters_has_their_response(side: str, bandwidth_hz: float, loaded: Fir | None):
    """To -48 dB up to 0.4 of the rate; none stands where the band is passed within 0.04 dB."""
    taps = equivalent_taps(side, RATE, bandwidth_hz, loaded)
    wanted = response(side, INNER, RATE, bandwidth_hz, loaded)
    if taps is None:
        assert np.max(np.abs(wanted - 1)) < 5e-3
        assert (bandwidth_hz, loaded) == (18e6, None)
        return
    made = np.exp(-2j * np.pi * np.outer(INNER / RATE, np.arange(len(taps)) - len(taps) // 2)) @ taps
    assert np.max(np.abs(made - wanted)) < 10 ** (-48 / 20)
