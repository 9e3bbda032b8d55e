"""The emulated medium of a scenario: what lies on its links."""

from __future__ import annotations

from testbed.channels.registry import find_channel
from testbed.config.radios import RadioModel
from testbed.config.strict import Strict, check

PACES = ("lockstep", "realtime")


def check_channel(key: str, channel: str, delay_spread_s: float, doppler_hz: float) -> None:
    """Raise ScenarioError for a channel that no link can have."""
    find_channel(channel, f"{key}.channel")
    check(0 <= delay_spread_s <= 1e-5, f"{key}.delay_spread_s", delay_spread_s, "0..1e-5")
    check(0 <= doppler_hz <= 2000, f"{key}.doppler_hz", doppler_hz, "0..2000")


def check_gain(key: str, gain_db: float | None, path_loss_db: float | None) -> None:
    """Raise ScenarioError for a gain that no link can have, or for two."""
    both = gain_db is not None and path_loss_db is not None
    check(not both, key, f"gain_db {gain_db}, path_loss_db {path_loss_db}", "one of the two")
    check(gain_db is None or -100 <= gain_db <= 40, f"{key}.gain_db", gain_db, "-100..40")
    check(path_loss_db is None or -10 <= path_loss_db <= 130, f"{key}.path_loss_db", path_loss_db, "-10..130")


class AirLink(Strict, frozen=True):
    """What differs on the links from one user, to all antennas or to one; what is left out is as in ``[air]``."""

    user: int
    antenna: int | None = None
    channel: str | None = None
    delay_spread_s: float | None = None
    doppler_hz: float | None = None
    gain_db: float | None = None  # over the unit mean power of the others: this user's SNR is snr_db + gain_db
    path_loss_db: float | None = None  # instead of gain_db, absolute: 30 is a gain_db of 0, see testbed.air.power

    def __post_init__(self) -> None:
        check(self.user >= 0, "air.links.user", self.user, "0 or more")
        check(self.antenna is None or self.antenna >= 0, "air.links.antenna", self.antenna, "0 or more")
        default = Air()
        check_channel(
            "air.links",
            default.channel if self.channel is None else self.channel,
            default.delay_spread_s if self.delay_spread_s is None else self.delay_spread_s,
            default.doppler_hz if self.doppler_hz is None else self.doppler_hz,
        )
        check_gain("air.links", self.gain_db, self.path_loss_db)


class Change(Strict, frozen=True):
    """A link becomes louder or softer at an exact sample, in both directions and at all antennas."""

    at_sample: int  # of the air, at the waveform's nominal rate
    link: str  # EDGE.SERVER
    gain_db: float | None = None  # from there on, as in [[air.links]]
    path_loss_db: float | None = None  # instead of gain_db

    def __post_init__(self) -> None:
        check(0 <= self.at_sample < 2**62, "air.schedule.at_sample", self.at_sample, "0..2^62-1")
        check(self.link.count(".") == 1, "air.schedule.link", self.link, "EDGE.SERVER, for example edge-1.server")
        given = [self.gain_db, self.path_loss_db].count(None)
        check(given == 1, "air.schedule", f"at_sample {self.at_sample}", "one of gain_db and path_loss_db")
        check_gain("air.schedule", self.gain_db, self.path_loss_db)

    @property
    def ends(self) -> tuple[str, str]:
        """The names of the two radios."""
        one, other = self.link.split(".")
        return one, other


class Air(Strict, frozen=True):
    """The emulated medium. What is left out is drawn from the seed."""

    name: str = "air"
    snr_db: float = 20.0  # Es/N0 per occupied resource element, per user, per antenna, with E|h|^2 = 1
    channel: str = "TDL-A"  # of every link: TDL-A to TDL-E (TR 38.901), AWGN, two-ray, Rician:K_DB or taps:FILE
    delay_spread_s: float = 100e-9
    doppler_hz: float = 5.0
    links: list[AirLink] = []  # what is otherwise on some of them
    schedule: list[Change] = []  # what changes while it runs
    radios: list[RadioModel] = []  # those that are not ideal, with clocks of their own
    common_cfo_hz: float | None = None  # of the server's oscillator; drawn within +-25 kHz
    user_cfo_hz: list[float] | None = None  # one for each user; drawn within +-100 Hz
    user_delay_samples: list[float] | None = None  # may be fractional; drawn within 0..cp/2
    block_samples: int = 14_400
    speed: float = 1.0  # in real pace, the air's seconds in one of the machine's: less for one that is too slow
    patience_s: float = 0.0  # of the machine's; in real pace, for which time stands still for who is late; 0: never
    pace: str = "lockstep"  # time passes when all have sent and all have asked; "realtime": as the wall clock says

    def __post_init__(self) -> None:
        check(-30 <= self.snr_db <= 80, "air.snr_db", self.snr_db, "-30..80")
        check_channel("air", self.channel, self.delay_spread_s, self.doppler_hz)
        places = [(link.user, link.antenna) for link in self.links]
        twice = [place for place in places if places.count(place) > 1]
        check(not twice, "air.links", f"{twice[:1]}", "one entry for each user, and for each user and antenna")
        names = [radio.name for radio in self.radios]
        check(len(set(names)) == len(names), "air.radios.name", names, "each radio once")
        check(64 <= self.block_samples <= 1_000_000, "air.block_samples", self.block_samples, "64..1000000")
        check(0.01 <= self.speed <= 1.0, "air.speed", self.speed, "0.01..1")
        check(0 <= self.patience_s <= 60, "air.patience_s", self.patience_s, "0..60")
        check(self.pace in PACES, "air.pace", self.pace, ", ".join(PACES))
        common_hz, users_hz = self.common_cfo_hz, self.user_cfo_hz
        check(common_hz is None or abs(common_hz) <= 200e3, "air.common_cfo_hz", common_hz, "-200000..200000")
        check(all(abs(f) <= 200e3 for f in users_hz or []), "air.user_cfo_hz", users_hz, "-200000..200000 each")
        delays = self.user_delay_samples
        check(all(0 <= d <= 4096 for d in delays or []), "air.user_delay_samples", delays, "0..4096 each")
