"""What a run achieved: every figure of ``metrics``, from what was sent, what was received and the air's own truth.

Arrays in, structs out: the same function serves a run of four processes and a simulation in one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from edge.transmitter import LEAD_SAMPLES
from server.pipeline import ReceivedFrame
from testbed.air.medium import Medium
from testbed.config import Scenario
from testbed.experiments.run_warnings import run_warnings
from testbed.experiments.scoring import METRICS
from testbed.experiments.sent import Sent
from testbed.experiments.tasks import task_of
from testbed.phy.interleave import deinterleave
from testbed.phy.ofdm import tx_amplitude
from testbed.phy.waveform import Waveform
from testbed.record.schema import AirTruth, Metrics, User

PLOT_SYMBOLS = 20_000
BOUND_STREAM = 7  # spawn key of the bound's noise, apart from the air's own streams


class FrameScore(msgspec.Struct):
    """One user's part of one received frame."""

    time_s: float
    estimated_db: float
    true_db: float


class Measured(msgspec.Struct):
    """Metrics, and what the figures are drawn from."""

    metrics: Metrics
    bounds: dict[tuple[int, int], np.ndarray]  # (user, picture) -> [H, W, 3] uint8, or [classes] logits
    arrays: dict[str, np.ndarray]


def shrink(x_hat: np.ndarray, no_eff: np.ndarray) -> np.ndarray:
    r"""The linear MMSE estimate :math:`\tilde x = \hat x/(1+N_0)` of unit-power symbols: what the decoder goes by."""
    return x_hat / (1.0 + no_eff)


def sinr_db(error_power: float) -> float | None:
    r"""SINR of MMSE estimates, :math:`1/\mathrm{MSE} - 1`.

    The mean of unbiased errors would be ruled by the few elements in the deepest fades, where the decoder hardly
    listens; the mean of MMSE errors is what it works with.
    """
    if not 0.0 < error_power < 1.0:
        return None
    return float(10 * np.log10(1.0 / error_power - 1.0))


def sent_part(sent: Sent, picture: int, part: int, size: int) -> np.ndarray | None:
    """The symbols that a header speaks of, without padding; None if nothing like it was sent."""
    if picture >= len(sent.symbols) or part * size >= len(sent.symbols[picture]):
        return None
    return sent.symbols[picture][part * size : (part + 1) * size]


def data_times(waveform: Waveform, frame: int) -> np.ndarray:
    """Sample indices, without user delay, of the middle of each data symbol of an edge's ``frame``-th frame."""
    start = LEAD_SAMPLES + frame * (waveform.frame_samples + waveform.gap_samples) + waveform.preamble_samples
    middle = waveform.cp_samples + waveform.fft_size / 2
    return start + waveform.data_symbols * waveform.symbol_samples + middle


