"""PSNR of pictures over fading channels, by channel estimator: the same received frames for all of them. No files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
import numpy as np

from server.detection import Channel, Received, find_detector
from server.estimation import ChannelEstimate, Estimator, find_estimator
from testbed.codec.base import Codec
from testbed.codec.registry import open_codec
from testbed.data.pictures import load_pictures
from testbed.experiments.learn.scores import mean_of, rounded
from testbed.experiments.learn.trials import Trial, trials
from testbed.experiments.sweep.axes import Axis, Point
from testbed.phy.frame import read_data
from testbed.phy.waveform import Waveform
from testbed.units import power_to_db

ANTENNAS = 2
PICTURE_PIXELS = 10_000  # one picture a user fills nine tenths of a frame
CHANNELS = ("TDL-A", "TDL-B", "TDL-C", "TDL-D", "TDL-E")
SPREADS_NS = (30.0, 100.0, 300.0, 450.0)
DOPPLERS_HZ = (0.0, 50.0, 100.0, 200.0, 300.0)


class Errors(msgspec.Struct):
    """Mean squared errors of one channel's pictures: of each estimator a value for each SNR, mean over users."""

    mse: dict[str, list[float]]
    lost: list[bool]  # the carrier offset was missed by more than pilots can tell: no estimator mends that


class FadingTask(msgspec.Struct, frozen=True):
    """One frame of each user over one realisation: a task of `testbed.experiments.sweep.engine.run_points`.

    Attributes
    ----------
    estimators : tuple of str
        What `find_estimator` takes.
    """

    waveform: Waveform
    estimators: tuple[str, ...]
    snr_db: list[float]
    seed: int
    codec: str = "deepjscc-cifar10"
    detector: str = "lmmse"

    def __call__(self, point: Point) -> Errors:
        """The errors at ``point``: channel, spread_ns, doppler_hz and the number of a draw."""
        at = point.at
        sent = pictures_sent(self.codec, self.waveform.pilot_slots)
        key = (CHANNELS.index(at["channel"]), round(at["spread_ns"]), round(at["doppler_hz"]), at["draw"])
        seed = int(np.random.SeedSequence(self.seed, spawn_key=key).generate_state(1)[0])
        limit_hz = self.waveform.sample_rate_hz / (
            2 * self.waveform.pilot_spacing_symbols * self.waveform.symbol_samples
        )
        found = Errors({name: [] for name in self.estimators}, [])
        symbols = [one for _, one in sent]
        spread_s = at["spread_ns"] * 1e-9
        for trial in trials(
            self.waveform, at["channel"], self.snr_db, seed, ANTENNAS, spread_s, at["doppler_hz"], symbols
        ):
            found.lost.append(bool(np.abs(trial.offsets_hz).max() > limit_hz))
            for name, estimator in opened(self.waveform, self.estimators).items():
                found.mse[name].append(self.mse(trial, estimator(trial.grid), sent))
        return found

    def mse(self, trial: Trial, estimate: ChannelEstimate, sent: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
        """Detect, decode, compare: mean squared error of values in 0..1, mean over users."""
        codec = opened_codec(self.codec)
        channel = Channel(estimate.h_hat, estimate.error_variance)
        found = find_detector(self.detector)(Received(np.moveaxis(trial.grid, 0, -1), channel, estimate.no))
        x_hat = read_data(np.moveaxis(found.x_hat, -1, 0), self.waveform)
        no_eff = read_data(np.moveaxis(found.no_eff, -1, 0), self.waveform)
        errors = []
        for user, (picture, symbols) in enumerate(sent):
            count, (height, width) = len(symbols), picture.shape[:2]
            decoded = codec.decode(x_hat[user, :count], no_eff[user, :count], height, width)
            errors.append(np.mean((decoded / 255.0 - picture / 255.0) ** 2))
        return float(np.mean(errors))


@cache
def opened(waveform: Waveform, names: tuple[str, ...]) -> dict[str, Estimator]:
    """Estimators by name, each opened once in a process."""
    return {name: find_estimator(name)(waveform, ANTENNAS) for name in names}


@cache
def opened_codec(name: str) -> Codec:
    """A codec, opened once in a process."""
    return open_codec(name)


@cache
def pictures_sent(codec: str, users: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Picture [H, W, 3] uint8 and symbols [k] complex64 of each user: the photographs that are always there."""
    shown = [load_pictures("", (user % 2, 2), PICTURE_PIXELS)[0].pixels for user in range(users)]
    return [(picture, opened_codec(codec).encode(picture)) for picture in shown]


def axes_of(draws: int) -> list[Axis]:
    """Channels, delay spreads, Doppler shifts and draws, in this order.

    Parameters
    ----------
    draws : int

    Returns
    -------
    list of Axis
    """
    return [
        Axis("channel", CHANNELS),
        Axis("spread_ns", SPREADS_NS),
        Axis("doppler_hz", DOPPLERS_HZ),
        Axis("draw", tuple(range(draws))),
    ]


def cells_of(
    points: Sequence[dict[str, Any]], errors: Sequence[Errors], snr_db: Sequence[float], seed: int
) -> list[dict[str, Any]]:
    """What a result file holds: a cell for each channel, delay spread, Doppler shift and SNR.

    Parameters
    ----------
    points : sequence of dict
        Coordinates, draws of one condition behind each other.
    errors : sequence of Errors
        As ``points``.
    snr_db : sequence of float
    seed : int
        Of the bootstrap.

    Returns
    -------
    list of dict
        Coordinates; of each estimator ``psnr_db``, the mean over draws, ``below_best_db`` (how far below the best of
        the cell) and ``above_ls_db``, both with their paired 95 % interval over draws; ``frames_lost``.
    """
    together: dict[tuple[Any, ...], list[Errors]] = {}
    for at, found in zip(points, errors, strict=True):
        together.setdefault((at["channel"], at["spread_ns"], at["doppler_hz"]), []).append(found)
    cells = []
    for (channel, spread_ns, doppler_hz), group in together.items():
        lost = np.array([e.lost for e in group])
        psnr = {name: -power_to_db(np.array([e.mse[name] for e in group])) for name in group[0].mse}  # [draws, SNR]
        mean = {name: mean_of(value, lost, seed)[0] for name, value in psnr.items()}
        names = list(psnr)
        best = np.argmax([mean[name] for name in names], axis=0)  # [SNR]
        highest = np.stack([psnr[names[b]][:, i] for i, b in enumerate(best)], axis=1)
        below = {name: mean_of(highest - value, lost, seed) for name, value in psnr.items()}
        above = {name: mean_of(value - psnr["ls"], lost, seed) for name, value in psnr.items()}
        for i, snr in enumerate(snr_db):
            cells.append(
                {
                    "channel": channel,
                    "spread_ns": spread_ns,
                    "doppler_hz": doppler_hz,
                    "snr_db": snr,
                    "best": names[int(best[i])],
                    "psnr_db": {name: round(float(mean[name][i]), 3) for name in names},
                    "below_best_db": {name: round(float(v[i]), 3) for name, (v, _) in below.items()},
                    "below_best_ci95_db": {name: rounded(b[i]) for name, (_, b) in below.items()},
                    "above_ls_db": {name: round(float(v[i]), 3) for name, (v, _) in above.items()},
                    "above_ls_ci95_db": {name: rounded(b[i]) for name, (_, b) in above.items()},
                    "frames_lost": int(lost[:, i].sum()),
                }
            )
    return cells
