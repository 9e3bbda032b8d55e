"""Training examples: pilots of one user over the air's channels, as the receiver's synchronisation leaves them."""

from __future__ import annotations

import msgspec
import numpy as np

from server.estimation.ls import user_cfo
from server.estimation.profiles import grid_of
from server.estimation.subspaces import symbol_seconds
from testbed.channels.base import Place, TappedDelayLine
from testbed.channels.registry import find_channel
from testbed.phy.pilots import pilot_comb
from testbed.phy.waveform import Waveform
from testbed.units import db_to_power, power_to_db

CHANNELS = ("TDL-A", "TDL-B", "TDL-C")  # drawn alike
ANTENNAS = (2, 1, 2, 4)  # of consecutive blocks: two is what a Pluto has
LOSS_SYMBOLS = 8  # pilot symbols and
LOSS_SUBCARRIERS = 24  # subcarriers at which the error is taken, from the first to the last
ARRIVALS_BELOW_PEAK_DB = 25.0  # as `testbed.phy.fine_sync` finds them
WINDOW_JITTER = 0.7  # samples; how far the found middle of all arrivals lies from the true one, rms
EXAMPLES = 21  # spawn key


class Ranges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is drawn, uniform unless said otherwise."""

    delay_spread_s: tuple[float, float] = (20e-9, 450e-9)  # log-uniform
    doppler_hz: tuple[float, float] = (0.0, 100.0)  # the root of its place in the range is uniform: low ones often
    cfo_hz: tuple[float, float] = (-200.0, 200.0)  # two users' difference, and what synchronisation leaves
    snr_db: tuple[float, float] = (-8.0, 28.0)
    far_share: float = 0.1  # of examples: half down to ``far_db[0]``, so an absent user, half up to ``far_db[1]``
    far_db: tuple[float, float] = (-30.0, 45.0)


class Block(msgspec.Struct, frozen=True):
    """Examples with one number of antennas; everything in units of the noise of a least-squares estimate."""

    c: np.ndarray  # [B, A, I, J] complex64, as `server.estimation.profiles.Observation`
    h: np.ndarray  # [B, A, LOSS_SYMBOLS, LOSS_SUBCARRIERS] complex64: the channel, its offset's estimate removed
    user: np.ndarray  # [B] int64
    snr_db: np.ndarray  # [B] float32


def loss_points(waveform: Waveform) -> tuple[np.ndarray, np.ndarray]:
    """Indices of body symbols and of subcarriers at which the error is taken."""
    pilots = waveform.pilot_symbols
    symbols = pilots[np.round(np.linspace(0, len(pilots) - 1, min(LOSS_SYMBOLS, len(pilots)))).astype(int)]
    edge = waveform.occupied_subcarriers - 1
    return symbols, np.round(np.linspace(0, edge, LOSS_SUBCARRIERS)).astype(int)


def draw_block(waveform: Waveform, ranges: Ranges, size: int, seed: int, index: int) -> Block:
    """The ``index``-th block: the same for the same seed, whatever was drawn before.

    Parameters
    ----------
    waveform : Waveform
    ranges : Ranges
    size : int
        Examples.
    seed, index : int

    Returns
    -------
    Block
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(EXAMPLES, index)))
    antennas = ANTENNAS[index % len(ANTENNAS)]
    drawn = [draw_example(waveform, ranges, antennas, rng) for _ in range(size)]
    c, h, user, snr_db = zip(*drawn, strict=True)
    return Block(np.stack(c), np.stack(h), np.array(user), np.array(snr_db, np.float32))


