"""A radio's front ends: from full scale of its DAC to dBm at its antennas, and from there to full scale of its ADC."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from testbed.air._kernels import compress, receive_iq, transmit_iq
from testbed.air.noise import CountedNoise
from testbed.air.power import RX_FULL_SCALE_DBM, TX_FULL_SCALE_DBM, thermal_noise_mw
from testbed.config import FrontEnd
from testbed.units import db_to_amplitude


def iq_imbalance(gain_db: float, phase_deg: float) -> tuple[complex, complex]:
    r"""What an unbalanced quadrature mixer makes of a signal: :math:`y = a x + b x^*`.

    .. math::
        \Re y = \rho \Re x, \quad \Im y = \rho^{-1} (\Im x \cos\varphi + \Re x \sin\varphi), \quad
        a = \tfrac12 (\rho + \rho^{-1} e^{j\varphi}), \; b = \tfrac12 (\rho - \rho^{-1} e^{-j\varphi})

    with :math:`\rho^2 = g = 10^{G/20}`. The image lies :math:`|b/a|^2 = (g^2 + 1 - 2 g \cos\varphi) /
    (g^2 + 1 + 2 g \cos\varphi)` below the signal.

    Parameters
    ----------
    gain_db : float
        :math:`G`, amplitude of I over Q.
    phase_deg : float
        :math:`\varphi`, by which Q leans towards I.

    Returns
    -------
    a, b : complex

    References
    ----------
    B. Razavi, *RF Microelectronics*, 2nd ed., 2012, 4.2.5.
    """
    rho = float(db_to_amplitude(gain_db / 2))
    lean = np.exp(1j * np.deg2rad(phase_deg)) / rho
    return complex(0.5 * (rho + lean)), complex(0.5 * (rho - lean.conjugate()))


def saturation(p1db_dbm: float, smoothness: float) -> float:
    r"""The Rapp amplifier's saturated amplitude, of the output power at which it compresses by 1 dB.

    .. math::  A = a_1 \, 10^{1/20} \, (10^{p/10} - 1)^{-1/(2p)}, \quad a_1^2 = P_{1 dB}

    Parameters
    ----------
    p1db_dbm : float
        :math:`P_{1 dB}`, of the output.
    smoothness : float
        :math:`p`.

    Returns
    -------
    float
        In :math:`\sqrt{\mathrm{mW}}`.
    """
    bend = (10 ** (smoothness / 10) - 1) ** (1 / (2 * smoothness))
    return float(db_to_amplitude(p1db_dbm + 1) / bend)


def quantise(x: np.ndarray, bits: int) -> np.ndarray:
    r"""Round to a converter's codes and hold to its range: I and Q are :math:`k / 2^{B-1}`, :math:`-2^{B-1} \le k <
    2^{B-1}`.

    Parameters
    ----------
    x : [..., n] complex64
        Full scale 1.0.
    bits : int

    Returns
    -------
    [..., n] complex64
    """
    scale = np.float32(2 ** (bits - 1))
    parts = np.ascontiguousarray(x, dtype=np.complex64).view(np.float32) * scale
    np.rint(parts, out=parts)
    np.clip(parts, -scale, scale - 1, out=parts)
    parts /= scale
    return parts.view(np.complex64)


def gain_error_db(table: Sequence[tuple[float, float]], setting_db: float) -> float:
    """By how much a gain differs from what is set.

    Parameters
    ----------
    table : sequence of (setting, error)
        Linear between settings, constant beyond them.
    setting_db : float

    Returns
    -------
    float
        In dB.
    """
    if not table:
        return 0.0
    settings, errors = np.array(table).T
    return float(np.interp(setting_db, settings, errors))


class TransmitChain:
    r"""From DAC samples to what leaves the antennas.

    .. math::
        u &= a x + b x^* + l, \quad v = G \gamma_c u, \quad
        y = v \left(1 + (|v| / A)^{2p}\right)^{-1/(2p)}

    with rounding to ``bits`` before, I/Q imbalance :math:`a, b`, LO leakage :math:`l`, the gain :math:`G` with its
    error, the chain's own gain and phase :math:`\gamma_c`, and Rapp's compression. What compression puts beyond half
    the sample rate folds back. The delay is `testbed.air.world`'s.

    Parameters
    ----------
    front_end : FrontEnd
    antennas : int

    References
    ----------
    C. Rapp, "Effects of HPA-nonlinearity on a 4-DPSK/OFDM-signal for a digital sound broadcasting system", 2nd European
    Conference on Satellite Communications, 1991.
    """

    def __init__(self, front_end: FrontEnd, antennas: int) -> None:
        self.front_end = front_end
        self.antennas = antennas
        self._a, self._b = iq_imbalance(front_end.tx_iq_gain_db, front_end.tx_iq_phase_deg)
        self._leakage = _phasor(front_end.tx_leakage_dbfs, front_end.tx_leakage_phase_deg)
        self._chains = _chains(front_end.tx_chain_gain_db, front_end.tx_chain_phase_deg, antennas)
        limit, p = front_end.p1db_dbm, front_end.rapp_smoothness
        self._saturation = None if limit is None else saturation(limit, p)

    def transmit(self, samples: np.ndarray, gains_db: Sequence[float]) -> np.ndarray:
        r"""What leaves the antennas while the transmitter is on; zeros still leak.

        Parameters
        ----------
        samples : [A, n] complex64
            Full scale 1.0.
        gains_db : [A] float
            As set.

        Returns
        -------
        [A, n] complex64
            In :math:`\sqrt{\mathrm{mW}}`.
        """
        x = np.ascontiguousarray(samples, dtype=np.complex64)
        if self.front_end.bits is not None:
            x = quantise(x, self.front_end.bits)
        y = np.empty_like(x)
        for antenna in range(self.antennas):
            set_db = gains_db[antenna]
            error_db = gain_error_db(self.front_end.tx_gain_error_db, set_db)
            factor = self._chains[antenna] * db_to_amplitude(TX_FULL_SCALE_DBM + set_db + error_db)
            transmit_iq(x[antenna], _matrix(factor * self._a, factor * self._b, factor * self._leakage), y[antenna])
            if self._saturation is not None:
                compress(y[antenna], np.float32(self._saturation), np.float32(self.front_end.rapp_smoothness))
        return y


class ReceiveChain:
    r"""From what meets the antennas to ADC samples.

    .. math::  u = G \gamma_c (y + \sigma w), \quad x = a u + b u^* + d

    with white noise :math:`\sigma^2 = k T B F` at the antenna, the gain :math:`G` with its error, the chain's own gain
    and phase, I/Q imbalance, DC offset :math:`d`, then rounding to ``bits`` and clipping.

    Parameters
    ----------
    front_end : FrontEnd
    antennas : int
    rate_hz : float
        The noise's bandwidth.
    noise_mw : float
        At each antenna, where the front end has no noise figure.
    seed : int
    spawn_key : tuple of int
        Of this receiver's noise, among all streams of the seed.
    """

    def __init__(
        self,
        front_end: FrontEnd,
        antennas: int,
        rate_hz: float,
        noise_mw: float,
        seed: int,
        spawn_key: tuple[int, ...],
    ) -> None:
        self.front_end = front_end
        self.antennas = antennas
        figure = front_end.noise_figure_db
        self.noise_mw = noise_mw if figure is None else thermal_noise_mw(figure, rate_hz)
        self._noise = [CountedNoise(seed, (*spawn_key, antenna)) for antenna in range(antennas)]
        self._a, self._b = iq_imbalance(front_end.rx_iq_gain_db, front_end.rx_iq_phase_deg)
        self._dc = _phasor(front_end.rx_dc_dbfs, front_end.rx_dc_phase_deg)
        self._chains = _chains(front_end.rx_chain_gain_db, front_end.rx_chain_phase_deg, antennas)

    def receive(self, samples: np.ndarray, first_sample: int, gains_db: Sequence[float]) -> np.ndarray:
        r"""What the converters give.

        Parameters
        ----------
        samples : [A, n] complex64
            At the antennas, in :math:`\sqrt{\mathrm{mW}}`.
        first_sample : int
            Absolute index of the first, by which noise is found.
        gains_db : [A] float
            As set.

        Returns
        -------
        [A, n] complex64
            Full scale 1.0; beyond it only where there are no ``bits``.
        """
        y = np.ascontiguousarray(samples, dtype=np.complex64)
        x = np.empty_like(y)
        sigma = np.float32(np.sqrt(self.noise_mw))
        for antenna in range(self.antennas):
            set_db = gains_db[antenna]
            error_db = gain_error_db(self.front_end.rx_gain_error_db, set_db)
            factor = self._chains[antenna] * db_to_amplitude(set_db + error_db - RX_FULL_SCALE_DBM)
            matrix = _matrix(self._a * factor, self._b * np.conj(factor), self._dc)
            noise = self._noise[antenna].samples(first_sample, y.shape[1])
            receive_iq(y[antenna], sigma, noise, matrix, x[antenna])
        return x if self.front_end.bits is None else quantise(x, self.front_end.bits)


def _phasor(level_dbfs: float | None, phase_deg: float) -> complex:
    if level_dbfs is None:
        return 0j
    return complex(db_to_amplitude(level_dbfs) * np.exp(1j * np.deg2rad(phase_deg)))


def _chains(gains_db: Sequence[float], phases_deg: Sequence[float], antennas: int) -> np.ndarray:
    """[antennas] complex128; what is left out is 1."""
    gains, phases = np.zeros(antennas), np.zeros(antennas)
    gains[: len(gains_db)] = gains_db[:antennas]
    phases[: len(phases_deg)] = phases_deg[:antennas]
    return db_to_amplitude(gains) * np.exp(1j * np.deg2rad(phases))


def _matrix(a: complex, b: complex, offset: complex) -> np.ndarray:
    """[6] float32 of :math:`a x + b x^* + o` on I and Q: two rows, then the offset."""
    return np.array(
        [a.real + b.real, b.imag - a.imag, a.imag + b.imag, a.real - b.real, offset.real, offset.imag], np.float32
    )
