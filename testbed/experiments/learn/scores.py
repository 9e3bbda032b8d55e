"""How well channel estimators do: normalised mean squared errors over many frames, with intervals. No files here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from server.estimation import ChannelEstimate
from testbed.experiments.learn.trials import lmmse_true, trials
from testbed.phy.waveform import Waveform
from testbed.units import power_to_db

CHANNELS = ("TDL-A", "TDL-B", "TDL-C")
Estimate = Callable[[np.ndarray], ChannelEstimate]  # an estimator, whether it states assumptions or not
TRUE = "lmmse-true"  # LMMSE told the true statistics: no estimator's figure, the bound
RESAMPLES = 2000
BOOTSTRAP = 13  # spawn key


class Scores(msgspec.Struct):
    """Squared errors of one channel, frame by frame.

    Attributes
    ----------
    error : {estimator: [frames, SNR] float64}
        Mean over a body's elements, antennas and users.
    reported : {estimator: [frames, SNR] float64}
        The same as the estimator itself has it.
    power : [frames, SNR] float64
    lost : [frames, SNR] bool
        Offsets beyond what pilots tell apart were left by the synchronisation: no receiver decodes such a frame, and
        its channel is unknown alike to all estimators. Left out of all figures.
    """

    snr_db: list[float]
    error: dict[str, np.ndarray]
    reported: dict[str, np.ndarray]
    power: np.ndarray
    lost: np.ndarray


class FrameErrors(msgspec.Struct):
    """One frame's part of `Scores`: a value for each SNR."""

    error: dict[str, list[float]]
    reported: dict[str, list[float]]
    power: list[float]
    lost: list[bool]


def score_frame(
    waveform: Waveform,
    channel: str,
    estimators: Mapping[str, Estimate],
    snr_db: Sequence[float],
    frame: int,
    seed: int,
    spread_s: float | None = None,
    doppler_hz: float | None = None,
) -> FrameErrors:
    """All estimators on one frame at every SNR, and the bound beside them.

    Parameters
    ----------
    waveform : Waveform
    channel : str
        One of ``CHANNELS``.
    estimators : dict
        Name to estimator.
    snr_db : sequence of float
        dB.
    frame : int
        Which realisation; its channel and noise depend on this and the seed alone.
    seed : int
    spread_s, doppler_hz : float, optional
        Delay spread in seconds and maximum Doppler shift in Hz; drawn if left out, see `trials`.

    Returns
    -------
    FrameErrors
    """
    limit_hz = waveform.sample_rate_hz / (2 * waveform.pilot_spacing_symbols * waveform.symbol_samples)
    names = [*estimators, TRUE]
    found = FrameErrors({name: [] for name in names}, {name: [] for name in names}, [], [])
    seeded = int(np.random.SeedSequence(seed, spawn_key=(CHANNELS.index(channel), frame)).generate_state(1)[0])
    for trial in trials(waveform, channel, list(snr_db), seeded, 2, spread_s, doppler_hz):
        found.power.append(float(np.mean(np.abs(trial.h) ** 2, dtype=np.float64)))
        found.lost.append(bool(np.abs(trial.offsets_hz).max() > limit_hz))
        for name in names:
            made = estimators[name](trial.grid) if name != TRUE else lmmse_true(trial, waveform)
            found.error[name].append(float(np.mean(np.abs(made.h_hat - trial.h) ** 2, dtype=np.float64)))
            found.reported[name].append(float(np.mean(made.error_variance, dtype=np.float64)))
    return found


def collect(snr_db: Sequence[float], frames: Sequence[FrameErrors]) -> Scores:
    """The scores of a channel from those of its frames.

    Parameters
    ----------
    snr_db : sequence of float
    frames : sequence of FrameErrors
        At least one; all of the same estimators and SNRs.

    Returns
    -------
    Scores
    """
    names = list(frames[0].error)
    return Scores(
        list(snr_db),
        {name: np.array([f.error[name] for f in frames]) for name in names},
        {name: np.array([f.reported[name] for f in frames]) for name in names},
        np.array([f.power for f in frames]),
        np.array([f.lost for f in frames]),
    )


def score(
    waveform: Waveform,
    channel: str,
    estimators: Mapping[str, Estimate],
    snr_db: Sequence[float],
    frames: int,
    seed: int,
) -> Scores:
    """All estimators on ``frames`` frames of a channel; parameters as :func:`score_frame`.

    Returns
    -------
    Scores
    """
    return collect(snr_db, [score_frame(waveform, channel, estimators, snr_db, n, seed) for n in range(frames)])


def ratio_db(top: np.ndarray, bottom: np.ndarray, lost: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ratio of means over the frames received, in dB, with its 95 % interval by bootstrap over frames.

    Parameters
    ----------
    top, bottom : [frames, SNR] float64
    lost : [frames, SNR] bool

    Returns
    -------
    ratio_db : [SNR] float64
    interval_db : [SNR, 2] float64
    """
    kept = ~lost
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(BOOTSTRAP,)))
    times = rng.multinomial(len(top), np.full(len(top), 1 / len(top)), RESAMPLES).astype(np.float64)
    drawn = power_to_db((times @ (top * kept)) / (times @ (bottom * kept)))
    value = power_to_db((top * kept).sum(axis=0) / (bottom * kept).sum(axis=0))
    return value, np.quantile(drawn, [0.025, 0.975], axis=0).T


def mean_of(values: np.ndarray, lost: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the frames received, with its 95 % interval by bootstrap over frames.

    Parameters
    ----------
    values : [frames, SNR] float64
    lost : [frames, SNR] bool

    Returns
    -------
    mean : [SNR] float64
        0 where all frames are lost.
    interval : [SNR, 2] float64
    """
    kept = (~lost).astype(np.float64)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(BOOTSTRAP,)))
    times = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), RESAMPLES).astype(np.float64)
    drawn = (times @ (values * kept)) / np.maximum(times @ kept, 1)
    return (values * kept).sum(axis=0) / np.maximum(kept.sum(axis=0), 1), np.quantile(drawn, [0.025, 0.975], axis=0).T


def summary(scores: Scores, seed: int) -> dict[str, object]:
    """What a result file holds of one channel."""
    nmse, interval, report = {}, {}, {}
    for name, error in scores.error.items():
        value, bounds = ratio_db(error, scores.power, scores.lost, seed)
        nmse[name], interval[name] = rounded(value), [rounded(b) for b in bounds]
        report[name] = rounded(ratio_db(scores.reported[name], error, scores.lost, seed)[0])
    found: dict[str, object] = {"nmse_db": nmse, "ci95_db": interval, "reported_over_measured_db": report}
    found["frames_lost"] = [int(n) for n in scores.lost.sum(axis=0)]
    if "dnn" in scores.error:
        against = {}
        for name in scores.error:
            if name != "dnn":
                value, bounds = ratio_db(scores.error["dnn"], scores.error[name], scores.lost, seed)
                against[name] = {"db": rounded(value), "ci95_db": [rounded(b) for b in bounds]}
        found["dnn_over"] = against
    return found


def rounded(values: np.ndarray) -> list[float]:
    """Three decimals: what a file needs."""
    return [round(float(v), 3) for v in values]
