"""What `semtb radio` does with a radio: a tone, a spectrum, what a Pluto can do; for a terminal and as files."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.signal import welch

from calibration.apply import full_scale_dbm_of, open_calibrated
from testbed.errors import RadioError
from testbed.files import require_writable, write_aside
from testbed.radio.base import Radio, RadioSettings
from testbed.radio.registry import check_uri, open_radio, require_driver
from testbed.units import power_to_db

TONE_BLOCK_S = 0.02
BINS = 1024
ROWS, COLUMNS, STEP_DB = 12, 68, 10.0
BARS = " ▁▂▃▄▅▆▇█"


def tone(
    uri: str,
    settings: RadioSettings,
    offset_hz: float,
    level_dbfs: float,
    seconds: float,
    should_stop: Callable[[], bool],
    tell: Callable[[str], None],
) -> int:
    """Transmit a complex tone on every channel; how many samples went out.

    Parameters
    ----------
    uri : str
    settings : RadioSettings
    offset_hz : float
        From the carrier, within half the sample rate on either side.
    level_dbfs : float
        Of full scale, at most 0.
    seconds : float
        Infinite: until told to stop.
    should_stop, tell : callable
    """
    if abs(offset_hz) > settings.sample_rate_hz / 2:
        most = settings.sample_rate_hz / 2
        raise RadioError(f"--offset-hz {offset_hz:g}: allowed: -{most:g}..{most:g}, half the sample rate")
    check_uri(uri, settings)
    require_driver(uri)
    with open_radio(uri, settings) as radio:
        tell(
            f"{uri}: a tone {offset_hz:g} Hz from the carrier at {level_dbfs:g} dBFS; {_tuning(radio)}; Ctrl-C ends it"
        )
        sent, late = 0, 0
        count, end = round(settings.sample_rate_hz * TONE_BLOCK_S), seconds * settings.sample_rate_hz
        while sent < end and not should_stop():
            turns = offset_hz / settings.sample_rate_hz * np.arange(sent, sent + count) % 1.0
            wave = 10 ** (level_dbfs / 20) * np.exp(2j * np.pi * turns)
            wave = np.tile(wave, (settings.tx_channels, 1)).astype(np.complex64)
            radio.send(np.clip(wave.view(np.float32), -1, 1).view(np.complex64))
            sent += count
            late += sum(event.count for event in radio.sent_events())
        if not should_stop():
            radio.finish()
    tell(f"ended and mute: {sent / settings.sample_rate_hz:.1f} s" + (f", {late} samples late" if late else ""))
    return sent


def spectrum(
    uri: str,
    settings: RadioSettings,
    seconds: float,
    out: Path | None,
    should_stop: Callable[[], bool],
    console: Console,
) -> None:
    """Receive for a while and draw the power of each frequency: in the terminal, and as SVG or PNG.

    Parameters
    ----------
    uri : str
    settings : RadioSettings
    seconds : float
        At least `BINS` samples of it.
    out : Path, optional
        A file that ends in .svg or .png.
    should_stop : callable
    console : Console
    """
    if out is not None:
        require_writable(out)
        if out.suffix not in (".svg", ".png"):
            raise RadioError(f"--out {out}: allowed: a name that ends in .svg or .png")
    check_uri(uri, settings)
    require_driver(uri)
    wanted, lost = max(BINS, round(seconds * settings.sample_rate_hz)), 0
    parts: list[np.ndarray] = []
    with open_calibrated(uri, settings) as radio:
        words = _tuning(radio)
        full_scale_dbm = full_scale_dbm_of(radio)
        while sum(part.shape[1] for part in parts) < wanted and not should_stop():
            block = radio.receive(min(wanted, round(settings.sample_rate_hz * TONE_BLOCK_S)))
            parts.append(block.samples)
            lost += sum(event.count for event in block.events if event.kind == "overflow")
        tuning = radio.tuning
    if not parts:
        return
    x = np.concatenate(parts, axis=1)
    lo_hz = (tuning.lo_hz if tuning is not None else None) or 0.0
    frequency_hz, level_db = power_spectrum(x, settings.sample_rate_hz)
    for antenna, line in enumerate(level_db):
        strongest = int(np.argmax(line))
        console.print(
            f"antenna {antenna + 1}, {words}; dBFS in {settings.sample_rate_hz / BINS:.4g} Hz", soft_wrap=True
        )
        for row in in_letters(line):
            console.print(row, highlight=False)
        ends = [f"{(lo_hz + f) / 1e6:.6g}" for f in (frequency_hz[0], 0.0, frequency_hz[-1])]
        gap = (COLUMNS - sum(map(len, ends))) // 2
        console.print(" " * 7 + (" " * gap).join(ends) + " MHz", highlight=False)
        peak = f"{line[strongest]:.1f} dBFS at {frequency_hz[strongest]:+.0f} Hz from the carrier"
        level = float(power_to_db(np.mean(np.abs(x[antenna]) ** 2) + 1e-30))
        at_antenna = "" if full_scale_dbm is None else f", {level + full_scale_dbm:.1f} dBm at the antenna"
        gone = f"; {lost} samples lost" if lost else ""
        console.print(f"strongest {peak}; all together {level:.1f} dBFS{at_antenna}{gone}", soft_wrap=True)
    if out is not None:
        write_aside(out, drawn(frequency_hz + lo_hz, level_db, out.suffix == ".png"))
        console.print(f"written: {out}", soft_wrap=True)


def power_spectrum(x: np.ndarray, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Welch's estimate with Hann windows; a tone of amplitude 1 in the middle of a bin reads 0 dBFS.

    Parameters
    ----------
    x : [antenna, n] complex64
    rate_hz : float

    Returns
    -------
    frequency_hz : [bins] float64
        From the carrier, rising.
    level_db : [antenna, bins] float64
        Power in each bin in dB of full scale.
    """
    bins = min(BINS, x.shape[1])
    frequency_hz, power = welch(x, rate_hz, "hann", bins, return_onesided=False, detrend=False, scaling="spectrum")
    return np.fft.fftshift(frequency_hz), power_to_db(np.fft.fftshift(power, axes=-1) + 1e-30)


