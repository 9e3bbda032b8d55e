"""The receiver's noise: its density at the converter and, against a source of known level, its noise figure."""

from __future__ import annotations

import math

import numpy as np

from calibration.base import Procedure, Validity
from calibration.bench import Station
from calibration.gain_table import tone_level
from calibration.plan import BLOCK, TonePlan
from calibration.record import Findings, Plot, Quantity
from calibration.spectrum import density, spectrum_line
from calibration.tones import find_tone, fit_tones
from testbed.radio.base import Tuning

CAPTURE_SAMPLES = 480 * BLOCK
BINS = 256  # of the spectrum in which noise is measured
INNER, OUTER = 0.02, 0.2  # of the rate, to either side of the LO: beyond DC, well within the filters
T0_K = 290.0  # IEEE Std 145: the temperature that noise figures refer to
BOLTZMANN_J_PER_K = 1.380649e-23  # SI
THERMAL_DBM_PER_HZ = 10 * math.log10(BOLTZMANN_J_PER_K * T0_K * 1e3)  # -173.98
SYSTEMATIC_DB = 0.1  # of the filters' ripple where the noise is measured
NEAR, WITHIN = 0.1, 0.05  # of the rate: where a generator's tone is looked for


def estimate(y: np.ndarray, rate_hz: float) -> tuple[float, float]:
    r"""Density of white noise from the middle of the band, DC left out.

    The mean of M independent periodogram values has the relative standard error :math:`1/\sqrt{M}`; Welch's half
    overlapping segments of a Hann window are worth about 18/19 of them, and neighbouring bins are not independent
    either: what counts is the number of samples times the share of the band.

    Parameters
    ----------
    y : [n] complex64
        Without any signal.
    rate_hz : float

    Returns
    -------
    dbfs_per_hz, standard_error_db : float

    References
    ----------
    P. D. Welch, "The use of fast Fourier transform for the estimation of power spectra", IEEE Trans. Audio 15, 1967.
    """
    frequency_hz, power = density(y, rate_hz, BINS)
    part = np.abs(frequency_hz) / rate_hz
    used = (part >= INNER) & (part <= OUTER)
    mean = float(np.mean(power[used]))
    independent = len(y) * np.mean(used)
    return 10 * math.log10(mean + 1e-30), 10 / math.log(10) / math.sqrt(independent)


def noise_figure_db(noise_dbfs_per_hz: float, full_scale_dbm: float) -> float:
    """Noise at the antenna over that of a resistor at 290 K, in dB.

    Parameters
    ----------
    noise_dbfs_per_hz : float
    full_scale_dbm : float
        At the antenna, of a tone that is at full scale of the converter.

    Returns
    -------
    float
    """
    return noise_dbfs_per_hz + full_scale_dbm - THERMAL_DBM_PER_HZ


def measure(station: Station) -> Findings:
    """With silence at the antenna and, where its level there is known, with a signal."""
    given = station.given
    with station.open(transmits=given.reference_hz is None) as bench:
        plan, quantities = TonePlan(bench.rate_hz), []
        if given.source_dbm is None:
            level = None
        elif given.reference_hz is not None:
            lo_hz = 2.0 * round((given.reference_hz - NEAR * bench.rate_hz) / 2)
            y = bench.capture(None, CAPTURE_SAMPLES, receive=Tuning(lo_hz=lo_hz))[0]
            at, _ = find_tone(y, NEAR, WITHIN)
            fit = fit_tones(y, np.array([at]), BLOCK)
            level = 20 * math.log10(abs(np.sqrt(np.mean(np.abs(fit.amplitudes[:, 0]) ** 2))))
        else:
            reference_ratio, _ = bench.reference_ratio()
            y = bench.tones(plan, CAPTURE_SAMPLES)[0]
            level, _ = tone_level(y, plan, bench.lo_hz, reference_ratio)
        lo_hz = bench.lo_hz if given.reference_hz is None else given.reference_hz + bench.rate_hz
        quiet = bench.capture(None, CAPTURE_SAMPLES, receive=Tuning(lo_hz=lo_hz))[0]
    noise, error = estimate(quiet, bench.rate_hz)
    error = math.hypot(error, SYSTEMATIC_DB)
    quantities.append(Quantity("noise_dbfs_per_hz", noise, error, "dBFS/Hz", correction=False))
    notes = []
    if level is not None and given.source_dbm is not None:
        figure = noise_figure_db(noise, given.source_dbm - level)
        quantities.append(Quantity("noise_figure_db", figure, error, "dB", correction=False))
    else:
        notes.append("without --source-dbm, the level of the signal at the antenna, there is no noise figure")
    return Findings(
        quantities=quantities,
        absolute=level is not None,
        reference=f"{given.source_dbm:g} dBm at the antenna" if level is not None else "full scale of the converter",
        notes=notes,
        plots=[
            Plot(
                "noise with nothing at the antenna",
                "frequency from the receiver's LO (kHz)",
                "level in a bin (dBFS)",
                [spectrum_line("received", quiet, bench.rate_hz)],
            )
        ],
    )


PROCEDURE = Procedure(
    "noise",
    "noise floor and, with a source of known level, noise figure",
    Validity(days=90, lo_hz=200e6, gain_db=3.0, gains=("rx",), temperature_c=25.0, same_rate=True),
    measure,
    applies_to=frozenset({"rx"}),
)
