"""Frames with a known channel, received through the real chain, to measure channel estimators on. No figure here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from server.estimation import ChannelEstimate
from server.estimation.priors import comb_bases
from server.estimation.profiles import Axis, delay_axis, doppler_axis, observe, wiener
from testbed.air.medium import Medium
from testbed.channels.registry import find_channel
from testbed.config import Air
from testbed.phy import ofdm, sync
from testbed.phy.frame import build_frame
from testbed.phy.header import Header
from testbed.phy.waveform import Waveform
from testbed.units import db_to_power

LEAD_SAMPLES = 1200
QUIET_DB = 80.0  # the medium's own noise; that of each SNR is added to one and the same received frame
DELAY_SPREADS_S = (
    30e-9,
    400e-9,
)  # drawn log-uniform; at 400 ns and a delay of cp/2 all of TDL-A still is in the prefix
DOPPLERS_HZ = (0.0, 100.0)  # drawn uniform
JAKES_POINTS = 64  # Doppler shifts that stand for the spectrum where it is known
PICTURE: dict[str, Any] = {
    "frame": 0,
    "picture": 0,
    "part": 0,
    "codec": 1,
    "codec_hash": 0,
    "height": 32,
    "width": 32,
    "k": 1,
    "scale": 1.0,
}
TRIAL, NOISE = 11, 12  # spawn keys of the seed's streams


class Trial(msgspec.Struct):
    """One received frame at one SNR.

    Attributes
    ----------
    grid : [A, S, F] complex64
        Common offset removed, as `server.pipeline` would have it.
    h : [S, F, A, U] complex64
        The true channel of this grid.
    """

    snr_db: float
    grid: np.ndarray
    h: np.ndarray
    delays: list[np.ndarray]  # of each user's paths, samples behind the FFT window
    powers: np.ndarray  # of the paths, in units of the grid
    doppler_hz: float
    offsets_hz: np.ndarray  # of each user, left in the grid


def trials(
    waveform: Waveform,
    channel: str,
    snr_db: list[float],
    seed: int,
    antennas: int = 2,
    spread_s: float | None = None,
    doppler_hz: float | None = None,
    symbols: Sequence[np.ndarray] = (),
) -> Iterator[Trial]:
    """One realisation of a channel, received at each SNR.

    The air, the frames, the receiver's offset and window are those of a run; only where the frame begins is told.
    Delay spread and Doppler are drawn from the ranges above unless given, offsets and delays as `Medium` draws them.
    User u sends ``symbols[u]``, [k] complex64 with k at most the frame's data elements, and Gaussian ones behind.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(TRIAL,)))
    low, high = np.log(DELAY_SPREADS_S)
    spread_s = float(np.exp(rng.uniform(low, high))) if spread_s is None else spread_s
    doppler_hz = float(rng.uniform(*DOPPLERS_HZ)) if doppler_hz is None else doppler_hz
    model = find_channel(channel)
    if not model.fades:
        spread_s = doppler_hz = 0.0
    air = Air(snr_db=QUIET_DB, channel=channel, delay_spread_s=spread_s, doppler_hz=doppler_hz)
    users = list(range(waveform.pilot_slots))
    medium = Medium(waveform, air, users, antennas, seed)
    begun = int(rng.integers(0, 2**24))  # when in the medium's life the frame is sent
    total = LEAD_SAMPLES + waveform.frame_samples + medium.tail_samples + 4 * waveform.cp_samples
    sent = np.zeros((len(users), total), np.complex64)
    for user in users:
        data = rng.standard_normal((waveform.data_elements, 2)) @ np.array([1, 1j]) / np.sqrt(2)
        if user < len(symbols):
            data[: len(symbols[user])] = symbols[user]
        samples, _ = build_frame(Header(user=user, **PICTURE), data.astype(np.complex64), waveform)
        sent[user, LEAD_SAMPLES : LEAD_SAMPLES + waveform.frame_samples] = samples
    clean = medium.mix(sent, begun)
    delays, powers = model.profile()
    responses: dict[int, np.ndarray] = {}  # by the window's shift, which differs little from one SNR to the next
    for index, snr in enumerate(snr_db):
        draw = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(NOISE, index)))
        no = ofdm.tx_amplitude(waveform) ** 2 / db_to_power(snr)
        noise = draw.standard_normal((*clean.shape, 2), np.float32) @ np.array([1, 1j], np.complex64)
        grid, shift, cfo_hz, start = synchronised(clean + np.complex64(np.sqrt(no / 2)) * noise, medium)
        middles = window_middles(waveform, shift)
        if shift not in responses:
            responses[shift] = medium.response(begun + middles)
        yield Trial(
            snr_db=snr,
            grid=grid,
            h=truth(responses[shift], medium, begun + middles, middles - start, shift, cfo_hz),
            delays=[
                delays * spread_s * waveform.sample_rate_hz + medium.truth.latency_samples + d - shift
                for d in medium.truth.user_delay_samples
            ],
            powers=powers * ofdm.tx_amplitude(waveform) ** 2,
            doppler_hz=doppler_hz,
            offsets_hz=np.array(medium.truth.user_cfo_hz) + medium.truth.common_cfo_hz - cfo_hz,
        )