def in_letters(level_db: np.ndarray) -> list[str]:
    """A spectrum as lines of text: the strongest bin of each column, ``ROWS`` times ``STEP_DB`` / 2 high.

    Parameters
    ----------
    level_db : [bins] float64
    """
    edges = np.linspace(0, len(level_db), COLUMNS + 1).astype(int)
    columns = np.array([level_db[a : max(b, a + 1)].max() for a, b in pairwise(edges)])
    step_db = STEP_DB / 2
    top_db = STEP_DB * math.ceil(columns.max() / STEP_DB)
    height = (columns - (top_db - ROWS * step_db)) / step_db  # in rows
    lines = []
    for row in range(ROWS - 1, -1, -1):
        eighths = np.clip(np.rint((height - row) * 8), 0, 8).astype(int)
        at_db = top_db - (ROWS - 1 - row) * step_db
        label = f"{at_db:5.0f} " if at_db % STEP_DB == 0 else " " * 6
        lines.append(label + "│" + "".join(BARS[n] for n in eighths))
    return lines


def drawn(frequency_hz: np.ndarray, level_db: np.ndarray, png: bool) -> bytes:
    """The same as a figure."""
    from testbed.report.drawing import ANTENNA_COLOURS, Sheet

    with Sheet(1, 1, 2.7) as sheet:
        axes = sheet.axes[0, 0]
        for antenna, line in enumerate(level_db):
            colour = ANTENNA_COLOURS[antenna % len(ANTENNA_COLOURS)]
            axes.plot(frequency_hz / 1e6, line, color=colour, linewidth=1, label=f"antenna {antenna + 1}")
        axes.set(xlabel="frequency (MHz)", ylabel="dBFS in a bin")
        axes.set_xlim(frequency_hz[0] / 1e6, frequency_hz[-1] / 1e6)
        axes.ticklabel_format(useOffset=False)
        axes.legend(loc="upper right")
        return sheet.png() if png else sheet.svg().encode()


def probe(
    uri: str, seconds: float, out: Path | None, should_stop: Callable[[], bool], console: Console
) -> dict[str, object]:
    """What a Pluto says of itself and, unless ``seconds`` is 0, the highest rate at which no sample is lost.

    Parameters
    ----------
    uri : str
    seconds : float
        For each rate.
    out : Path, optional
        A JSON file of all this.
    should_stop : callable
    console : Console
    """
    from testbed.experiments.tables import print_table
    from testbed.radio.pluto import PlutoRadio
    from testbed.radio.pluto_probe import RATES_HZ, facts_of, highest_rate_hz, require_pluto, sustained

    require_pluto(uri)
    settings = RadioSettings(1.92e6)  # neither direction is set up
    check_uri(uri, settings)
    if out is not None:
        require_writable(out)
    with PlutoRadio(uri, settings) as radio:
        facts = facts_of(radio)
        waits = radio.device("pace").waits
    table = Table("what", "found", show_header=False)
    kind = "2R2T" if facts.channels == 2 else "1R1T"
    rows = {"model": facts.model, "serial number": facts.serial, "firmware": facts.firmware, "channels": kind}
    rows["temperature (°C)"] = "not told" if facts.temperature_c is None else f"{facts.temperature_c:.1f}"
    rows["xo_correction (Hz)"] = "not told" if facts.xo_correction_hz is None else str(facts.xo_correction_hz)
    for name, value in (rows | facts.ranges).items():
        table.add_row(name, value)
    print_table(console, table)
    most_hz = RATES_HZ[0] if waits else highest_rate_hz(facts)
    found = []
    for one in sustained(uri, facts.channels, seconds, should_stop, most_hz) if seconds else ():
        found.append(one)
        verdict = "no sample lost" if one.holds else f"{one.breaks} breaks in the sequence of samples"
        console.print(f"{one.rate_hz / 1e6:g} MS/s, {kind}: {verdict}", soft_wrap=True)
    good = [one.rate_hz for one in found if one.holds]
    if found and waits:
        passed = f"{found[0].measured_hz / 1e6:.3g} MS/s passed"
        console.print(f"time waits for this Pluto's clients: nothing is ever lost; {passed}", soft_wrap=True)
    elif found:
        best = f"{max(good) / 1e6:g} MS/s, {kind}" if good else "none of the rates that were tried"
        console.print(f"sustained from this machine: {best}", soft_wrap=True)
    result: dict[str, object] = {"facts": msgspec.to_builtins(facts), "rates": msgspec.to_builtins(found)}
    if out is not None:
        write_aside(out, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
        console.print(f"written: {out}", soft_wrap=True)
    return result


def _tuning(radio: Radio) -> str:
    """Frequency and gain of a radio, in words."""
    tuning = radio.tuning
    if tuning is None:
        return "no carrier: it is no radio of hardware"
    words = [f"carrier {(tuning.lo_hz or 0) / 1e6:.10g} MHz"]
    words += [f"transmit gain {tuning.tx_gain_db:g} dB"] if tuning.tx_gain_db is not None else []
    words += [f"receive gain {tuning.rx_gain_db:g} dB"] if tuning.rx_gain_db is not None else []
    return ", ".join(words)
