"""The reference oscillator: by how much LO and sample clock are high, against a known tone or a server's beacon."""

from __future__ import annotations

import math

import numpy as np

from calibration.base import Procedure, Validity
from calibration.bench import Station
from calibration.record import Findings, Line, Plot, Quantity
from calibration.tones import find_tone
from testbed.errors import RadioError
from testbed.phy.beacon import burst_samples, find_beacon, measure_beacon, period_samples
from testbed.phy.waveform import Waveform
from testbed.radio.base import Tuning

CAPTURE_SAMPLES = 960_000  # half a second at 1.92 MS/s: 1e-5 ppm at 20 dB of SNR, so that drift decides
NEAR = 0.25  # of the rate, above the LO, where the tone is looked for; 0.2 to either side are 100 ppm at 3.8 GHz
WITHIN = 0.2
MOST_PPM = 27.0  # of either oscillator: beacons are looked for over 130 kHz at 2.4 GHz
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


def estimate_by_beacon(y: np.ndarray, waveform: Waveform, lo_hz: float, beacon_ppm: float) -> tuple[float, float]:
    r"""By how much a radio's reference is high, from the beacons of a server.

    With the server's :math:`\epsilon_s`, a beacon at LO is received :math:`f = f_{LO} ((1 + \epsilon_s) / (1 +
    \epsilon) - 1)` off, hence :math:`\epsilon = (1 + \epsilon_s) / (1 + f / f_{LO}) - 1`.

    Parameters
    ----------
    y : [A, n] complex64
        A few periods of the beacon, at least.
    waveform : Waveform
    lo_hz, beacon_ppm : float

    Returns
    -------
    ppm, standard_error : float
        From the scatter of the beacons.

    Raises
    ------
    RadioError
        If fewer than three beacons are there.
    """
    period, burst = period_samples(waveform), burst_samples(waveform)
    most_hz = 2 * MOST_PPM * 1e-6 * lo_hz
    found = find_beacon(y[:, : 2 * period + burst], waveform, most_hz)
    offsets: list[float] = []
    start, cfo_hz = (found.start % period, found.cfo_hz) if found is not None else (y.shape[1], 0.0)
    while start + burst + waveform.cp_samples <= y.shape[1]:
        beacon = measure_beacon(y, waveform, start, cfo_hz) if start >= waveform.cp_samples else None
        if beacon is not None:
            offsets.append(beacon.cfo_hz)
            start, cfo_hz = round(beacon.arrival), beacon.cfo_hz
        start += period
    if len(offsets) < 3:
        raise RadioError(
            f"oscillator: {len(offsets)} beacons heard: is a server on the air at {lo_hz:g} Hz? Three are needed"
        )
    ppm = ((1 + beacon_ppm * 1e-6) / (1 + float(np.mean(offsets)) / lo_hz) - 1) * 1e6
    return ppm, float(np.std(offsets, ddof=1)) / math.sqrt(len(offsets)) / lo_hz * 1e6


def measure(station: Station) -> Findings:
    """Against a tone from a generator, a server's beacon, or another transmitter.

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
    elif given.beacon:
        waveform = Waveform()
        if station.rate_hz != waveform.sample_rate_hz:
            raise RadioError(f"oscillator: the beacon has a rate of its own: --rate {waveform.sample_rate_hz:g}")
        with station.open(rx_channels=station.antennas, transmits=False) as bench:
            y = bench.capture(None, CAPTURE_SAMPLES)
            ppm, error = estimate_by_beacon(y, waveform, bench.lo_hz, given.transmitter_ppm or 0.0)
        absolute = given.transmitter_ppm is not None
        reference = "the server's beacon" + (f", {given.transmitter_ppm:+g} ppm" if absolute else "")
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
    if station.given.reference_hz is not None or station.given.beacon or station.transmitter is not None:
        return ""
    return (
        "oscillator: a radio cannot be its own reference: give --reference-hz of a generator's tone, --beacon where a "
        "server sends its own, or --transmitter URI of another radio (with --transmitter-ppm, if that is known)"
    )


PROCEDURE = Procedure(
    "oscillator",
    "reference oscillator (ppm), against a known tone, a server's beacon or another radio",
    Validity(days=30, temperature_c=10.0),
    measure,
    needs_outside=needs_outside,
)
