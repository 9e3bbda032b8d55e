"""The server's process: waits for all nodes, receives, and hands on to the session. No mathematics here."""

from __future__ import annotations

import itertools
import logging
import queue
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from calibration.apply import calibrations_of, open_calibrated
from server.own_clock import Alignments, beaconing
from testbed.background import Background
from testbed.config import ServerConfig
from testbed.control.bus import Hub, Lost, hosting
from testbed.control.messages import Changed, Result, ResultFile, Start
from testbed.errors import PeerLost, RunIncomplete
from testbed.files import ensure_folder
from testbed.phy.waveform import Waveform
from testbed.radio.base import Radio, RadioSettings, RxBlock
from testbed.radio.registry import has_own_clock
from testbed.record.events import AnyEvent, Bound, Progress, Started, recording
from testbed.record.folder import RunFolder
from testbed.text import printable

if TYPE_CHECKING:
    from server.offers import Offers
    from server.session import Session

BLOCK_SAMPLES = 9_600  # 5 ms at 1.92 MS/s: how often the server looks up from its radio
BLOCKS_QUEUED = 8  # between radio and receiver; when full the radio waits, and in lock-step the air with it
TAIL_FRAMES = 2  # carried behind the longest stream: delays, filters, and the end of the last search
LOOK_S = 0.1
RESULTS_S = 30.0  # without a word of a node that has not handed in all of what it sent, after the last sample
PROGRESS_S = 0.2

log = logging.getLogger(__name__)


def run_server(
    config: ServerConfig,
    out: Path,
    should_stop: Callable[[], bool],
) -> None:
    """Serve one run: gather the nodes, start them, receive to the end, collect what they sent, stop them.

    Parameters
    ----------
    config : ServerConfig
    out : Path
        The run folder.
    should_stop : callable

    Raises
    ------
    AddressInUse
        If the control port is taken.
    PeerLost
        If a node goes away; what was received is kept.
    RunIncomplete
        If ``should_stop`` says so first; what was received is kept.
    """
    roles = {node: "edge" if node in config.users else "air" for node in config.expects}
    name, folder = config.server.name, RunFolder(ensure_folder(out))
    with (
        recording(folder, name, config.expects) as events,
        hosting(config.control, name, lambda at: events.emit(Bound(control=at)), roles) as hub,
    ):
        log.info("control bus at %s; waiting for %s", config.control, ", ".join(config.expects))
        serve(hub, config, folder, should_stop, events.emit)


def serve(
    hub: Hub,
    config: ServerConfig,
    folder: RunFolder,
    should_stop: Callable[[], bool],
    emit: Callable[[AnyEvent], None],
) -> None:
    """One run, from warm-up to the last result."""
    # Imported when members can be heard already: compilers and runtimes take seconds to load.
    from server.offers import Offers
    from server.session import open_session
    from server.switching import Handovers

    session = open_session(config, folder, emit)
    antennas = config.server.antennas
    settings = RadioSettings(sample_rate_hz=config.waveform.sample_rate_hz, rx_channels=antennas)
    another_receives = config.server.name in config.external
    beacon = None if another_receives else config.beacon
    own_clock = beacon is not None and has_own_clock(config.radio, settings)
    if own_clock and beacon is not None:
        settings = msgspec.structs.replace(settings, tx_channels=1, tx_lo_offset_hz=beacon.offset_hz)
    with ExitStack() as opened:
        radio = None if another_receives else opened.enter_context(open_calibrated(config.radio, settings))
        session.calibrations = calibrations_of(radio)
        session.adjusted = list(radio.adjusted) if radio is not None else []
        sender = opened.enter_context(beaconing(radio, config.waveform)) if radio is not None and own_clock else None
        ready = hub.wait_ready(config.expects, should_stop)
        if config.record and radio is not None:
            from server.capture import recorder_of

            session.recorder = recorder_of(config, folder, radio)
        elif config.record:
            log.warning("another program receives in place of %s: nothing is recorded", config.server.name)
        tail = round(config.server.tail_s * config.waveform.sample_rate_hz)
        planned = [*(r.samples_planned for r in ready.values()), *config.external.values()]
        total = samples_to_carry(config.waveform, planned) + tail
        hub.broadcast(Start(samples=total, run=printable(folder.path.name)))
        emit(Started(samples=total))
        log.info("all are ready: %.2f s on the air", total / config.waveform.sample_rate_hz)
        edges = [edge for edge in config.users if edge in config.expects]
        offers = Offers(session, Handovers(hub.send), hub.send, edges)
        offers.plan(config.switches)
        if sender is not None:
            session.alignments = Alignments(config, sender, hub, emit)
        try:
            if radio is None:
                await_carried(hub, session, offers, should_stop)
            else:
                receive(hub, session, offers, radio, total, should_stop, emit)
        finally:  # whatever came is decoded and kept, also when a node died
            session.finish()
            session.write_summary(complete=False)
        collect(hub, session, offers, should_stop)
        session.write_summary(complete=True)
    log.info("done: %d frames, %d pictures", session.frames, len(session.pictures))