def draw_example(
    waveform: Waveform, ranges: Ranges, antennas: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int, float]:
    """One user's frame, noise and all.

    Parameters
    ----------
    waveform : Waveform
    ranges : Ranges
    antennas : int
    rng : numpy.random.Generator

    Returns
    -------
    c : [A, I, J] complex64
        Its coefficients.
    h : [A, symbols, subcarriers] complex64
        Its channel at `loss_points`.
    user : int
    snr_db : float
    """
    grid = grid_of(waveform)
    user = int(rng.integers(waveform.pilot_slots))
    channel, spread_s, doppler_hz = draw_line(ranges, rng)
    places = [Place(antenna, user, antennas) for antenna in range(antennas)]
    paths = [find_channel(channel).draw(spread_s, doppler_hz, place, rng) for place in places]
    name, other_spread_s, _ = draw_line(ranges, rng)
    other = find_channel(name).draw(other_spread_s, 0.0, places[0], rng)
    rate = waveform.sample_rate_hz
    own_delay, other_delay = rng.uniform(0, waveform.cp_samples / 2, 2)
    arrivals = np.concatenate([significant(paths[0], rate) + own_delay, significant(other, rate) + other_delay])
    middle = (arrivals.min() + arrivals.max()) / 2 + WINDOW_JITTER * rng.standard_normal()
    delays = paths[0].delays_s * rate + own_delay - round(middle - waveform.cp_samples / 2)
    steering = np.exp(-2j * np.pi / waveform.fft_size * np.outer(delays, waveform.subcarriers))

    seconds = symbol_seconds(waveform)[waveform.pilot_symbols]
    offset = np.exp(2j * np.pi * rng.uniform(*ranges.cfo_hz) * seconds)
    snr_db = draw_snr_db(ranges, rng)
    amplitude = np.sqrt(db_to_power(snr_db) * waveform.pilot_slots)
    h = amplitude * np.stack([(line.gains(seconds) * offset).T @ steering for line in paths])  # [A, P, F]
    comb = pilot_comb(waveform, user)
    noise = rng.standard_normal((antennas, len(seconds), len(comb), 2)) @ np.array([1, 1j]) / np.sqrt(2)
    taps = (h[:, :, comb] + noise) @ grid.v_frequency[user]  # [A, P, J]
    turn = np.exp(-2j * np.pi * user_cfo(taps[:, None], waveform)[0] * seconds)
    c = grid.v_time.T @ (turn[:, None] * taps)
    symbols, subcarriers = loss_points(waveform)
    rows = np.searchsorted(waveform.pilot_symbols, symbols)
    wanted = (turn[:, None] * h)[:, rows][:, :, subcarriers]
    return c.astype(np.complex64), wanted.astype(np.complex64), user, snr_db


def draw_line(ranges: Ranges, rng: np.random.Generator) -> tuple[str, float, float]:
    """A channel of an example.

    Parameters
    ----------
    ranges : Ranges
    rng : numpy.random.Generator

    Returns
    -------
    name : str
    delay_spread_s, doppler_hz : float
    """
    low, high = np.log(ranges.delay_spread_s)
    name = CHANNELS[int(rng.integers(len(CHANNELS)))]
    least, most = ranges.doppler_hz
    return name, float(np.exp(rng.uniform(low, high))), float(least + (most - least) * rng.uniform() ** 2)


def draw_snr_db(ranges: Ranges, rng: np.random.Generator) -> float:
    """SNR of an example.

    Parameters
    ----------
    ranges : Ranges
    rng : numpy.random.Generator

    Returns
    -------
    float
        In dB.
    """
    low, high = ranges.snr_db
    kind = rng.uniform()
    if kind < ranges.far_share / 2:
        low, high = ranges.far_db[0], low
    elif kind < ranges.far_share:
        low, high = high, ranges.far_db[1]
    return float(rng.uniform(low, high))


def significant(line: TappedDelayLine, sample_rate_hz: float) -> np.ndarray:
    """Delays of the taps that the receiver's window is laid by.

    Parameters
    ----------
    line : TappedDelayLine
    sample_rate_hz : float

    Returns
    -------
    [taps] float64
        In samples.
    """
    power_db = power_to_db(line.powers)
    return line.delays_s[power_db > power_db.max() - ARRIVALS_BELOW_PEAK_DB] * sample_rate_hz