def synchronised(samples: np.ndarray, medium: Medium) -> tuple[np.ndarray, int, float, int]:
    """Body grid, samples by which its windows stand behind the transmitter's, common offset removed, first sample."""
    waveform = medium.waveform
    start = LEAD_SAMPLES + medium.truth.latency_samples
    samples = samples[:, start:]
    hypotheses = sync.cfo_hypotheses(waveform, 26e3)
    coarse = float(hypotheses[np.argmin(np.abs(hypotheses - medium.truth.common_cfo_hz))])
    cfo_hz = sync.estimate_cfo(samples, waveform, coarse)
    offset = sync.window_offset(sync.estimate_arrivals(samples, waveform, cfo_hz), waveform)
    level = sync.derotate(samples, cfo_hz, waveform)
    grid = ofdm.demodulate(level, waveform, waveform.body_symbols, waveform.preamble_samples + offset)
    return grid, medium.truth.latency_samples + offset, cfo_hz, start


def window_middles(waveform: Waveform, shift: int) -> np.ndarray:
    """[S] float64: centres of the body's FFT windows, in samples from the first that was sent."""
    first = LEAD_SAMPLES + shift + waveform.preamble_samples + waveform.cp_samples
    return first + np.arange(waveform.body_symbols) * waveform.symbol_samples + (waveform.fft_size - 1) / 2


def truth(
    response: np.ndarray, medium: Medium, at: np.ndarray, since: np.ndarray, shift: int, cfo_hz: float
) -> np.ndarray:
    """[S, F, A, U] complex64: the channel that the grid of `synchronised` shows, from the medium's closed form.

    ``at`` counts in the medium's samples, ``since`` from where the receiver's phase begins.
    """
    waveform = medium.waveform
    turns = (medium.truth.common_cfo_hz * at - cfo_hz * since) / waveform.sample_rate_hz
    turn = np.exp(2j * np.pi * np.mod(turns, 1.0))
    slope = np.exp(2j * np.pi * waveform.subcarriers * shift / waveform.fft_size)
    h = response * (turn[:, None] * slope)[..., None, None]
    return (ofdm.tx_amplitude(waveform) * h).astype(np.complex64)


def lmmse_true(trial: Trial, waveform: Waveform) -> ChannelEstimate:
    """LMMSE under the true profiles of this realisation: delays, powers, Doppler spectrum; the bound of the figure.

    Noise and offsets are estimated from the frame, as for all others. All taps have Jakes' spectrum here: on TDL-D,
    TDL-E and two-ray, whose paths have Doppler lines of their own, it is not the bound.

    Parameters
    ----------
    trial : Trial
    waveform : Waveform

    Returns
    -------
    ChannelEstimate
    """
    bases = np.eye(len(waveform.pilot_symbols)), comb_bases(waveform)
    seen = observe(trial.grid, waveform, bases)
    stacked = [delay_axis(waveform, bases[1], d) for d in trial.delays]
    delay = Axis(
        pilots=np.stack([axis.pilots[user] for user, axis in enumerate(stacked)]),
        points=np.concatenate([axis.points for axis in stacked]),
    )
    shifts = trial.doppler_hz * np.cos(np.pi * (np.arange(JAKES_POINTS) + 0.5) / JAKES_POINTS)
    lines = [doppler_axis(waveform, bases[0], shifts + f) for f in trial.offsets_hz - seen.user_cfo_hz]
    doppler = Axis(
        pilots=np.concatenate([axis.pilots for axis in lines]), points=np.concatenate([axis.points for axis in lines])
    )
    power = np.repeat(trial.powers[None] / seen.noise, len(lines), axis=0)
    share = np.full((len(lines), JAKES_POINTS), 1 / JAKES_POINTS)
    return wiener(seen, waveform, delay, power, doppler, share)
