"""The reference oscillator: by how much LO and sample clock are high, against a tone of known frequency."""

from __future__ import annotations

import math

import numpy as np

from calibration.base import Procedure, Validity
from calibration.bench import Station
from calibration.record import Findings, Line, Plot, Quantity
from calibration.tones import find_tone
from testbed.errors import RadioError
from testbed.radio.base import Tuning

CAPTURE_SAMPLES = 960_000  # half a second at 1.92 MS/s: 1e-5 ppm at 20 dB of SNR, so that drift decides
NEAR = 0.25  # of the rate, above the LO, where the tone is looked for; 0.2 to either side are 100 ppm at 3.8 GHz
WITHIN = 0.2
SYSTEMATIC_PPM = 1e-3  # of LO steps of 2 Hz at 2.4 GHz


def estimate(y: np.ndarray, rate_hz: float, lo_hz: float, reference_hz: float) -> tuple[float, float]:
    r"""By how much a radio's reference is high, from a tone of known frequency.

    With :math:`\epsilon` = ppm·1e-6, LO and sample clock are :math:`1 + \epsilon` times nominal, so a tone of
    :math:`f_r` is received at :math:`f = f_r / (1 + \epsilon) - f_{LO}` in Hz of the radio's own clock, hence
    :math:`\epsilon = f_r / (f + f_{LO}) - 1`, exactly.

    Parameters
    ----------
    y : [n] complex64
    rate_hz, lo_hz : float
        Nominal.
    reference_hz : float

    Returns
    -------
    ppm, standard_error : float
    """
    nominal = (reference_hz - lo_hz) / rate_hz
    found, error = find_tone(y, nominal, WITHIN, avoid=np.zeros(1))
    ppm = (reference_hz / (found * rate_hz + lo_hz) - 1) * 1e6
    return ppm, error * rate_hz / reference_hz * 1e6


def measure(station: Station) -> Findings:
    """Against a tone from a generator, or against another transmitter.

    Raises
    ------
    RadioError
        If transmitter and receiver are one radio, or as the radios say.
    """
    given = station.given
    if given.reference_hz is not None:
        with station.open(transmits=False) as bench:
            lo_hz = 2.0 * round((given.reference_hz - NEAR * bench.rate_hz) / 2)
            y = bench.capture(None, CAPTURE_SAMPLES, receive=Tuning(lo_hz=lo_hz))[0]
            ppm, error = estimate(y, bench.rate_hz, lo_hz, given.reference_hz)
        reference, absolute = f"a tone of {given.reference_hz:.10g} Hz", True
    else:
        with station.open() as bench:
            if bench.alone:
                raise RadioError(needs_outside(station))
            ratio, relative = bench.reference_ratio()
        known = given.transmitter_ppm
        ppm, error = ((1 + (known or 0.0) * 1e-6) / ratio - 1) * 1e6, relative * 1e6
        absolute = known is not None
        reference = f"the oscillator of {station.transmitter}" + (f", {known:+g} ppm" if absolute else "")
    error = math.hypot(error, SYSTEMATIC_PPM)
    shown = Line("measured", [0.0], [ppm], points=True)
    band = [Line("± 3 standard errors", [-0.5, 0.5], [ppm + s * 3 * error] * 2) for s in (-1, 1)]
    return Findings(
        quantities=[Quantity("ppm", ppm, error, "ppm")],
        absolute=absolute,
        reference=reference,
        plots=[Plot("reference oscillator", "", "deviation (ppm)", [shown, *band])],
    )


def needs_outside(station: Station) -> str:
    """A radio that hears itself knows nothing of its own frequency."""
    if station.given.reference_hz is not None or station.transmitter is not None:
        return ""
    return (
        "oscillator: a radio cannot be its own reference: give --reference-hz of a generator's tone, or --transmitter "
        "URI of another radio (with --transmitter-ppm, if it is known)"
    )


PROCEDURE = Procedure(
    "oscillator",
    "reference oscillator (ppm), against a tone of known frequency or another radio",
    Validity(days=30, temperature_c=10.0),
    measure,
    needs_outside=needs_outside,
)
