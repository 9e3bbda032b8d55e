r"""What an AD936x's filters make of a signal at its sample rate: the analogue low-pass and the loaded FIR.

Between a converter and the antenna lie half-band filters, taken for ideal, the FIR and an analogue low-pass whose
corner follows ``rf_bandwidth``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from testbed.air.iiod._kernels import convolve
from testbed.air.iiod.fir import Fir
from testbed.units import db_to_amplitude

CORNER = {"tx": 1.6, "rx": 1.4}  # of the baseband filter, over half of rf_bandwidth: UG-570, "BB LPF"
ORDER = 3  # a Butterworth filter: UG-570
TAPS = (16, 24, 32, 48, 64, 128)  # of what stands for both filters at the sample rate: the first that is good enough
ERROR = 2e-3  # that is good enough: 0.02 dB up to 0.4 times the rate
MEMORY = TAPS[-1] - 1  # samples before one that it depends on
POINTS = 2048
FLAT = 5e-3  # a filter that deviates from 1 by less anywhere in the band is left out: 0.04 dB
BETA = 5.0  # Kaiser


def response(
    side: str, frequencies_hz: np.ndarray, rate_hz: float, bandwidth_hz: float, fir: Fir | None = None
) -> np.ndarray:
    r"""Both filters together, over frequency, without their delay at 0 Hz, which belongs to the radio's own.

    .. math::
        H(f) = \frac{e^{j 2 f / f_c}}{\prod_{k=1}^{3} (j f / f_c - p_k)} \cdot
            \frac{g}{I \, 2^{15}} \sum_k h_k e^{-j 2 \pi f (k - (K - 1) / 2) / (f_s M)}

    with the poles :math:`p_k` of a Butterworth filter, :math:`f_c` = 1.4 (receiver) or 1.6 (transmitter) times half the
    bandwidth, the taps :math:`h_k` at :math:`M` times the sample rate, and :math:`I = M` for the transmitter, which
    interpolates with zeros, :math:`I = 1` for the receiver.

    Parameters
    ----------
    side : str
        ``tx`` or ``rx``.
    frequencies_hz : [F] float
        Baseband.
    rate_hz : float
        Of the samples.
    bandwidth_hz : float
        ``rf_bandwidth``.
    fir : Fir, optional
        The loaded filter where it is enabled.

    Returns
    -------
    [F] complex128

    References
    ----------
    Analog Devices, AD9361 Reference Manual UG-570, sections "Rx and Tx signal path" and "FIR filters".
    """
    f = np.asarray(frequencies_hz, dtype=np.float64)
    s = 1j * f / (CORNER[side] * bandwidth_hz / 2)
    undelayed = np.exp(2 * s)  # 2 / (2 pi f_c) is the delay of this filter at 0 Hz
    poles = np.exp(1j * np.pi * (2 * np.arange(ORDER) + ORDER + 1) / (2 * ORDER))
    h = undelayed / np.prod(s[:, None] - poles, axis=1)
    if fir is None:
        return h
    taps = np.array(fir.tx if side == "tx" else fir.rx, dtype=np.float64)
    factor = fir.interpolation if side == "tx" else fir.decimation
    gain = 10 ** ((fir.tx_gain_db if side == "tx" else fir.rx_gain_db) / 20) / 2**15
    gain /= factor if side == "tx" else 1
    k = np.arange(len(taps)) - (len(taps) - 1) / 2
    return h * gain * (np.exp(-2j * np.pi * np.outer(f / (rate_hz * factor), k)) @ taps)


@lru_cache(maxsize=32)
def equivalent_taps(side: str, rate_hz: float, bandwidth_hz: float, fir: Fir | None) -> np.ndarray | None:
    """The filters as one at the sample rate, centred on its middle tap.

    Parameters
    ----------
    side, rate_hz, bandwidth_hz, fir
        As in `response`.

    Returns
    -------
    [K] float32 or None
        None where the band is passed as it is. Tap K / 2 is the centre.
    """
    f = np.fft.rfftfreq(POINTS, 1 / rate_hz)
    h = response(side, f, rate_hz, bandwidth_hz, fir)
    if np.max(np.abs(h - 1)) < FLAT:
        return None
    impulse = np.fft.irfft(h)
    inner = f <= 0.4 * rate_hz
    for count in TAPS:
        taps = np.roll(impulse, count // 2)[:count] * np.kaiser(count + 1, BETA)[:count]
        made = np.fft.rfft(taps, POINTS) * np.exp(1j * np.pi * count * f / rate_hz)
        if np.max(np.abs(made - h)[inner]) < ERROR:
            break
    return taps.astype(np.float32)


class Filter:
    """The filters of one side of a device, over a stream that is cut into blocks.

    Parameters
    ----------
    side : str
        ``tx`` or ``rx``.
    channels : int
    """

    def __init__(self, side: str, channels: int) -> None:
        self._side = side
        self._past = np.zeros((channels, MEMORY), dtype=np.complex64)

    def pass_through(self, x: np.ndarray, rate_hz: float, bandwidth_hz: float, fir: Fir | None) -> np.ndarray:
        """The next samples, filtered.

        Parameters
        ----------
        x : [channels, n] complex64
        rate_hz, bandwidth_hz, fir
            In force, as in `response`.

        Returns
        -------
        [channels, n] complex64
        """
        taps = equivalent_taps(self._side, rate_hz, bandwidth_hz, fir)
        if taps is None:
            self._past = np.concatenate([self._past, x[:, -MEMORY:]], axis=1)[:, -MEMORY:]
            return x
        whole = np.concatenate([self._past, x], axis=1)
        self._past = whole[:, x.shape[1] :].copy()
        y = np.empty_like(x)
        for channel in range(len(x)):
            reached = whole[channel, MEMORY + 1 - len(taps) :]
            convolve(reached.view(np.float32), taps, y[channel].view(np.float32))
        return y

    def scale(self, gains_db: Sequence[float]) -> None:
        """What comes next is louder by so much in each channel, and what lies before it becomes so: gain is analogue,
        and the filter is behind it.

        Parameters
        ----------
        gains_db : [channels] float
        """
        if any(gains_db):
            self._past *= db_to_amplitude(np.array(gains_db, dtype=np.float32))[:, None]

    def forget(self) -> None:
        """What comes next follows on silence."""
        self._past[:] = 0.0
