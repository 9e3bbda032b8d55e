r"""The server's beacon: a burst every 10 ms by which an edge finds carrier, clock and time of the server.

A burst is `SYMBOLS` OFDM symbols with prefixes, 1.05 ms in profile ``ota``. Some of them are known beforehand, and all
of them once the number is known that the others carry, coded: so one burst tells the carrier offset to a few hertz, its
own arrival to a fraction of a sample, and which beacon of the server it is. No state from burst to burst is kept here.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np

from testbed.errors import ShapeError
from testbed.phy import ofdm, polar
from testbed.phy.burst import burst_delay, cut_burst, fit_offset, mean_channel, received_elements, symbol_times
from testbed.phy.correlator import lags_at_once, strongest, threshold, word_spectra
from testbed.phy.fine_sync import derotate
from testbed.phy.modulation import qpsk, qpsk_llr
from testbed.phy.sequences import gold_bits
from testbed.phy.waveform import Waveform

PERIOD_S = 0.01
SYMBOLS = 14
# The first two are what is searched for. The distances between the others grow, so that the offset that one pair tells
# finely another tells without doubt.
KNOWN_SYMBOLS = (0, 1, 4, 8, 13)
WORD_SYMBOLS = 2
NUMBER_BITS = 32  # 497 days of beacons
CODE_BITS = 512
SEQUENCE = 0x5BEA  # c_init of the Gold sequence of all elements, apart from those of the preamble
HYPOTHESIS_STEP = 0.5  # of the resolution of the word that is searched for
FALSE_ALARMS = 1e-6  # of a search over one period; a burst of noise has no number that passes its CRC, too


class BeaconFound(msgspec.Struct, frozen=True):
    """Where the correlator saw a burst.

    Attributes
    ----------
    start : int
        Sample at which its first prefix begins.
    cfo_hz : float
        The nearest hypothesis.
    statistic : float
        0..1, the share of the received energy that the burst explains.
    """

    start: int
    cfo_hz: float
    statistic: float


class Beacon(msgspec.Struct, frozen=True):
    """One burst, measured.

    Attributes
    ----------
    number : int
        Of the beacon, counted by the server.
    arrival : float
        Sample at which its first prefix begins, on its strongest path.
    cfo_hz : float
        Carrier offset: the server's carrier less the receiver's oscillator, in the receiver's hertz.
    snr_db : float
        Es/N0 of a resource element.
    """

    number: int
    arrival: float
    cfo_hz: float
    snr_db: float


def period_samples(waveform: Waveform) -> int:
    """Samples from one beacon to the next, of the server's clock."""
    return round(PERIOD_S * waveform.sample_rate_hz)


def burst_samples(waveform: Waveform) -> int:
    """Samples of a burst."""
    return SYMBOLS * waveform.symbol_samples


def beacon_burst(waveform: Waveform, number: int) -> np.ndarray:
    """One burst.

    Parameters
    ----------
    waveform : Waveform
    number : int
        0 to 2^32 - 1.

    Returns
    -------
    [burst_samples] complex64
        At ``rms_dbfs``, limited to full scale.
    """
    samples, _ = ofdm.limit(ofdm.modulate(_grid(waveform, number), waveform) * np.float32(ofdm.tx_amplitude(waveform)))
    return samples


def beacon_period(waveform: Waveform, number: int) -> np.ndarray:
    """A burst and the silence behind it.

    Parameters
    ----------
    waveform : Waveform
    number : int
        0 to 2^32 - 1.

    Returns
    -------
    [period_samples] complex64
    """
    out = np.zeros(period_samples(waveform), np.complex64)
    out[: burst_samples(waveform)] = beacon_burst(waveform, number)
    return out


