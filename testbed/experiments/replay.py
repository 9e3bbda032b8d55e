"""`semtb replay`: a recording is received again, as the run received it or with another receiver, and compared."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from server.node import BLOCK_SAMPLES, progress
from server.session import Session, open_session
from testbed.codec.registry import open_codec
from testbed.config import Scenario, ServerConfig, dump, load_node, load_scenario
from testbed.errors import DataError, ScenarioError
from testbed.experiments.evaluate import codecs_of, evaluate
from testbed.experiments.replay_tables import side_by_side, who_was_heard
from testbed.experiments.run import make_folder, remove
from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.stopping import StopRequest
from testbed.experiments.tables import print_table
from testbed.radio.base import RadioSettings
from testbed.radio.sigmf import SigmfRadio
from testbed.record.events import AnyEvent, Started, recording
from testbed.record.folder import CODECS, RESULT, SCENARIO, SUMMARY, RunFolder, node_name
from testbed.record.schema import Result, metrics_bytes, read_result
from testbed.report.make import make_report

COPIED = ("nodes", "data", "sent", CODECS)  # what the evaluation needs of a run beside what was received
# What may be another: how samples become pictures. All else made the recording what it is.
RECEIVER = ("estimator", "detector", "receiver", "false_alarms_per_10ms", "max_cfo_hz")
DIFFERENCES_SHOWN = 5
EMIT_S = 0.2
NOT_KNOWN = "what was sent is not known, so nothing is measured: the pictures are those that were received"


def replay(
    path: Path,
    scenario: str | None,
    settings: list[str],
    out: Path | None,
    stop: StopRequest,
    console: Console,
    errors: Console,
) -> int:
    """Receive a recording again; returns the exit status.

    Parameters
    ----------
    path : Path
        A run folder or, with ``scenario``, any SigMF recording.
    scenario : str, optional
        Whose waveform, receiver and codec a recording without a run is received with.
    settings : list of str
        ``key=value``.
    out : Path, optional
        The new run folder.
    stop : StopRequest
    console, errors : Console

    Returns
    -------
    int
        0; 1 if a run's metrics did not come out again although the receiver is the same.

    Raises
    ------
    SemtbError
        If the recording, the run or the scenario is not what it must be.
    """
    if scenario is None and not (path / SCENARIO).is_file():
        raise DataError(
            f"{path}: no run folder; a recording by itself is received with --scenario NAME, which names its waveform"
        )
    try:
        with stop.interrupting(), errors.status("receiving and measuring"):
            if scenario is not None:
                return replay_recording(path, scenario, settings, out, console)
            return replay_run(path, settings, out, console, errors)
    except KeyboardInterrupt:
        errors.print(f"stopped by {stop.reason}: nothing is kept of this replay", soft_wrap=True)
        return stop.exit_status


def replay_run(path: Path, settings: list[str], out: Path | None, console: Console, errors: Console) -> int:
    """Receive the recording of a run again, evaluate it, and compare the metrics."""
    began = time.monotonic()
    original = RunFolder(path)
    recorded = load_scenario(original.file(SCENARIO))
    scenario = load_scenario(original.file(SCENARIO), settings)
    require_receiver_only(recorded, scenario)
    config = load_node(original.file(node_name(scenario.server.name)), ServerConfig)
    config = msgspec.structs.replace(config, server=scenario.server)
    summary = original.read_json(SUMMARY) if original.has(SUMMARY) else {}  # a server that was killed left none
    complete = bool(summary.get("complete"))
    reason = "" if complete else "the run that was recorded was not complete"
    with opened(path, config) as radio, new_folder(out, scenario) as folder:
        console.print(f"{path} is received again -> {folder.path}", soft_wrap=True)
        for name in COPIED:
            if (path / name).is_dir():
                shutil.copytree(path / name, folder.path / name)
        with recording(folder, scenario.server.name, config.expects) as events:
            session = open_session(as_replay(config), folder, events.emit)
            for codec in codecs_of(folder, scenario)[1:]:
                session.assembler.install(codec)
            session.results = summary.get("nodes", {})
            session.switches = summary.get("switches", [])
            session.files_refused = summary.get("files_refused", 0)
            session.calibrations = summary.get("calibrations", [])
            receive_again(session, radio, events.emit)
        finish(folder, session, complete, {"replay_of": str(path)})
        again = evaluate(folder.path, complete, reason, time.monotonic() - began)
        page = make_report(folder.path)
    known = read_result(original) if original.has(RESULT) else None
    status = compare(known, again, bool(settings), path, console, errors)
    console.print(f"report: {page}", soft_wrap=True)
    return status


def replay_recording(path: Path, name: str, settings: list[str], out: Path | None, console: Console) -> int:
    """Receive a recording of unknown origin; its pictures are shown, nothing is measured."""
    began = time.monotonic()
    scenario = open_scenario(name, settings, None, None)
    config = ServerConfig(
        seed=scenario.seed,
        control="",
        waveform=scenario.waveform,
        server=scenario.server,
        radio=f"sigmf:{path}",
        codec=scenario.codec.name,
        provider=scenario.codec.provider,
        expects=[],
        users={edge.name: edge.user for edge in scenario.edges},
        max_pixels=scenario.max_pixels,
    )
    with opened(path, config) as radio, new_folder(out, scenario) as folder:
        console.print(f"{path} is received -> {folder.path}", soft_wrap=True)
        with recording(folder, scenario.server.name, []) as events:
            session = open_session(config, folder, events.emit)
            for switch in scenario.switches:
                session.assembler.install(open_codec(switch.codec))
            receive_again(session, radio, events.emit)
        finish(folder, session, False, {"replay_of": str(path), "sent_known": False})
        evaluate(folder.path, False, NOT_KNOWN, time.monotonic() - began)
        page = make_report(folder.path)
    print_table(console, who_was_heard(folder, scenario))
    console.print(f"report: {page}", soft_wrap=True)
    return 0


@contextmanager
def new_folder(out: Path | None, scenario: Scenario) -> Iterator[RunFolder]:
    """The replay's own run folder, with its scenario; of a replay that does not come to its end nothing is left."""
    given = out is not None and out.exists()
    folder = make_folder(out, f"{scenario.name}-replay")
    try:
        folder.write_bytes(SCENARIO, dump(scenario))
        yield folder
    except BaseException:
        remove(folder, keep=given)
        raise