def single_user_bound(
    sent: Sent, waveform: Waveform, medium: Medium, rng: np.random.Generator
) -> tuple[list[np.ndarray], float]:
    r"""Pictures over the same channel, known exactly, with no other user.

    Model: maximum ratio combining, :math:`N_{0,\mathrm{eff}} = N_0/(E_s\sum_a|h_a|^2)`.

    Returns
    -------
    pictures : list of [H, W, 3] uint8, or of [classes] float32
        As the codecs decode them.
    error_power : float
        Mean MMSE error of unit-power symbols.
    """
    offsets_hz = waveform.subcarriers * waveform.spacing_hz
    energy = tx_amplitude(waveform) ** 2 / medium.truth.noise_variance
    column = medium.truth.users.index(sent.user)
    pictures, errors, count, frame = [], 0.0, 0, 0
    for photograph, symbols, codec in zip(sent.pictures, sent.symbols, sent.codecs, strict=True):
        parts = -(-len(symbols) // waveform.data_elements)
        noise_of = []
        for _ in range(parts):
            h = medium.response(data_times(waveform, frame), offsets_hz)[..., column]
            noise_of.append(1.0 / (energy * np.sum(np.abs(h) ** 2, axis=-1).reshape(-1)))
            frame += 1
        no = np.concatenate(noise_of)[: len(symbols)].astype(np.float32)
        noise = rng.standard_normal((len(symbols), 2), dtype=np.float32) * np.sqrt(no / 2)[:, None]
        received = (symbols + noise[:, 0] + np.complex64(1j) * noise[:, 1]).astype(np.complex64)
        errors += float(np.sum(no / (1.0 + no)))
        count += len(symbols)
        height, width = photograph.pixels.shape[:2]
        pictures.append(codec.decode(deinterleave(received), deinterleave(no), height, width))
    return pictures, errors / max(count, 1)


def measure(
    scenario: Scenario,
    sent: Sequence[Sent],
    frames: Sequence[ReceivedFrame],
    received: Mapping[tuple[int, int], tuple[np.ndarray, float]],
    medium: Medium | None,
) -> Measured:
    """All figures of a run.

    Parameters
    ----------
    scenario : Scenario
    sent : sequence of Sent
        One for each edge whose pictures are known.
    frames : sequence of ReceivedFrame
    received : {(user, picture): (decoded, lost_share)}
        What the server decoded.
    medium : Medium, optional
        The air, made anew from the scenario for its truth; None over real radios, where there is no bound.
    """
    waveform = scenario.waveform
    users: list[User] = []
    bounds: dict[tuple[int, int], np.ndarray] = {}
    arrays: dict[str, np.ndarray] = {}
    scores: dict[int, list[FrameScore]] = {}
    for one in sent:
        user = one.user
        bound, bound_error = None, 0.0
        if medium is not None:
            key = np.random.SeedSequence(scenario.seed, spawn_key=(BOUND_STREAM, user))
            bound, bound_error = single_user_bound(one, waveform, medium, np.random.default_rng(key))
        pictures, figures = METRICS[task_of(scenario).metric](one, received, bound)
        bounds |= {(user, index): decoded for index, decoded in enumerate(bound or [])}
        tx, rx, no, scores[user] = compare_symbols(one, frames, waveform)
        arrays |= plot_symbols(user, tx, rx, no)
        true_error = float(np.mean(np.abs(shrink(rx, no) - tx) ** 2)) if len(tx) else 1.0
        reported = float(np.mean(no / (1.0 + no))) if len(tx) else 1.0
        users.append(
            User(
                user=user,
                node=one.node,
                images=len(pictures),
                evm_percent=100.0 * float(np.sqrt(true_error)) if len(tx) else None,
                sinr_db_estimated=sinr_db(reported),
                sinr_db_true=sinr_db(true_error),
                frames_sent=sum(-(-len(s) // waveform.data_elements) for s in one.symbols),
                frames_detected=len(scores[user]),
                channel_uses=sum(len(s) for s in one.symbols),
                single_user_sinr_db=sinr_db(bound_error),
                pictures=pictures,
                **figures,
            )
        )
    arrays |= plot_frames(frames, scores, waveform)
    warnings = run_warnings(scenario, medium, users)
    return Measured(Metrics(users=users, air=air_truth(scenario, medium, frames), warnings=warnings), bounds, arrays)


def compare_symbols(
    sent: Sent, frames: Sequence[ReceivedFrame], waveform: Waveform
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[FrameScore]]:
    """Data symbols of one user as sent and as detected, their reported noise, and each frame's SINR."""
    tx, rx, no, scores = [], [], [], []
    for frame in frames:
        for part in frame.users:
            header = part.header
            if header is None or part.user != sent.user:
                continue
            truth = sent_part(sent, header.picture, header.part, waveform.data_elements)
            if truth is None:
                continue
            count = len(truth)
            tx.append(truth)
            rx.append(part.symbols[:count] * np.float32(header.scale))
            no.append(part.no_eff[:count] * np.float32(header.scale) ** 2)
            error = float(np.mean(np.abs(shrink(rx[-1], no[-1]) - truth) ** 2))
            reported = float(np.mean(no[-1] / (1.0 + no[-1])))
            nothing = float("nan")
            scores.append(
                FrameScore(
                    frame.first_sample / waveform.sample_rate_hz,
                    nothing if (e := sinr_db(reported)) is None else e,
                    nothing if (t := sinr_db(error)) is None else t,
                )
            )
    if not tx:
        return np.zeros(0, np.complex64), np.zeros(0, np.complex64), np.zeros(0, np.float32), []
    return np.concatenate(tx), np.concatenate(rx), np.concatenate(no), scores


def air_truth(scenario: Scenario, medium: Medium | None, frames: Sequence[ReceivedFrame]) -> AirTruth | None:
    """What the air did beside what the receiver made of it."""
    if medium is None:
        return None
    truth = medium.truth
    return AirTruth(
        snr_db=scenario.air.snr_db,
        common_cfo_hz=truth.common_cfo_hz,
        common_cfo_hz_estimated=float(np.median([f.cfo_hz for f in frames])) if frames else None,
        user_cfo_hz=list(truth.user_cfo_hz),
        user_delay_samples=list(truth.user_delay_samples),
    )


def plot_symbols(user: int, tx: np.ndarray, rx: np.ndarray, no: np.ndarray) -> dict[str, np.ndarray]:
    """An even choice of at most PLOT_SYMBOLS symbols for the constellation."""
    chosen = np.unique(np.linspace(0, len(tx) - 1, min(len(tx), PLOT_SYMBOLS)).astype(int)) if len(tx) else slice(0, 0)
    return {
        f"tx_u{user}": tx[chosen].astype(np.complex64),
        f"rx_u{user}": rx[chosen].astype(np.complex64),
        f"no_eff_u{user}": no[chosen].astype(np.float32),
    }


def plot_frames(
    frames: Sequence[ReceivedFrame], scores: Mapping[int, list[FrameScore]], waveform: Waveform
) -> dict[str, np.ndarray]:
    """Channel magnitude at the pilots, and SINR frame by frame."""
    if not frames:
        return {}
    rate = waveform.sample_rate_hz
    pilot_time = (waveform.preamble_samples + waveform.pilot_symbols * waveform.symbol_samples) / rate
    # Several pilots of a frame would make the picture wide, not richer: at 5 Hz of Doppler a frame hardly changes.
    picked = np.unique(np.linspace(0, len(waveform.pilot_symbols) - 1, 3).astype(int))
    channel = np.concatenate([f.channel[picked] for f in frames])
    times = np.concatenate([f.first_sample / rate + pilot_time[picked] for f in frames])
    amplitude = tx_amplitude(waveform)
    arrays = {
        "channel_db": (20 * np.log10(np.abs(channel) / amplitude + 1e-6)).astype(np.float32),
        "channel_time_s": times,
        "channel_freq_hz": waveform.subcarriers * waveform.spacing_hz,
    }
    order = sorted(scores)
    stamps = sorted({s.time_s for u in order for s in scores[u]})
    if stamps:
        estimated = np.full((len(stamps), len(order)), np.nan)
        true = np.full((len(stamps), len(order)), np.nan)
        for column, user in enumerate(order):
            for score in scores[user]:
                row = stamps.index(score.time_s)
                estimated[row, column], true[row, column] = score.estimated_db, score.true_db
        arrays |= {"sinr_est_db": estimated, "sinr_true_db": true, "frame_time_s": np.array(stamps)}
    return arrays
