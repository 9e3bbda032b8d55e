"""A small independent channel for the receiver's tests: taps as sums of sinusoids, on grids and on samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from server.detection import lmmse
from testbed.phy import ofdm
from testbed.phy.frame import build_frame, read_data
from testbed.phy.header import Header
from testbed.phy.waveform import Waveform


@dataclass
class Paths:
    """Channel of one user: delays in samples, one gain per antenna and path at any time, an offset."""

    delays: np.ndarray  # [L]
    amplitudes: np.ndarray  # [A, L, M] complex
    dopplers_hz: np.ndarray  # [A, L, M]
    cfo_hz: float

    def gains(self, seconds: np.ndarray) -> np.ndarray:
        """[A, L, n] complex, the user's offset included."""
        turns = self.dopplers_hz[..., None] * seconds
        fading = np.sum(self.amplitudes[..., None] * np.exp(2j * np.pi * turns), axis=2)
        return fading * np.exp(2j * np.pi * self.cfo_hz * seconds)

    def response(self, waveform: Waveform, first_sample: float) -> np.ndarray:
        """[S, F, A]: for FFT windows whose prefix begins at sample ``first_sample`` of the stream.

        Delays count from the stream's sample 0, where the body is taken to begin at ``first_sample`` without a channel.
        """
        starts = first_sample + waveform.cp_samples + np.arange(waveform.body_symbols) * waveform.symbol_samples
        middles = (starts + (waveform.fft_size - 1) / 2) / waveform.sample_rate_hz
        slopes = np.exp(-2j * np.pi * waveform.subcarriers[:, None] * self.delays / waveform.fft_size)
        return np.einsum("als,fl->sfa", self.gains(middles), slopes)

    def apply(self, samples: np.ndarray, waveform: Waveform) -> np.ndarray:
        """[A, n]: delays as phase ramps over the whole stream, so band-limited and exact up to its wrap."""
        spectrum = np.fft.fft(samples)
        frequency = np.fft.fftfreq(len(samples))
        delayed = np.stack([np.fft.ifft(spectrum * np.exp(-2j * np.pi * frequency * d)) for d in self.delays])
        gains = self.gains(np.arange(len(samples)) / waveform.sample_rate_hz)
        return np.einsum("aln,ln->an", gains, delayed)


def draw_paths(
    rng: np.random.Generator, antennas: int, *, delay: float, spread: float, doppler_hz: float, cfo_hz: float
) -> Paths:
    """Four Rayleigh paths within ``spread`` samples behind ``delay``; E|h|^2 = 1; Jakes' spectrum of 16 sinusoids."""
    paths, sinusoids = (4, 16) if spread > 0 else (1, 16)
    delays = delay + spread * np.linspace(0, 1, paths)
    power = np.exp(-2 * np.linspace(0, 1, paths))
    power /= power.sum()
    angles = rng.uniform(0, 2 * np.pi, (antennas, paths, sinusoids))
    phases = rng.standard_normal((antennas, paths, sinusoids, 2)) @ np.array([1, 1j])
    amplitudes = phases * np.sqrt(power[:, None] / (2 * sinusoids))
    return Paths(delays, amplitudes, doppler_hz * np.cos(angles), cfo_hz)


def complex_noise(rng: np.random.Generator, shape: tuple[int, ...], variance: float) -> np.ndarray:
    """Circular Gaussian."""
    return (rng.standard_normal((*shape, 2)) @ np.array([1, 1j])) * np.sqrt(variance / 2)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def make_paths():
    return draw_paths


@pytest.fixture
def noise():
    return complex_noise


@dataclass
class Scene:
    """A received stream, and all that is true of it."""

    samples: np.ndarray  # [A, n]
    data: dict[int, list[np.ndarray]]  # what each user sent in each frame
    paths: list[Paths]
    starts: list[int]  # of the frames, without a channel
    common_cfo_hz: float
    no: float


LEAD = 1000
PICTURE = {"picture": 0, "codec": 1, "codec_hash": 5, "height": 32, "width": 32, "scale": 1.0}


def draw_scene(
    rng: np.random.Generator,
    waveform: Waveform,
    *,
    antennas: int = 2,
    frames: int = 1,
    snr_db: float = 20.0,
    delays: tuple[float, ...] = (0.3, 7.8),
    cfos_hz: tuple[float, ...] = (90.0, -95.0),
    spread: float = 2.0,
    doppler_hz: float = 5.0,
    common_cfo_hz: float = 12_345.0,
    analogue: bool = False,
    awgn: bool = False,
    lead: int = LEAD,
) -> Scene:
    """As many users as there are delays, numbered from 0, with frames at the same times; all of it in float64."""
    step = waveform.frame_samples + waveform.gap_samples
    starts = [lead + step * f for f in range(frames)]
    received = np.zeros((antennas, starts[-1] + step + 200), dtype=complex)
    data: dict[int, list[np.ndarray]] = {}
    paths = []
    for user, (delay, cfo_hz) in enumerate(zip(delays, cfos_hz, strict=True)):
        sent = np.zeros(received.shape[1], dtype=complex)
        data[user] = []
        for f, start in enumerate(starts):
            if analogue:
                x = complex_noise(rng, (waveform.data_elements,), 1.0)
            else:
                x = rng.choice([-1, 1], (waveform.data_elements, 2)) @ np.array([1, 1j]) / np.sqrt(2)
            header = Header(user=user, frame=f, part=f, k=frames * waveform.data_elements, **PICTURE)
            sent[start : start + waveform.frame_samples], _ = build_frame(header, x.astype(np.complex64), waveform)
            data[user].append(x)
        if awgn:
            path = Paths(np.array([delay]), np.ones((antennas, 1, 1)), np.zeros((antennas, 1, 1)), cfo_hz)
        else:
            path = draw_paths(rng, antennas, delay=delay, spread=spread, doppler_hz=doppler_hz, cfo_hz=cfo_hz)
        paths.append(path)
        received += path.apply(sent, waveform)
    turns = np.exp(2j * np.pi * common_cfo_hz / waveform.sample_rate_hz * np.arange(received.shape[1]))
    no = ofdm.tx_amplitude(waveform) ** 2 * 10 ** (-snr_db / 10)
    received = received * turns + complex_noise(rng, received.shape, no)
    return Scene(received.astype(np.complex64), data, paths, starts, common_cfo_hz, no)


def genie(scene: Scene, waveform: Waveform, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """[U, data] symbols and effective noise with everything known: common offset, channel and its time, noise."""
    n = np.arange(scene.samples.shape[1])
    level = scene.samples * np.exp(-2j * np.pi * scene.common_cfo_hz / waveform.sample_rate_hz * n)
    body = scene.starts[frame] + waveform.preamble_samples
    grid = ofdm.demodulate(level.astype(np.complex64), waveform, waveform.body_symbols, body)
    h = np.stack([path.response(waveform, body) for path in scene.paths], axis=-1) * ofdm.tx_amplitude(waveform)
    x_hat, no_eff = lmmse(np.moveaxis(grid, 0, -1), h, scene.no)
    return read_data(np.moveaxis(x_hat, -1, 0), waveform), read_data(np.moveaxis(no_eff, -1, 0), waveform)


@pytest.fixture
def make_scene():
    return draw_scene


@pytest.fixture
def know_all():
    return genie
