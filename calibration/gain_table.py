"""The gain tables: by how much each setting of the receiver and of the transmitter is off, against a reference one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from calibration.base import Procedure, Validity
from calibration.bench import Bench, ReceiverClips, Station
from calibration.plan import BLOCK, TonePlan
from calibration.receive_iq import NOT_HEARD
from calibration.record import Findings, Line, Plot, Quantity
from calibration.tones import fit_tones
from testbed.errors import RadioError
from testbed.radio.base import Tuning

CAPTURE_SAMPLES = 50 * BLOCK  # 50 ms at 1.92 MS/s: 0.02 dB at 20 dB of SNR
STEP_DB = 6  # between settings
RX_GAINS_DB = (0, 71)  # a Pluto's range that is there at every LO from 325 MHz to 3.8 GHz is 0 to 62
TX_GAINS_DB = (-60, 0)
WINDOW_DBFS = (-38.0, -11.0)  # rms of the tones: above the receiver's own noise, below full scale with its crest
MOST_DB = 0.06  # of a standard error: what is known less well is left out
SYSTEMATIC_DB = 0.03  # of rounding to 12 bits at the lower end of the window


class TooWeak(RadioError):
    """The tones are not above the noise."""


@dataclass(frozen=True)
class GainErrors:
    """Errors in dB by setting, with standard errors; those of the reference settings are 0 by definition."""

    receive_db: dict[float, tuple[float, float]]
    transmit_db: dict[float, tuple[float, float]]


def estimate(levels: Mapping[tuple[float, float], tuple[float, float]], reference: tuple[float, float]) -> GainErrors:
    r"""Split levels into a receiver's and a transmitter's errors.

    Model: at settings r and t the level is :math:`L_{rt} = L_0 + r + t + \epsilon_r + \delta_t + w`, in dB. Weighted
    least squares with :math:`\epsilon = \delta = 0` at the reference settings; standard errors from the inverse of the
    normal matrix, which is the covariance for errors as they are given.

    Parameters
    ----------
    levels : {(rx_gain_db, tx_gain_db): (level_db, standard_error_db)}
        So many that each setting is tied to the reference by some path of pairs.
    reference : (rx_gain_db, tx_gain_db)

    Returns
    -------
    GainErrors

    Raises
    ------
    RadioError
        If some setting is tied to nothing.
    """
    rx = sorted({pair[0] for pair in levels})
    tx = sorted({pair[1] for pair in levels})
    unknown = [("rx", g) for g in rx if g != reference[0]] + [("tx", g) for g in tx if g != reference[1]]
    place = {key: i + 1 for i, key in enumerate(unknown)}
    design, measured, weights = np.zeros((len(levels), len(unknown) + 1)), np.zeros(len(levels)), np.zeros(len(levels))
    design[:, 0] = 1
    for row, ((r, t), (level, error)) in enumerate(levels.items()):
        for key in (("rx", r), ("tx", t)):
            if key in place:
                design[row, place[key]] = 1
        measured[row], weights[row] = level - r - t, 1 / error
    weighted = design * weights[:, None]
    if np.linalg.matrix_rank(weighted) < weighted.shape[1]:
        raise RadioError(
            "gain-table: levels do not overlap from setting to setting: change the attenuator between them"
        )
    covariance = np.linalg.inv(weighted.T @ weighted)
    solution = covariance @ (weighted.T @ (measured * weights))
    known = {key: (float(solution[i]), math.sqrt(covariance[i, i])) for key, i in place.items()}
    nothing = (0.0, 0.0)
    return GainErrors({g: known.get(("rx", g), nothing) for g in rx}, {g: known.get(("tx", g), nothing) for g in tx})


def tone_level(y: np.ndarray, plan: TonePlan, lo_hz: float, reference_ratio: float) -> tuple[float, float]:
    """Level of the plan's tones together, noise taken off.

    Parameters
    ----------
    y : [n] complex64
    plan : TonePlan
    lo_hz, reference_ratio : float
        As `TonePlan.received` has it.

    Returns
    -------
    level_dbfs, standard_error_db : float

    Raises
    ------
    TooWeak
        If the tones are not above the noise.
    """
    lines = plan.received(lo_hz, reference_ratio)
    fit = fit_tones(y, lines.frequencies, BLOCK)
    if not fit.heard(lines.tones):
        raise TooWeak(NOT_HEARD)
    power = np.sum(np.abs(fit.amplitudes[:, lines.tones]) ** 2, axis=1) - lines.tones_count * fit.noise / BLOCK
    mean = float(np.mean(power))
    error = float(np.std(power, ddof=1)) / math.sqrt(len(power))
    return 10 * math.log10(max(mean, 1e-20)), 10 / math.log(10) * error / max(mean, 1e-20)


def settings(low: float, high: float, reference: float) -> list[float]:
    """Those to measure: steps from the reference to both ends.

    Parameters
    ----------
    low, high, reference : float

    Returns
    -------
    list of float
    """
    below = np.arange(reference, low - 0.1, -STEP_DB)[::-1]
    above = np.arange(reference + STEP_DB, high + 0.1, STEP_DB)
    return [float(g) for g in (*below, *above)]


def pairs(bench: Bench, plan: TonePlan, reference: tuple[float, float], reference_ratio: float) -> dict:
    """Levels of all pairs of settings that lie in the window, as nominal gains have it from the reference pair.

    Parameters
    ----------
    bench : Bench
    plan : TonePlan
    reference : (rx_gain_db, tx_gain_db)
    reference_ratio : float

    Returns
    -------
    {(rx_gain_db, tx_gain_db): (level_db, standard_error_db)}
    """

    def level(r: float, t: float) -> tuple[float, float]:
        y = bench.tones(plan, CAPTURE_SAMPLES, r, t)[0]
        return tone_level(y, plan, bench.lo_hz, reference_ratio)

    levels = {reference: level(*reference)}
    low, high = WINDOW_DBFS
    for t in settings(*TX_GAINS_DB, reference[1]):
        for r in settings(*RX_GAINS_DB, reference[0]):
            nominal = levels[reference][0] + r - reference[0] + t - reference[1]
            if (r, t) != reference and low <= nominal <= high:
                with suppress(ReceiverClips, TooWeak):  # noise is amplified, too, and weak tones drown in it
                    levels[r, t] = level(r, t)
    return levels


def measure(station: Station) -> Findings:
    """All pairs of settings at which the receiver is neither drowned in noise nor near full scale.

    Raises
    ------
    RadioError
        If a radio has no gains, or as the radios say.
    """
    with station.open() as bench:
        assert bench.transmitter is not None
        plan = TonePlan(bench.rate_hz)
        rx, tx = bench.receiver.tuning, bench.transmitter.tuning
        if rx is None or tx is None or rx.rx_gain_db is None or tx.tx_gain_db is None:
            raise RadioError(f"{station.uri}: gain-table: a radio without gains has no table of them")
        reference = (rx.rx_gain_db, tx.tx_gain_db)
        reference_ratio, _ = bench.reference_ratio()
        levels = pairs(bench, plan, reference, reference_ratio)
        bench.receiver.retune(Tuning(rx_gain_db=reference[0]))
        bench.transmitter.retune(Tuning(tx_gain_db=reference[1]))
    found = estimate(levels, reference)
    quantities = [
        Quantity(name, error, math.hypot(sigma, SYSTEMATIC_DB), "dB", at=setting)
        for name, table in (
            ("receive_gain_error_db", found.receive_db),
            ("transmit_gain_error_db", found.transmit_db),
        )
        for setting, (error, sigma) in table.items()
        if sigma <= MOST_DB
    ]
    source_dbm = station.given.source_dbm
    far = [g for table in (found.receive_db, found.transmit_db) for g, (_, sigma) in table.items() if sigma > MOST_DB]
    notes = [f"too weak to be known: {', '.join(f'{g:g} dB' for g in far)}"] if far else []
    if source_dbm is not None:
        quantities.append(
            Quantity(
                "full_scale_dbm",
                source_dbm - levels[reference][0],
                math.hypot(levels[reference][1], SYSTEMATIC_DB),
                "dBm",
                at=reference[0],
                correction=False,
            )
        )
    else:
        notes.append("without --source-dbm, the level of the tones at the antenna, levels are known in dBFS alone")
    return Findings(
        quantities=quantities,
        absolute=source_dbm is not None,
        reference=f"settings {reference[0]:g} dB of the receiver and {reference[1]:g} dB of the transmitter"
        + (f"; {source_dbm:g} dBm at the antenna" if source_dbm is not None else ""),
        notes=notes,
        plots=[
            Plot("gain tables", "setting (dB)", "error (dB)", [_line("receiver", found.receive_db)]),
            Plot("gain tables", "setting (dB)", "error (dB)", [_line("transmitter", found.transmit_db)]),
        ],
    )


def _line(name: str, table: dict[float, tuple[float, float]]) -> Line:
    return Line(name, list(table), [error for error, _ in table.values()], points=True)


PROCEDURE = Procedure(
    "gain-table",
    "errors of the gain settings of receiver and transmitter",
    Validity(days=180, lo_hz=200e6, temperature_c=25.0),
    measure,
)
