"""Access bursts: by them an edge whose time of arrival is unknown is told from all others, whatever those send.

A burst is `SYMBOLS` OFDM symbols, all known, of a sequence of its own for each user and variant. The variant changes
with each order of the server, so that a burst tells which order it obeys. Carrier and clock are corrected beforehand:
one hypothesis of the offset is enough.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np

from testbed.errors import ShapeError
from testbed.phy import ofdm
from testbed.phy.burst import burst_delay, cut_burst, fit_offset, mean_channel, received_elements, symbol_times
from testbed.phy.correlator import lags_at_once, strongest, threshold, word_spectra
from testbed.phy.modulation import qpsk
from testbed.phy.sequences import gold_bits
from testbed.phy.waveform import Waveform

SYMBOLS = 8  # 1152 samples: 30 dB over a user who is as strong, 15 dB over one who is 15 dB stronger
VARIANTS = 4
MAX_CFO_HZ = 400.0  # at which the correlation has lost 1 dB
SEQUENCE = 0xACCE55  # c_init of the Gold sequence of user 0, variant 0
FALSE_ALARMS = 1e-3  # of a search; two in a row agree with a ten-thousandth of its square


class AccessFound(msgspec.Struct, frozen=True):
    """A burst as it was measured.

    Attributes
    ----------
    arrival : float
        Sample at which its first prefix begins, on its strongest path.
    cfo_hz : float
        Carrier offset.
    statistic : float
        0..1, the share of the received energy that the burst explains.
    """

    arrival: float
    cfo_hz: float
    statistic: float


def burst_samples(waveform: Waveform) -> int:
    """Samples of a burst."""
    return SYMBOLS * waveform.symbol_samples


def access_burst(waveform: Waveform, user: int, variant: int) -> np.ndarray:
    """A user's burst.

    Parameters
    ----------
    waveform : Waveform
    user : int
    variant : int
        Counted modulo ``VARIANTS``.

    Returns
    -------
    [burst_samples] complex64
        At ``rms_dbfs``, limited to full scale.
    """
    grid = _elements(waveform, user, variant % VARIANTS)
    samples, _ = ofdm.limit(ofdm.modulate(grid, waveform) * np.float32(ofdm.tx_amplitude(waveform)))
    return samples


def find_access(samples: np.ndarray, waveform: Waveform, user: int, variant: int) -> AccessFound | None:
    """The strongest burst of a user and variant in an array, if there is one, measured.

    Parameters
    ----------
    samples : [A, n] complex64
        Bursts are found that lie in it with a prefix on each side.
    waveform : Waveform
    user, variant : int

    Returns
    -------
    AccessFound or None
        None with a probability of at least 1 - ``FALSE_ALARMS`` where there are noise and other users only.

    Raises
    ------
    ShapeError
        If ``samples`` is not [antenna, at least one burst and two prefixes].
    """
    samples = np.asarray(samples, np.complex64)
    cp, length = waveform.cp_samples, burst_samples(waveform)
    if samples.ndim != 2 or samples.shape[1] < length + 2 * cp:
        raise ShapeError(f"samples {samples.shape}: must be [antenna, at least {length + 2 * cp}]")
    spectra = _spectra(waveform, user, variant % VARIANTS)
    lag, _, statistic = strongest(samples[:, cp:-cp], spectra)
    trials = max(samples.shape[1], lags_at_once(spectra))
    # The others' signals fill the occupied band only: that many samples of them are independent. And antennas that hear
    # one strong user alike count as one.
    independent = round(length * waveform.occupied_subcarriers / waveform.fft_size)
    if statistic <= threshold(independent, 1, FALSE_ALARMS / trials):
        return None
    start = cp + lag
    z = received_elements(cut_burst(samples, waveform, start, SYMBOLS), waveform, 0.0)
    z = z * _elements(waveform, user, variant % VARIANTS).conj()
    times = symbol_times(SYMBOLS, waveform)
    cfo_hz = fit_offset(z, times, MAX_CFO_HZ)
    channel, _ = mean_channel(z * np.exp(-2j * np.pi * cfo_hz * times)[:, None])
    return AccessFound(start + burst_delay(channel, waveform), cfo_hz, statistic)


@lru_cache(maxsize=64)
def _elements(waveform: Waveform, user: int, variant: int) -> np.ndarray:
    """[SYMBOLS, occupied] complex64, read-only."""
    bits = gold_bits(SEQUENCE + VARIANTS * user + variant, 2 * SYMBOLS * waveform.occupied_subcarriers)
    grid = qpsk(bits).reshape(SYMBOLS, -1)
    grid.flags.writeable = False
    return grid


@lru_cache(maxsize=64)
def _spectra(waveform: Waveform, user: int, variant: int) -> np.ndarray:
    """[1, transform] complex64."""
    return word_spectra(ofdm.modulate(_elements(waveform, user, variant), waveform), np.zeros(1))
