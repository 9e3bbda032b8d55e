"""The waveform: its numbers and where everything lies in a frame. No signal is made here."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from testbed.errors import ScenarioError

HEADER_MARK_BITS = 96  # of a frame header: what tells the frame's number, see testbed.phy.header_code
HEADER_CODE_BITS = 512  # its polar code, repeated where there is room
PREAMBLE_PERIODS = 2  # two equal periods behind one long prefix: detection, timing and carrier offset

PROFILES: dict[str, dict[str, float | int]] = {
    # What a 2R2T Pluto carries over USB 2. 72 subcarriers of 15 kHz: LTE 1.4 MHz, TS 36.101 table 5.6-1.
    "ota": {"sample_rate_hz": 1.92e6, "fft_size": 128, "occupied_subcarriers": 72, "cp_samples": 16},
    # Loopback and 1R1T: the same spacing, twice the band.
    "wide": {"sample_rate_hz": 3.84e6, "fft_size": 256, "occupied_subcarriers": 144, "cp_samples": 32},
}

AS_PROFILE: Any = msgspec.UNSET  # a number left out: the profile's


class Waveform(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """An OFDM frame: a preamble, then ``body_symbols`` symbols of pilots, header and analogue data.

    Rate, sizes and prefix are those of the profile unless given, from a scenario as from Python.

    Grids are ``[..., symbol, subcarrier]``; the subcarrier axis runs from the lowest to the highest occupied
    frequency, without DC.
    """

    profile: str = "ota"
    sample_rate_hz: float = AS_PROFILE
    fft_size: int = AS_PROFILE
    occupied_subcarriers: int = AS_PROFILE  # even, half on each side of DC, which stays empty
    cp_samples: int = AS_PROFILE
    body_symbols: int = 99
    pilot_spacing_symbols: int = 7  # 525 us at 15 kHz spacing: user offsets up to +-950 Hz are unambiguous
    header_symbols: int = 6
    pilot_slots: int = 2  # users whose pilots are orthogonal (interleaved combs)
    gap_samples: int = 432  # silence between frames
    rms_dbfs: float = -12.0  # of the frame body; the limiter clips at full scale and counts

    def __post_init__(self) -> None:
        def need(ok: bool, key: str, allowed: str) -> None:
            if not ok:
                raise ScenarioError(f"waveform.{key} = {getattr(self, key)}: {allowed}")

        need(self.profile in PROFILES, "profile", f"allowed: {', '.join(PROFILES)}")
        for key, value in PROFILES[self.profile].items():
            if getattr(self, key) is AS_PROFILE:
                msgspec.structs.force_setattr(self, key, value)
        need(1e5 <= self.sample_rate_hz <= 1e8, "sample_rate_hz", "must lie between 1e5 and 1e8")
        need(16 <= self.fft_size <= 2048 and self.fft_size % 2 == 0, "fft_size", "must be even and 16..2048")
        need(
            0 < self.occupied_subcarriers < self.fft_size and self.occupied_subcarriers % 2 == 0,
            "occupied_subcarriers",
            f"must be even, positive and below fft_size = {self.fft_size}",
        )
        need(0 < self.cp_samples <= self.fft_size // 2, "cp_samples", "must be positive and at most fft_size / 2")
        need(self.pilot_spacing_symbols >= 2, "pilot_spacing_symbols", "must be at least 2")
        need(self.header_symbols >= 1, "header_symbols", "must be at least 1")
        need(
            self.body_symbols > self.header_symbols + 2 and (self.body_symbols - 1) % self.pilot_spacing_symbols == 0,
            "body_symbols",
            f"must exceed header_symbols + 2 and be 1 more than a multiple of pilot_spacing_symbols = "
            f"{self.pilot_spacing_symbols}, so that pilots open and close the body",
        )
        need(
            self.pilot_slots >= 1 and self.occupied_subcarriers % self.pilot_slots == 0,
            "pilot_slots",
            f"must be positive and divide occupied_subcarriers = {self.occupied_subcarriers}",
        )
        places = 2 * self.header_symbols * self.occupied_subcarriers
        need(
            places >= HEADER_MARK_BITS + HEADER_CODE_BITS,
            "header_symbols",
            f"offers {places} bits, a header takes {HEADER_MARK_BITS + HEADER_CODE_BITS}: raise it or "
            "occupied_subcarriers",
        )
        need(self.body_symbols <= 10_000, "body_symbols", "must not exceed 10000")
        need(0 <= self.gap_samples <= 10_000_000, "gap_samples", "must lie between 0 and 10000000")
        need(-60.0 <= self.rms_dbfs <= -3.0, "rms_dbfs", "must lie between -60 and -3")

    @property
    def spacing_hz(self) -> float:
        """Subcarrier spacing."""
        return self.sample_rate_hz / self.fft_size

    @property
    def symbol_samples(self) -> int:
        """Samples of one OFDM symbol with its prefix."""
        return self.fft_size + self.cp_samples

    @property
    def preamble_samples(self) -> int:
        """Samples of the preamble: a prefix of two ordinary prefixes, then two equal periods."""
        return PREAMBLE_PERIODS * self.symbol_samples

    @property
    def frame_samples(self) -> int:
        """Samples of a frame, without the gap after it."""
        return self.preamble_samples + self.body_symbols * self.symbol_samples

    @cached_property
    def subcarriers(self) -> np.ndarray:
        """[occupied] int: signed subcarrier numbers, lowest frequency first, 0 left out."""
        half = self.occupied_subcarriers // 2
        return np.concatenate([np.arange(-half, 0), np.arange(1, half + 1)])

    @cached_property
    def pilot_symbols(self) -> np.ndarray:
        """Body symbols that carry pilots: 0, spacing, 2 spacing, ... up to the last."""
        return np.arange(0, self.body_symbols, self.pilot_spacing_symbols)

    @cached_property
    def header_symbol_indices(self) -> np.ndarray:
        """Body symbols of the header: the first that carry no pilots."""
        return np.setdiff1d(np.arange(self.body_symbols), self.pilot_symbols)[: self.header_symbols]

    @cached_property
    def data_symbols(self) -> np.ndarray:
        """Body symbols of analogue data: all the rest."""
        return np.setdiff1d(np.arange(self.body_symbols), self.pilot_symbols)[self.header_symbols :]

    @property
    def data_elements(self) -> int:
        """Resource elements of data in a frame, so complex channel uses of one user."""
        return len(self.data_symbols) * self.occupied_subcarriers

    @property
    def frame_period_samples(self) -> int:
        """Samples from the beginning of a frame to that of the next."""
        return self.frame_samples + self.gap_samples

    def frames_for(self, symbols: int) -> int:
        """Frames that so many complex symbols take."""
        return -(-symbols // self.data_elements)
