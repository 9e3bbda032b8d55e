"""From DAC codes to what enters the medium, and from what leaves it to ADC codes: levels, offsets and rounding."""

from __future__ import annotations

import numpy as np

from testbed.air.iiod._kernels import adc
from testbed.air.iiod.device import RX, TX, VirtualPluto
from testbed.air.impairments import phasor
from testbed.air.power import UNITY_RX_GAIN_DB, UNITY_TX_GAIN_DB

TX_FULL_SCALE = 1 << 14  # what clients take for full scale; the DAC itself goes to 2^15
RX_FULL_SCALE = 1 << 11
AGC_TARGET_DBFS = -12.0
UNUSED_DAC_BITS = 4


def transmitted(
    pluto: VirtualPluto, channel: int, codes: np.ndarray | None, receiver: VirtualPluto, first: int, count: int
) -> np.ndarray:
    r"""What one transmit channel puts on the air: :math:`x = g \, c / 2^{14} \, e^{j 2\pi (f_{TX} - f_{RX}) n / f_s}`.

    The offset of the two oscillators turns the samples. Beyond half the rate nothing is received, nor between Plutos of
    different rates. A real receiver would still hear the edge of a signal whose centre lies just outside its band, and
    filter what here folds over when it lies just inside.

    Parameters
    ----------
    pluto : VirtualPluto
        The transmitter; its gain is :math:`g`, of amplitudes, 1 at -10 dB.
    channel : int
    codes : [count, columns] int16 or None
        What its DAC is given, I and Q of each channel; None: nothing.
    receiver : VirtualPluto
        Whose oscillator and rate it is heard with.
    first : int
        Absolute index of the first sample.
    count : int

    Returns
    -------
    [count] complex64

    References
    ----------
    Analog Devices, AD9361 Reference Manual UG-570 (levels, gain tables, quadrature data of 12 bits).
    """
    rate_hz = receiver.rate_hz(RX)
    offset_hz = pluto.phy.true_lo_hz(pluto.phy.tx_lo) - receiver.phy.true_lo_hz(receiver.phy.rx_lo)
    if codes is None or not pluto.phy.transmits or pluto.rate_hz(TX) != rate_hz or abs(offset_hz) >= rate_hz / 2:
        return np.zeros(count, dtype=np.complex64)
    kept = codes[:, 2 * channel : 2 * channel + 2] >> UNUSED_DAC_BITS << UNUSED_DAC_BITS
    gain = 10 ** ((float(pluto.phy.tx_gains_db[channel]) - UNITY_TX_GAIN_DB) / 20) / TX_FULL_SCALE
    x = np.ascontiguousarray(kept, dtype=np.float32).view(np.complex64)[:, 0] * np.float32(gain)
    if offset_hz:
        x *= phasor(offset_hz, rate_hz, first, count)
    return x


def received(pluto: VirtualPluto, y: np.ndarray) -> np.ndarray:
    """ADC codes, at each antenna's gain, rounded and held to 12 bits; keeps RSSI and runs the AGC.

    Parameters
    ----------
    pluto : VirtualPluto
        The receiver.
    y : [A, n] complex64
        What its antennas meet.

    Returns
    -------
    [n, columns] int16
        I and Q of each channel.
    """
    out = np.zeros((y.shape[1], 2 * pluto.channels), dtype=np.int16)
    if not pluto.phy.receives:
        return out
    for antenna, wave in enumerate(y[: pluto.channels]):
        power = float(np.mean(wave.real**2 + wave.imag**2)) + 1e-20
        pluto.phy.rssi_db[antenna] = UNITY_RX_GAIN_DB - 10 * np.log10(power)
        if pluto.phy.modes[antenna] != "manual":
            control_gain(pluto, antenna, power)
        gain = 10 ** ((pluto.phy.rx_gain_db(antenna) - UNITY_RX_GAIN_DB) / 20) * RX_FULL_SCALE
        adc(wave, np.float32(gain), np.float32(RX_FULL_SCALE), antenna, out)
    return out


def control_gain(pluto: VirtualPluto, antenna: int, power: float) -> None:
    """The gain that brings this stretch of samples to the target: AGC acts at once, and once a stretch.

    Parameters
    ----------
    pluto : VirtualPluto
        Its gain is set, in whole dB.
    antenna : int
    power : float
        Mean of :math:`|y|^2` over the stretch, full scale 1.0 at 40 dB of gain.
    """
    low, high = pluto.phy.rx_range_db()
    wanted = UNITY_RX_GAIN_DB + AGC_TARGET_DBFS - 10 * np.log10(power)
    pluto.phy.rx_gains_db[antenna] = int(np.clip(np.floor(wanted), low, high))
