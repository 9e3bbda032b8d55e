"""The transmitter's compression: at which output its gain is 1 dB below that of small signals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from calibration.base import Procedure, Validity
from calibration.bench import Bench, Station
from calibration.plan import BLOCK, TonePlan
from calibration.receive_iq import NOT_HEARD
from calibration.record import Findings, Line, Plot, Quantity
from calibration.tones import fit_tones
from testbed.errors import RadioError

CAPTURE_SAMPLES = 50 * BLOCK
BIN = (2,)  # a single tone: its envelope is constant, so its compression is that of its amplitude
LEVELS_DBFS = np.arange(-28.0, -0.9, 1.8)
REFERENCE_DBFS = -20.0  # of the tone whose level at the output a power meter has shown
BELOW_DB = 2.0  # compressions up to here enter the curve
ORDER = 5  # of the curve, in the power of the tone
DRAWS = 200  # of the errors, for the standard error
SYSTEMATIC_DB = 0.1  # of a curve of that order, for smooth amplifiers (Rapp's of smoothness 1 to 4, tanh)


@dataclass(frozen=True)
class Compression:
    """The level of the tone at the converter at which 1 dB is lost, and the gain of small signals."""

    input_dbfs: float
    standard_error_db: float
    small_signal_gain_db: float


def estimate(level_dbfs: np.ndarray, gain_db: np.ndarray, error_db: np.ndarray, seed: int = 1) -> Compression | None:
    r"""Where :math:`G(P) = G_0 (1 + a_1 P + a_2 P^2 + \dots)` has lost 1 dB of :math:`G_0`.

    A polynomial in the power of the tone, fitted by weighted least squares to the amplitude gain up to a compression of
    2 dB: an odd nonlinearity without memory has no other terms. The standard error is that of draws of the gains.

    Parameters
    ----------
    level_dbfs : [n] float
        Of the tone at the converter, rising.
    gain_db : [n] float
        Received over sent.
    error_db : [n] float
        Standard errors of the gains.
    seed : int
        Of the draws.

    Returns
    -------
    Compression or None
        None if 1 dB is not reached.

    References
    ----------
    S. C. Cripps, *RF Power Amplifiers for Wireless Communications*, ch. 9 (odd power series).
    """
    start = np.average(gain_db[:3], weights=1 / error_db[:3] ** 2)
    beyond = np.flatnonzero(gain_db < start - BELOW_DB)
    used = slice(0, beyond[0] + 1 if len(beyond) else len(gain_db))
    level, gain, error = level_dbfs[used], gain_db[used], error_db[used]
    at, small = _crossing(level, gain, error)
    if at is None:
        return None
    rng = np.random.default_rng(seed)
    drawn = [_crossing(level, gain + error * rng.standard_normal(len(gain)), error)[0] for _ in range(DRAWS)]
    found = np.array([x for x in drawn if x is not None])
    return Compression(at, math.hypot(float(np.std(found)), SYSTEMATIC_DB), small)


def _crossing(level_dbfs: np.ndarray, gain_db: np.ndarray, error_db: np.ndarray) -> tuple[float | None, float]:
    """Level at which the fitted gain has lost 1 dB, between points of a fine grid, and the small-signal gain."""
    power = 10 ** ((level_dbfs - level_dbfs[-1]) / 10)  # 0..1: well conditioned
    gain = 10 ** ((gain_db - gain_db[0]) / 20)
    order = min(ORDER, len(level_dbfs) - 3)
    basis = power[:, None] ** np.arange(order + 1)
    weights = 1 / (error_db * gain)
    coefficients = np.linalg.lstsq(basis * weights[:, None], gain * weights, rcond=None)[0]
    grid = np.linspace(level_dbfs[0], level_dbfs[-1], 4000)
    curve = (10 ** ((grid - level_dbfs[-1]) / 10))[:, None] ** np.arange(order + 1) @ coefficients
    lost_db = -20 * np.log10(np.maximum(curve, 1e-6) / coefficients[0])
    small = float(gain_db[0] + 20 * np.log10(coefficients[0]))
    reached = np.flatnonzero(lost_db >= 1.0)
    if not len(reached) or not reached[0]:
        return None, small
    i = reached[0]
    share = (1.0 - lost_db[i - 1]) / (lost_db[i] - lost_db[i - 1])
    return float(grid[i - 1] + share * (grid[i] - grid[i - 1])), small


def gain_at(bench: Bench, level_dbfs: float, reference_ratio: float) -> tuple[float, float]:
    """Received over sent at one level of the tone.

    Parameters
    ----------
    bench : Bench
    level_dbfs : float
    reference_ratio : float

    Returns
    -------
    gain_db, standard_error_db : float

    Raises
    ------
    RadioError
        If the tone is not heard.
    """
    plan = TonePlan(bench.rate_hz, 10 ** (level_dbfs / 20), BIN)
    lines = plan.received(bench.lo_hz, reference_ratio)
    fit = fit_tones(bench.tones(plan, CAPTURE_SAMPLES)[0], lines.frequencies, BLOCK)
    if not fit.heard(lines.tones):
        raise RadioError(NOT_HEARD)
    amplitude = np.abs(fit.amplitudes[:, 0])
    mean = float(np.mean(amplitude))
    error = float(np.std(amplitude, ddof=1)) / math.sqrt(len(amplitude)) / mean
    return 20 * math.log10(mean) - level_dbfs, 20 / math.log(10) * max(error, 1e-5)


def measure(station: Station) -> Findings:
    """A tone whose amplitude rises to full scale; the receiver's gain stays, so that its errors fall out.

    Raises
    ------
    RadioError
        If the gain never falls by 1 dB, or as the radios say.
    """
    with station.open() as bench:
        reference_ratio, _ = bench.reference_ratio()
        measured = np.array([gain_at(bench, level, reference_ratio) for level in LEVELS_DBFS])
    gain, error = measured.T
    found = estimate(LEVELS_DBFS, gain, error)
    if found is None:
        raise RadioError(
            f"{station.uri}: compression: its gain falls by less than 1 dB up to full scale: there is nothing to "
            "calibrate at this tx_gain_db, or raise it"
        )
    quantities = [Quantity("p1db_dbfs", found.input_dbfs, found.standard_error_db, "dBFS", correction=False)]
    output_dbm = station.given.output_dbm
    if output_dbm is not None:
        at_reference = float(np.interp(REFERENCE_DBFS, LEVELS_DBFS, gain))
        p1db = output_dbm + found.input_dbfs - REFERENCE_DBFS + found.small_signal_gain_db - at_reference - 1.0
        quantities.append(Quantity("p1db_dbm", p1db, found.standard_error_db, "dBm", correction=False))
    return Findings(
        quantities=quantities,
        absolute=output_dbm is not None,
        reference=f"{output_dbm:g} dBm at the output for a tone of {REFERENCE_DBFS:g} dBFS"
        if output_dbm is not None
        else "full scale of the converter",
        notes=[]
        if output_dbm is not None
        else [f"without --output-dbm, the level of a tone of {REFERENCE_DBFS:g} dBFS, P1dB is known in dBFS alone"],
        plots=[
            Plot(
                "compression",
                "level of the tone at the converter (dBFS)",
                "gain over that of small signals (dB)",
                [
                    Line("measured", LEVELS_DBFS.tolist(), (gain - found.small_signal_gain_db).tolist(), points=True),
                    Line("1 dB", [float(LEVELS_DBFS[0]), found.input_dbfs, found.input_dbfs], [-1.0, -1.0, 0.0]),
                ],
            )
        ],
    )


PROCEDURE = Procedure(
    "compression",
    "output of the transmitter at 1 dB of compression (P1dB)",
    Validity(days=180, lo_hz=200e6, gain_db=1.0, gains=("tx",), temperature_c=25.0),
    measure,
    applies_to=frozenset({"tx"}),
)