def find_beacon(
    samples: np.ndarray, waveform: Waveform, max_cfo_hz: float, centre_cfo_hz: float = 0.0
) -> BeaconFound | None:
    """The strongest burst in an array, if it is one.

    Parameters
    ----------
    samples : [A, n] complex64
        A period and a burst of them hold at least one whole burst.
    waveform : Waveform
    max_cfo_hz : float
        Largest offset in Hz either way of ``centre_cfo_hz``.
    centre_cfo_hz : float

    Returns
    -------
    BeaconFound or None
        None with a probability of 1 - ``FALSE_ALARMS`` where there is noise only.

    Raises
    ------
    ShapeError
        If ``samples`` is not [antenna, at least one burst].
    """
    samples = np.asarray(samples, np.complex64)
    if samples.ndim != 2 or samples.shape[1] < burst_samples(waveform):
        raise ShapeError(f"samples {samples.shape}: must be [antenna, at least {burst_samples(waveform)}]")
    if centre_cfo_hz:
        samples = derotate(samples, centre_cfo_hz, waveform)
    spectra = _spectra(waveform, max_cfo_hz)
    word = WORD_SYMBOLS * waveform.symbol_samples
    usable = samples[:, : samples.shape[1] - burst_samples(waveform) + word]  # only bursts that are there to the end
    start, which, statistic = strongest(usable, spectra)
    trials = max(usable.shape[1], lags_at_once(spectra)) * len(spectra)
    if statistic <= threshold(word, len(samples), FALSE_ALARMS / trials):
        return None
    return BeaconFound(start, centre_cfo_hz + float(cfo_hypotheses(waveform, max_cfo_hz)[which]), statistic)


def cfo_hypotheses(waveform: Waveform, max_cfo_hz: float) -> np.ndarray:
    """Offsets that are tried, half the word's resolution apart.

    Parameters
    ----------
    waveform : Waveform
    max_cfo_hz : float
        Largest offset either way.

    Returns
    -------
    [hypotheses] float64
        In Hz, ascending, symmetric about 0.
    """
    spacing = HYPOTHESIS_STEP * waveform.sample_rate_hz / (WORD_SYMBOLS * waveform.symbol_samples)
    side = max(0, int(np.ceil(max_cfo_hz / spacing - 0.5)))
    return spacing * np.arange(-side, side + 1)


def measure_beacon(
    samples: np.ndarray, waveform: Waveform, start: int, cfo_hz: float, number: int | None = None
) -> Beacon | None:
    r"""Number, arrival and carrier offset of a burst that was found, or is expected.

    Model: :math:`Y_{a,s}[k] = X_s[k] H_a[k] e^{j 2\pi f t_s} + N_{a,s}[k]`, every :math:`H_a[k]` unknown. With
    :math:`Z = Y X^*` the offset maximises :math:`\sum_{a,k} |\sum_s Z_{a,s}[k] e^{-j 2\pi f t_s}|^2`, first over the
    known symbols, then, once the number is decoded, over all.

    Parameters
    ----------
    samples : [A, n] complex64
        From ``start - cp_samples`` to a burst and ``cp_samples`` behind ``start``, at least.
    waveform : Waveform
    start : int
        Sample of ``samples`` where the burst begins, to within half a prefix.
    cfo_hz : float
        Offset to within half the symbol rate.
    number : int, optional
        If it is known already; the burst must then be that of this number.

    Returns
    -------
    Beacon or None
        None where the burst carries no number, or another than the one given.

    Raises
    ------
    ShapeError
        If ``samples`` does not hold the burst and a prefix on each side.
    """
    burst = cut_burst(samples, waveform, start, SYMBOLS)
    times, known = symbol_times(SYMBOLS, waveform), np.array(KNOWN_SYMBOLS)
    range_hz = 0.5 * waveform.sample_rate_hz / waveform.symbol_samples
    if number is None:
        for reach_hz in (range_hz, range_hz / 4):  # again, since an offset of kilohertz leaks between subcarriers
            grid = received_elements(burst, waveform, cfo_hz)
            cfo_hz += fit_offset(grid[:, known] * _grid(waveform, 0)[known].conj(), times[known], reach_hz)
        number = _decode(received_elements(burst, waveform, cfo_hz), waveform)
        if number is None:
            return None
    z = received_elements(burst, waveform, cfo_hz) * _grid(waveform, number).conj()
    turned_hz = fit_offset(z, times, range_hz / 4)
    z = z * np.exp(-2j * np.pi * turned_hz * times)[:, None]
    channel, no = mean_channel(z)
    power = float(np.mean(np.abs(channel) ** 2)) - no / SYMBOLS
    data = np.setdiff1d(np.arange(SYMBOLS), known)
    alike = float(np.vdot(z[:, known].mean(axis=1), z[:, data].mean(axis=1)).real) / channel.size
    # Noise alone leaves less than that of a burst that is not there; one of another number is not alike in its data.
    if not (power > 2 * no / SYMBOLS and alike > power / 2):
        return None
    snr_db = 10 * float(np.log10(power / max(no, 1e-12 * power)))
    return Beacon(number, start + burst_delay(channel, waveform), cfo_hz + turned_hz, snr_db)


