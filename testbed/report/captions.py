"""Which figure of a report is made from which arrays of figures/data.npz, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from testbed.report import figures, symbols
from testbed.report.loading import RunRecord


class Drawn(msgspec.Struct, kw_only=True):
    """A figure, ready for a page."""

    key: str
    title: str
    caption: str
    alt: str
    svg: str


class Recipe(msgspec.Struct, kw_only=True, frozen=True):
    """How a figure is made. ``needs``: names of arrays; empty where result.json is enough."""

    key: str
    title: str
    caption: str
    alt: str
    needs: tuple[str, ...]
    draw: Callable[[RunRecord], str]


def draw_figures(record: RunRecord) -> list[Drawn]:
    """Every figure that the record allows; why another one is not there joins ``record.missing``."""
    drawn = []
    for recipe in RECIPES:
        lacking = [key for key in recipe.needs if not np.size(record.arrays.get(key, ()))]
        if lacking:
            if record.arrays:
                record.missing.append(f"figure “{recipe.title}”: no {', '.join(lacking)} in the data")
            continue
        try:
            svg = recipe.draw(record)
        except (ValueError, IndexError, KeyError) as error:  # arrays of a foreign or later version
            record.missing.append(f"figure “{recipe.title}”: its data do not fit together ({error})")
            continue
        if svg:
            words = {"key": recipe.key, "title": recipe.title, "caption": recipe.caption, "alt": recipe.alt}
            drawn.append(Drawn(svg=svg, **words))
    return drawn


def by_user(record: RunRecord, prefix: str) -> list[np.ndarray]:
    """``prefix0``, ``prefix1``, ... as far as they are there."""
    numbers = sorted(
        int(k[len(prefix) :]) for k in record.arrays if k.startswith(prefix) and k[len(prefix) :].isdigit()
    )
    return [record.arrays[f"{prefix}{u}"] for u in numbers]


def names(record: RunRecord, count: int) -> list[str]:
    """What the first ``count`` users are called."""
    return [record.user_name(u) for u in range(count)]


def _constellation(record: RunRecord) -> str:
    tx = by_user(record, "tx_u")
    return symbols.constellation(tx, by_user(record, "rx_u"), names(record, len(tx)))


def _error(record: RunRecord) -> str:
    tx = by_user(record, "tx_u")
    noise = by_user(record, "no_eff_u")
    return symbols.error_by_effective_noise(tx, by_user(record, "rx_u"), noise, names(record, len(tx)))


def _levels(record: RunRecord) -> str:
    noise = by_user(record, "no_eff_u")
    return symbols.effective_snr(noise, names(record, len(noise)))


def _channel(record: RunRecord) -> str:
    a = record.arrays
    users = names(record, a["channel_db"].shape[3])
    return figures.channel(a["channel_db"], a["channel_time_s"], a["channel_freq_hz"], users)


def _spectrum(record: RunRecord) -> str:
    w = record.scenario.waveform if record.scenario else None
    occupied = (w.occupied_subcarriers + 1) * w.spacing_hz if w else None
    return figures.spectrum(record.arrays["spectrum_iq"], float(record.arrays["sample_rate_hz"]), occupied)


def _sinr(record: RunRecord) -> str:
    a = record.arrays
    users = names(record, a["sinr_est_db"].shape[1])
    return figures.sinr_over_frames(a["frame_time_s"], a["sinr_est_db"], a["sinr_true_db"], users)


def _stages(record: RunRecord) -> str:
    stages = record.result.timing.stages if record.result else {}
    return figures.stage_times(stages) if stages else ""


RECIPES = (
    Recipe(
        key="sinr",
        title="SINR over frames",
        caption="Effective SINR of the data symbols of each frame after separation. Marks: mean of what the detector "
        "reported. Lines: power of the symbols sent over power of their error.",
        alt="Effective SINR of every frame against time, one colour a user, estimated and true.",
        needs=("frame_time_s", "sinr_est_db", "sinr_true_db"),
        draw=_sinr,
    ),
    Recipe(
        key="effective-snr",
        title="What the decoder is given",
        caption="Share of data symbols whose effective SINR 1/N_eff lies below a level. The decoder is told N_eff of "
        "every symbol. Dotted: 5 % and the median.",
        alt="Cumulative distribution of effective SINR over data symbols, one line a user.",
        needs=("no_eff_u0",),
        draw=_levels,
    ),
    Recipe(
        key="channel",
        title="Channel over time and frequency",
        caption="Estimated channel magnitude 20 log₁₀|ĥ| at the pilot symbols, for each user and antenna, on one "
        "colour scale. Blank: no frame was found there.",
        alt="Heat maps of channel magnitude over time and frequency, one for each user and receive antenna.",
        needs=("channel_db", "channel_time_s", "channel_freq_hz"),
        draw=_channel,
    ),
    Recipe(
        key="constellation",
        title="Symbols sent and received",
        caption="Density of the encoder's analogue symbols (unit mean power, so no grid of points), as sent and as "
        "separated by the detector; compared: real "
        "and imaginary parts received against those sent, dashed: no error.",
        alt="Densities of symbols in the complex plane, sent and received, and received against sent, for each user.",
        needs=("tx_u0", "rx_u0"),
        draw=_constellation,
    ),
    Recipe(
        key="error",
        title="Does the detector know its error?",
        caption="Symbols in twelve groups of equal size by the effective noise N_eff that the detector reported: "
        "the SINR measured in each against the SINR reported. Above the dashed line it was too pessimistic, below it "
        "too sure.",
        alt="Measured against reported SINR of groups of symbols, one line a user, with the diagonal.",
        needs=("tx_u0", "rx_u0", "no_eff_u0"),
        draw=_error,
    ),
    Recipe(
        key="spectrum",
        title="Spectrum at the server",
        caption="Power spectral density of an excerpt of the received samples, both users at once, for each antenna "
        "(Welch, Hann window). Shaded: the occupied band, with the empty carrier in its middle.",
        alt="Power spectral density of the received samples of each antenna, the occupied band shaded.",
        needs=("spectrum_iq", "sample_rate_hz"),
        draw=_spectrum,
    ),
    Recipe(
        key="stages",
        title="Time in each stage",
        caption="Wall time on this machine: in all, and for one call (median, 95th and 99th percentile, logarithmic).",
        alt="Bars of the total time of each processing stage, and the percentiles of one call.",
        needs=(),
        draw=_stages,
    ),
)
