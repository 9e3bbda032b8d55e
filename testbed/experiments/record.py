"""`semtb record`: what any radio receives, as a SigMF recording, until it is enough or somebody ends it."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from calibration.apply import calibrations_of, open_calibrated
from testbed.background import Background
from testbed.errors import DataError, SemtbError
from testbed.experiments.stopping import StopRequest
from testbed.radio.base import Radio, RadioSettings
from testbed.radio.registry import check_uri, require_driver
from testbed.record.captures import Description, hardware_of
from testbed.record.folder import RunFolder
from testbed.record.recorder import Recorder
from testbed.record.schema import Recorded

RECORDINGS = "recordings"
BLOCK_S = 5e-3
LOOK_S = 0.1
CLOSE_S = 1.0  # for a radio that is closed while it waits


def record(
    uri: str, settings: RadioSettings, seconds: float | None, out: Path | None, stop: StopRequest, console: Console
) -> int:
    """Record what a radio receives, corrected where calibration records of it are kept; returns the exit status.

    Parameters
    ----------
    uri : str
        Of the radio.
    settings : RadioSettings
    seconds : float, optional
        None: until Ctrl-C.
    out : Path, optional
        The recording's folder, new or empty; else one below ``recordings/`` is made.
    stop : StopRequest
    console : Console

    Returns
    -------
    int
        0; that of Ctrl-C where ``seconds`` were asked for and did not pass; 1 where the disk ended it.

    Raises
    ------
    SemtbError
        If the radio or the disk cannot be used, or the radio fails; what was received before is kept.
    """
    check_uri(uri, settings)
    require_driver(uri)
    wanted = math.inf if seconds is None else round(seconds * settings.sample_rate_hz)
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"--out {out}: is there already and not empty; choose a new folder")
    with open_calibrated(uri, settings) as radio:
        folder = out if out is not None else RunFolder.create(RECORDINGS, radio.identity.scheme).path
        recorder = Recorder(folder, describe(radio), waits=radio.paced, tuning=lambda: radio.tuning)
        try:
            take(radio, recorder, wanted, stop, console)
        finally:
            recorded = recorder.close()
            say(folder, recorded, settings.sample_rate_hz, console)
            if not recorded.file:
                with suppress(OSError):
                    folder.rmdir()
    if recorded.reason:
        return 1
    return stop.exit_status if stop() and seconds is not None else 0


def describe(radio: Radio) -> Description:
    """What the recording says of the radio."""
    return Description(
        rate_hz=radio.settings.sample_rate_hz,
        antennas=radio.settings.rx_channels,
        radio=radio.uri,
        hardware=hardware_of(radio.identity),
        calibration=calibrations_of(radio),
        text=f"what {radio.uri} received",
    )


def take(radio: Radio, recorder: Recorder, wanted: float, stop: StopRequest, console: Console) -> None:
    """Receive on a thread, so that Ctrl-C is heard while the radio waits for its peer."""
    block = max(1, round(BLOCK_S * radio.settings.sample_rate_hz))
    taken, ended = 0, False

    def read() -> None:
        nonlocal taken
        while taken < wanted and not ended:
            count = int(min(block, wanted - taken))
            recorder.put(radio.receive(count))
            taken += count

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("recording", total=wanted if math.isfinite(wanted) else None)
        reading = Background(read, "record-read")
        try:
            while not stop() and not reading.finished(LOOK_S) and not recorder.ended:
                bar.update(task, completed=taken, description=f"{taken / radio.settings.sample_rate_hz:.1f} s recorded")
        finally:
            ended = True
    if not reading.finished(2 * LOOK_S):
        radio.close()  # it waits for samples that do not come
        with suppress(SemtbError):
            reading.finished(CLOSE_S)


def say(folder: Path, recorded: Recorded, rate_hz: float, console: Console) -> None:
    """What was kept, and what is missing in it."""
    if recorded.file:
        parts = f"{recorded.antennas} antenna(s), {recorded.samples / rate_hz:.3f} s, {recorded.segments} segment(s)"
        console.print(f"recorded: {folder / recorded.file}: {parts}", soft_wrap=True, highlight=False)
    if recorded.unrecorded or recorded.reason:
        why = recorded.reason or "the disk was too slow"
        words = f"warning: {recorded.unrecorded} samples are not in it: {why}"
        console.print(words, style="yellow", soft_wrap=True, highlight=False)