def cfo_deviation_hz(snr_db: float, antennas: int, waveform: Waveform) -> float:
    r"""Cramér-Rao bound of `measure_beacon`'s offset: :math:`1/2\pi\sqrt{2\gamma A F \sum_s (t_s - \bar t)^2}`.

    Parameters
    ----------
    snr_db : float
        Es/N0 of a resource element.
    antennas : int
    waveform : Waveform

    Returns
    -------
    float
        Standard deviation in Hz.

    References
    ----------
    S. M. Kay, *Fundamentals of Statistical Signal Processing: Estimation Theory*, ch. 3, example 3.14.
    """
    spread = float(np.sum(symbol_times(SYMBOLS, waveform) ** 2))
    energy = 2 * 10 ** (snr_db / 10) * antennas * waveform.occupied_subcarriers
    return 1 / (2 * np.pi * np.sqrt(energy * spread))


def _decode(grid: np.ndarray, waveform: Waveform) -> int | None:
    """The number that [A, SYMBOLS, occupied] carries, or None."""
    known = np.array(KNOWN_SYMBOLS)
    z = grid[:, known] * _grid(waveform, 0)[known].conj()
    channel, no = mean_channel(z)
    data = np.setdiff1d(np.arange(SYMBOLS), known)
    energy = np.sum(np.abs(channel) ** 2, axis=0) + 1e-30
    x_hat = np.einsum("af,asf->sf", channel.conj(), grid[:, data]) / energy
    no_eff = np.broadcast_to(no * (1 + 1 / len(known)) / energy, x_hat.shape)
    llr = qpsk_llr(x_hat.astype(np.complex64).ravel(), no_eff.astype(np.float32).ravel())
    signs = 1.0 - 2.0 * _scrambler(waveform)
    code = np.zeros(CODE_BITS)
    np.add.at(code, np.arange(len(llr)) % CODE_BITS, llr * signs)
    bits = polar.decode(code.astype(np.float32), NUMBER_BITS)
    return None if bits is None else int.from_bytes(np.packbits(bits).tobytes(), "big")


@lru_cache(maxsize=8)
def _elements(waveform: Waveform) -> np.ndarray:
    """[SYMBOLS, occupied] complex64, read-only: QPSK of unit power of a Gold sequence, for the known symbols."""
    count = SYMBOLS * waveform.occupied_subcarriers
    grid = qpsk(gold_bits(SEQUENCE, 2 * count)).reshape(SYMBOLS, -1)
    grid.flags.writeable = False
    return grid


@lru_cache(maxsize=8)
def _scrambler(waveform: Waveform) -> np.ndarray:
    """[bits] uint8: what the coded number is scrambled by, so that no number makes a symbol of high peaks."""
    carried = (SYMBOLS - len(KNOWN_SYMBOLS)) * waveform.occupied_subcarriers
    return gold_bits(SEQUENCE + 1, 2 * carried)


@lru_cache(maxsize=8)
def _grid(waveform: Waveform, number: int) -> np.ndarray:
    """[SYMBOLS, occupied] complex64 of a beacon; the known symbols are alike for all numbers."""
    bits = np.unpackbits(np.frombuffer(number.to_bytes(NUMBER_BITS // 8, "big"), np.uint8))
    word = polar.encode(bits, CODE_BITS)
    grid = _elements(waveform).copy()
    scrambler = _scrambler(waveform)
    data = np.setdiff1d(np.arange(SYMBOLS), KNOWN_SYMBOLS)
    grid[data] = qpsk(np.resize(word, len(scrambler)) ^ scrambler).reshape(len(data), -1)
    grid.flags.writeable = False
    return grid


@lru_cache(maxsize=8)
def _spectra(waveform: Waveform, max_cfo_hz: float) -> np.ndarray:
    """[hypothesis, transform] complex64 of the two symbols that are searched for."""
    word = ofdm.modulate(_elements(waveform)[:WORD_SYMBOLS], waveform)
    return word_spectra(word, cfo_hypotheses(waveform, max_cfo_hz) / waveform.sample_rate_hz)