def samples_to_carry(waveform: Waveform, planned: Sequence[int]) -> int:
    """The longest stream that a node plans, and a tail behind it."""
    return max(planned) + TAIL_FRAMES * waveform.frame_samples


def await_carried(hub: Hub, session: Session, offers: Offers, should_stop: Callable[[], bool]) -> None:
    """Where another program receives: wait until the nodes have handed in what they did, as long as it takes."""
    while any(node not in session.results for node in session.config.expects):
        look(hub, session, offers, should_stop, LOOK_S)


def receive(
    hub: Hub,
    session: Session,
    offers: Offers,
    radio: Radio,
    total: int,
    should_stop: Callable[[], bool],
    emit: Callable[[AnyEvent], None],
) -> None:
    """Take ``total`` samples off the radio; a thread reads it, so that the server sees at once when a node is lost.

    Where radios have clocks of their own nobody knows how many it will be: at least so many, and all that edges send.
    """
    blocks: queue.Queue[RxBlock] = queue.Queue(BLOCKS_QUEUED)
    ended = False
    alignments = session.alignments

    def read() -> None:
        for first in itertools.count(0, BLOCK_SAMPLES) if alignments else range(0, total, BLOCK_SAMPLES):
            block = radio.receive(BLOCK_SAMPLES if alignments else min(BLOCK_SAMPLES, total - first))
            while not ended:
                try:
                    blocks.put(block, timeout=LOOK_S)
                    break
                except queue.Full:
                    continue
            if ended:
                return

    reading = Background(read, "radio-read")
    emit_at = 0.0
    try:
        while session.samples < total or not (alignments is None or alignments.finished):
            look(hub, session, offers, should_stop)
            try:
                block = blocks.get(timeout=LOOK_S)
                frames = session.take(block)
                if alignments is not None:
                    alignments.take(block, frames)
            except queue.Empty:
                reading.finished()
            if time.monotonic() >= emit_at:
                emit_at = time.monotonic() + PROGRESS_S
                emit(progress(session, total))
        emit(progress(session, total))
    finally:
        ended = True


def progress(session: Session, total: int) -> Progress:
    """How far a run is."""
    return Progress(done=session.samples, total=total, unit="samples", counted=session.frames, counted_unit="frames")


def look(hub: Hub, session: Session, offers: Offers, should_stop: Callable[[], bool], timeout_s: float = 0.0) -> bool:
    """Take in what the nodes say, and whether anything of results was among it; raise if the run is over."""
    if should_stop():
        raise RunIncomplete("stopped before all was received")
    watched = (*session.config.expects, hub.name)
    handed_in = False
    while (event := hub.poll(timeout_s)) is not None:
        node, message = event
        timeout_s = 0.0
        if session.alignments is not None and session.alignments.hear(node, message):
            continue
        if isinstance(message, Lost) and node in watched and node not in session.results:
            raise PeerLost(f"{node} is gone: {message.reason}")
        if isinstance(message, ResultFile):
            session.take_file(message)
            handed_in = True
        elif isinstance(message, Result):
            session.take_result(message)
            handed_in = True
        elif isinstance(message, Changed):
            session.take_change(message)
        else:
            offers.take(node, message)
    offers.tick()
    return handed_in


def collect(hub: Hub, session: Session, offers: Offers, should_stop: Callable[[], bool]) -> None:
    """Wait for the results of all nodes."""
    end = time.monotonic() + RESULTS_S
    while missing := [node for node in session.config.expects if node not in session.results]:
        if look(hub, session, offers, should_stop, LOOK_S):
            end = time.monotonic() + RESULTS_S
        if time.monotonic() > end:
            raise PeerLost(f"no result of {', '.join(missing)} within {RESULTS_S:.0f} s after the last sample")