def require_receiver_only(recorded: Scenario, changed: Scenario) -> None:
    """Raise ScenarioError if more than the receiver is another than in the run that was recorded."""
    receiver = {name: getattr(changed.server, name) for name in RECEIVER}
    same = msgspec.structs.replace(recorded, server=msgspec.structs.replace(recorded.server, **receiver))
    if same != changed:
        allowed = ", ".join(f"server.{name}" for name in RECEIVER)
        raise ScenarioError(f"--set: the recording is of what was sent then; a replay may change {allowed}")


def as_replay(config: ServerConfig) -> ServerConfig:
    """A server that neither records nor waits for switches: the codecs that came into use are in the run folder."""
    return msgspec.structs.replace(config, switches=[], record=False)


def opened(path: Path, config: ServerConfig) -> SigmfRadio:
    """The recording as this server's radio.

    Raises
    ------
    RadioError, DataError
        If it does not fit, is damaged, or is shorter than a frame.
    """
    waveform, antennas = config.waveform, config.server.antennas
    radio = SigmfRadio(f"sigmf:{path}", RadioSettings(waveform.sample_rate_hz, rx_channels=antennas))
    if radio.recording.samples < waveform.frame_samples:
        samples = radio.recording.samples
        raise DataError(f"{path}: too short: {samples} samples; one frame takes {waveform.frame_samples}")
    return radio


def receive_again(session: Session, radio: SigmfRadio, emit: Callable[[AnyEvent], None]) -> None:
    """All of a recording, in the blocks in which a run takes it."""
    total = radio.recording.samples
    emit(Started(samples=total))
    emit_at = 0.0
    for first in range(0, total, BLOCK_SAMPLES):
        session.take(radio.receive(min(BLOCK_SAMPLES, total - first)))
        if time.monotonic() >= emit_at:
            emit_at = time.monotonic() + EMIT_S
            emit(progress(session, total))
    session.finish()
    emit(progress(session, total))


def finish(folder: RunFolder, session: Session, complete: bool, more: Mapping[str, Any]) -> None:
    """The summary, and what is to be known of it beside."""
    session.write_summary(complete)
    folder.write_json(SUMMARY, folder.read_json(SUMMARY) | dict(more))


def compare(known: Result | None, again: Result, changed: bool, path: Path, console: Console, errors: Console) -> int:
    """Say whether the metrics came out again; returns the exit status."""
    if known is None or not known.metrics.users:
        console.print(f"{path} has no metrics to compare with: `semtb report {path}` makes them", soft_wrap=True)
        return 0
    if metrics_bytes(known) == metrics_bytes(again):
        console.print(f"metrics: those of {path}, byte for byte", soft_wrap=True)
        return 0
    if changed:
        print_table(console, side_by_side(known, again))
        return 0
    found = list(differences(msgspec.to_builtins(known.metrics), msgspec.to_builtins(again.metrics), "metrics"))
    for line in found[:DIFFERENCES_SHOWN]:
        errors.print(line, soft_wrap=True, markup=False, highlight=False)
    more = len(found) - DIFFERENCES_SHOWN
    rest = f"{max(more, 0)} more differ; " if more > 0 else ""
    errors.print(f"metrics differ from those of {path}: {rest}{causes(known, again)}", soft_wrap=True, markup=False)
    return 1


def differences(known: Any, again: Any, where: str) -> Iterator[str]:
    """One line for each value that is another."""
    if isinstance(known, dict) and isinstance(again, dict):
        for key in dict.fromkeys([*known, *again]):
            yield from differences(known.get(key), again.get(key), f"{where}.{key}")
    elif isinstance(known, list) and isinstance(again, list) and len(known) == len(again):
        for index, pair in enumerate(zip(known, again, strict=True)):
            yield from differences(*pair, f"{where}.{index}")
    elif known != again:
        yield f"{where}: {known} was recorded, {again} is received"


def causes(known: Result, again: Result) -> str:
    """Why metrics may have come out otherwise."""
    found = []
    if known.recording is not None and known.recording.unrecorded:
        found.append(f"{known.recording.unrecorded} samples are not in the recording")
    if not known.complete:
        found.append("the run was not complete")
    for what in ("versions", "git_commit", "machine"):
        if getattr(known, what) != getattr(again, what):
            found.append(f"{what.replace('_', ' ')} differ")
    return "; ".join(found) or "neither versions nor machine explain it: this is a fault of semtb"
