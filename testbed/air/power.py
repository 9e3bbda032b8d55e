"""Absolute levels of the emulated air: what full scale, a gain of 0 dB and a path of gain 1 are in dBm."""

from __future__ import annotations

import numpy as np

from testbed.units import db_to_amplitude, db_to_power

TX_FULL_SCALE_DBM = 7.0  # a Pluto's full-scale tone at 0 dB of gain, at its transmit connector, at 2.4 GHz
RX_FULL_SCALE_DBM = 7.0  # at its receive connector, what fills the converter at 0 dB of gain
# At these gains a path of gain 1 brings full scale to full scale: 30 dB of loss, as of an attenuator in a cable.
UNITY_TX_GAIN_DB = -10.0
UNITY_RX_GAIN_DB = 40.0
UNITY_PATH_LOSS_DB = TX_FULL_SCALE_DBM + UNITY_TX_GAIN_DB - (RX_FULL_SCALE_DBM - UNITY_RX_GAIN_DB)
BOLTZMANN_J_PER_K = 1.380649e-23  # exact, SI 2019
STANDARD_K = 290.0  # at which noise figures are defined, IEEE Std 161


def path_amplitude(path_loss_db: float) -> float:
    r"""Gain of a path in :math:`\sqrt{\mathrm{mW}}` per :math:`\sqrt{\mathrm{mW}}`.

    Parameters
    ----------
    path_loss_db : float

    Returns
    -------
    float
    """
    return float(db_to_amplitude(-path_loss_db))


def gain_of_loss(path_loss_db: float) -> float:
    """A link's ``gain_db`` that means an absolute path loss.

    Parameters
    ----------
    path_loss_db : float

    Returns
    -------
    float
        In dB.
    """
    return UNITY_PATH_LOSS_DB - path_loss_db


def thermal_noise_mw(noise_figure_db: float, bandwidth_hz: float) -> float:
    """:math:`k T B F` at the antenna.

    Parameters
    ----------
    noise_figure_db : float
    bandwidth_hz : float
        The sample rate, for complex samples.

    Returns
    -------
    float
        In mW: -174 dBm in 1 Hz for a figure of 0 dB.
    """
    return float(1e3 * BOLTZMANN_J_PER_K * STANDARD_K * bandwidth_hz * db_to_power(noise_figure_db))


def unity_noise_mw(variance: float) -> float:
    """Noise of the air's own scale (``Truth.noise_variance``, full scale 1.0 at unity gains) at a receive antenna.

    Parameters
    ----------
    variance : float

    Returns
    -------
    float
        In mW.
    """
    return float(variance * db_to_power(RX_FULL_SCALE_DBM - UNITY_RX_GAIN_DB))


def power_dbm(samples: np.ndarray) -> float:
    r"""Mean power of samples at an antenna.

    Parameters
    ----------
    samples : [n] complex64
        In :math:`\sqrt{\mathrm{mW}}`.

    Returns
    -------
    float
        In dBm; -300 for silence.
    """
    power = float(np.mean(samples.real.astype(np.float64) ** 2 + samples.imag.astype(np.float64) ** 2))
    return float(10 * np.log10(max(power, 1e-30)))
