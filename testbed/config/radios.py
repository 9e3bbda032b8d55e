"""What is not ideal about the radios of an emulated air: oscillators and front ends. What is left out is ideal."""

from __future__ import annotations

import itertools
import re

from testbed.config.strict import NODE_NAME, Strict, check

MAX_CHAINS = 16  # antennas of one radio


class Oscillator(Strict, frozen=True):
    """One reference for the LO *and* the sample clock of a radio.

    Positive ``ppm``: both are higher than nominal by ``ppm * 1e-6``.
    """

    ppm: float = 0.0  # at nominal time 0
    drift_ppm_per_min: float = 0.0  # linear, over nominal time
    linewidth_hz: float = 0.0  # of the LO, whatever its frequency: Wiener phase noise, full width at -3 dB
    start_s: float = 0.0  # nominal time at which the radio's own sample 0 falls
    phase_deg: float = 0.0  # of the LO as it starts

    def __post_init__(self) -> None:
        key = "air.radios.oscillator"
        check(abs(self.ppm) <= 100, f"{key}.ppm", self.ppm, "-100..100")
        drift = self.drift_ppm_per_min
        check(abs(drift) <= 10, f"{key}.drift_ppm_per_min", drift, "-10..10")
        check(0 <= self.linewidth_hz <= 1000, f"{key}.linewidth_hz", self.linewidth_hz, "0..1000")
        check(0 <= self.start_s <= 3600, f"{key}.start_s", self.start_s, "0..3600")
        check(abs(self.phase_deg) <= 360, f"{key}.phase_deg", self.phase_deg, "-360..360")


class FrontEnd(Strict, frozen=True):
    """What lies between converters and antennas. Levels are dBm at the antenna and dBFS at the converter."""

    rx_iq_gain_db: float = 0.0  # amplitude of I over Q
    rx_iq_phase_deg: float = 0.0  # by which Q leans towards I
    tx_iq_gain_db: float = 0.0
    tx_iq_phase_deg: float = 0.0
    rx_dc_dbfs: float | None = None  # |offset| at the converter, whatever the gain; None: none
    rx_dc_phase_deg: float = 0.0
    tx_leakage_dbfs: float | None = None  # |LO leakage| under full scale at the gain in force; None: none
    tx_leakage_phase_deg: float = 0.0
    rx_gain_error_db: list[tuple[float, float]] = []  # (gain setting, error), linear between, constant beyond
    tx_gain_error_db: list[tuple[float, float]] = []
    rx_chain_gain_db: list[float] = []  # one for each antenna; those left out are 0
    rx_chain_phase_deg: list[float] = []
    tx_chain_gain_db: list[float] = []
    tx_chain_phase_deg: list[float] = []
    tx_delay_samples: float = 0.0  # from the converter to the antenna, in samples of the radio's own clock
    rx_delay_samples: float = 0.0
    p1db_dbm: float | None = None  # output power at 1 dB of compression, at the transmit antenna; None: linear
    rapp_smoothness: float = 2.0
    bits: int | None = None  # of both converters; None: not quantised
    noise_figure_db: float | None = None  # of the receiver, at 290 K; None: the noise of air.snr_db alone

    def __post_init__(self) -> None:
        for name in ("rx_iq", "tx_iq"):
            self._within(f"{name}_gain_db", 6.0)
            self._within(f"{name}_phase_deg", 45.0)
        for name in ("rx_dc", "tx_leakage"):
            level = getattr(self, f"{name}_dbfs")
            self._check(level is None or -150 <= level <= 0, f"{name}_dbfs", "-150..0")
            self._within(f"{name}_phase_deg", 360.0)
        for name in ("rx_gain_error_db", "tx_gain_error_db"):
            pairs = getattr(self, name)
            rising = all(a[0] < b[0] for a, b in itertools.pairwise(pairs))
            small = all(abs(setting) <= 100 and abs(error) <= 20 for setting, error in pairs)
            self._check(rising and small, name, "[setting, error] pairs, settings rising in -100..100, errors -20..20")
        for name, limit in (("gain_db", 20), ("phase_deg", 360)):
            for side in ("rx", "tx"):
                values = getattr(self, f"{side}_chain_{name}")
                small = len(values) <= MAX_CHAINS and all(abs(v) <= limit for v in values)
                self._check(small, f"{side}_chain_{name}", f"up to {MAX_CHAINS} values in -{limit}..{limit}")
        for name in ("tx_delay_samples", "rx_delay_samples"):
            self._check(0 <= getattr(self, name) <= 4096, name, "0..4096")
        self._check(self.p1db_dbm is None or -60 <= self.p1db_dbm <= 40, "p1db_dbm", "-60..40")
        self._check(0.5 <= self.rapp_smoothness <= 20, "rapp_smoothness", "0.5..20")
        self._check(self.bits is None or 4 <= self.bits <= 16, "bits", "4..16")
        figure = self.noise_figure_db
        self._check(figure is None or 0 <= figure <= 60, "noise_figure_db", "0..60")

    def _check(self, ok: bool, name: str, allowed: str) -> None:
        check(ok, f"air.radios.front_end.{name}", getattr(self, name), allowed)

    def _within(self, name: str, limit: float) -> None:
        self._check(abs(getattr(self, name)) <= limit, name, f"-{limit:g}..{limit:g}")


class RadioModel(Strict, frozen=True):
    """The radio of one node: an edge or the server."""

    name: str
    oscillator: Oscillator = Oscillator()
    front_end: FrontEnd = FrontEnd()

    def __post_init__(self) -> None:
        plain = re.fullmatch(NODE_NAME, self.name) is not None
        check(plain, "air.radios.name", self.name, "the name of an edge or of the server")
