"""`semtb run`: the processes of one scenario from start to report. It watches and tells; the nodes do the work."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from testbed.config import Scenario, ServerConfig
from testbed.errors import DataError
from testbed.experiments.counted import when
from testbed.experiments.external import parse_external, wiring
from testbed.experiments.processes import Ended, Family, Watch, node_command
from testbed.experiments.resolve import (
    Node,
    presented_plutos,
    require_drivers,
    require_free,
    require_usable,
    resolve,
    write_configs,
)
from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.stopping import StopRequest
from testbed.experiments.tables import print_table
from testbed.record import provenance
from testbed.record.events import end_events
from testbed.record.folder import EVENTS, RESULT, SCENARIO, SUMMARY, RunFolder, log_name
from testbed.record.schema import Counted, Recorded, Result, Timing, read_result, write_result

RUNS = "runs"
LOOK_S = 0.03
SETTLE_S = 0.4  # who ends because another did waits so long for the other's own words
LAST_WORDS_S = 5.0  # for nodes to end by themselves once the server has said that all is done


class Outcome(msgspec.Struct, frozen=True):
    """How the processes of a run ended."""

    status: int  # of the command: 0, 1 incomplete, 2 the user can put it right, 130 Ctrl-C
    reason: str = ""


class RemoteNodes(Protocol):
    """Edges of a scenario that run on other machines; `testbed.deploy.remote` implements it over SSH."""

    @property
    def targets(self) -> Mapping[str, Any]:
        """Where each edge that is not here runs, by its name."""
        ...

    @property
    def commands(self) -> Mapping[str, list[str]]:
        """The local commands that stand for those edges, by name, once they are placed."""
        ...

    def place(self, scenario: Scenario, nodes: list[Node], debug: bool) -> list[Node]:
        """Prepare the boards; returns all nodes with the addresses that hold there."""
        ...


def run_scenario(
    name: str,
    settings: list[str],
    seed: int | None,
    out: Path | None,
    images: str | None,
    stop: StopRequest,
    debug: bool = False,
    remote: RemoteNodes | None = None,
    external: Sequence[str] = (),
) -> int:
    """Run a scenario as processes of its own, evaluate it, draw its report; returns the exit status.

    Edges in ``remote`` are started on their boards; what is ``external`` is left to somebody else's program.

    Raises
    ------
    SemtbError
        If the scenario is wrong, a radio or a codec cannot be, or a port is taken, before anything is started.
    """
    began = time.monotonic()
    scenario = open_scenario(name, settings, seed, images)
    elsewhere = remote.targets if remote else ()
    require_usable(scenario, elsewhere)
    require_drivers(scenario, elsewhere)
    left_out = parse_external(scenario, external)
    nodes = resolve(scenario, left_out)
    require_free(scenario, nodes)
    if remote is not None:
        with stop.interrupting():
            nodes = remote.place(scenario, nodes, debug)
    given = out is not None and out.exists()
    folder = make_folder(out, scenario.name)
    console, errors = Console(markup=False), Console(markup=False, stderr=True)
    console.print(
        f"{scenario.name}, seed {scenario.seed}: {', '.join(n.name for n in nodes)} -> {folder.path}", soft_wrap=True
    )
    if presented := presented_plutos(nodes):
        console.print(f"{scenario.air.name} presents virtual Plutos at {', '.join(presented)}", soft_wrap=True)
    for line in wiring(scenario, name, {node.name: node.config for node in nodes}, left_out):
        console.print(line, soft_wrap=True, highlight=False)
    outcome = Outcome(1, "the run was cut off")
    try:
        outcome = run_processes(scenario, nodes, folder, errors, stop, debug, remote.commands if remote else {})
    finally:
        tidy(folder)
        if outcome.status:
            mark_incomplete(folder, scenario, outcome.reason, time.monotonic() - began)
    if outcome.status:
        errors.print(outcome.reason, soft_wrap=True, markup=False, highlight=False)
        if folder.names("received"):
            console.print(
                f"kept, marked incomplete: {folder.path}; `semtb report {folder.path}` draws what there is",
                soft_wrap=True,
            )
        elif outcome.status == 2 and not debug:
            remove(folder, keep=given)  # nothing came, and the line above says why
        return outcome.status
    return finish(folder, scenario, console, errors, stop, time.monotonic() - began)


def make_folder(out: Path | None, name: str) -> RunFolder:
    """The run folder: ``out`` itself, which must be new or empty, or one of its own name below ``runs/``."""
    if out is None:
        return RunFolder.create(RUNS, name)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(
            f"--out {out}: is there already and not empty; each run has a folder of its own, choose a new one"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--out {out}: cannot be made: {error.strerror}; choose another folder") from error
    return RunFolder(out)


def remove(folder: RunFolder, keep: bool) -> None:
    """Take away what a run left, and its folder unless that was there before."""
    for entry in folder.path.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    if not keep:
        folder.path.rmdir()


def run_processes(
    scenario: Scenario,
    nodes: list[Node],
    folder: RunFolder,
    errors: Console,
    stop: StopRequest,
    debug: bool,
    elsewhere: Mapping[str, list[str]],
) -> Outcome:
    """Start server, air and edges, and wait until all is done or one of them is not well.

    ``elsewhere`` holds, by node, the commands that stand for nodes on other machines.
    """
    files = write_configs(folder.path, scenario, nodes)
    server, members = nodes[0], nodes[1:]
    assert isinstance(server.config, ServerConfig)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        watch = Watch(folder, bar, "getting ready", "on the air, {counted} frames received")
        with Family(debug=debug) as family:

            def start(node: Node, *more: str) -> None:
                command = elsewhere.get(node.name) or node_command(node.kind, str(files[node.name]), *more)
                called = f"the SSH connection of {node.name}" if node.name in elsewhere else ""
                family.start(node.name, command, folder.file(log_name(node.name)), called)

            start(server, "--out", str(folder.path))
            while not watch.bound:
                watch.look()
                if (outcome := trouble(family, stop)) is not None:
                    return outcome
                time.sleep(LOOK_S)
            for node in members:
                start(node)
            return watch_over(family, server.name, stop, watch)


def watch_over(family: Family, server: str, stop: StopRequest, watch: Watch, only_server: bool = False) -> Outcome:
    """Wait until the server has ended and the others have had time to, or one of them is not well.

    With ``only_server`` it is the server that says whether a run goes on without another node.
    """
    needed = [server] if only_server else None
    until = math.inf
    while family.alive() and time.monotonic() < until:
        watch.look()
        if (outcome := trouble(family, stop, needed)) is not None:
            return outcome
        if server not in family.alive():
            until = min(until, time.monotonic() + LAST_WORDS_S)
        time.sleep(LOOK_S)
    return trouble(family, stop, needed) or Outcome(0)


def trouble(family: Family, stop: StopRequest, needed: Collection[str] | None = None) -> Outcome | None:
    """Why the run cannot go on, or None. Of several children that ended, the one that began it is named.

    ``needed``: whose failure ends the run; None: anybody's.
    """

    def failures() -> list[Ended]:
        return [ended for ended in family.ended() if ended.failed and (needed is None or ended.name in needed)]

    if stop():
        return Outcome(stop.exit_status, f"stopped by {stop.reason}")
    failed = failures()
    if not failed:
        return None
    settled_at = time.monotonic() + SETTLE_S
    while all(ended.status == 1 for ended in failed) and family.alive() and time.monotonic() < settled_at:
        time.sleep(LOOK_S)
        failed = failures()
    first = min(failed, key=lambda ended: ended.rank)
    return Outcome(2 if first.status == 2 else 1, cause(first))


def cause(ended: Ended) -> str:
    """The child's own words where it had some."""
    return ended.last_line if ended.status == 2 and ended.last_line else f"RunIncomplete: {ended.describe()}"


def tidy(folder: RunFolder) -> None:
    """Remove what killed processes left half written. All of them are gone."""
    folder.discard_partials()
    if folder.has(EVENTS):
        lines = folder.read_bytes(EVENTS)
        if not lines.endswith(b"\n"):
            folder.write_bytes(EVENTS, lines[: lines.rfind(b"\n") + 1])


def mark_incomplete(folder: RunFolder, scenario: Scenario, reason: str, wall_time_s: float) -> None:
    """A result.json without metrics, at once; `semtb report` works out what can be."""
    result = Result(
        scenario=scenario.name,
        seed=scenario.seed,
        complete=False,
        reason=reason,
        versions=provenance.versions(),
        git_commit=provenance.git_commit(),
        command=provenance.command(),
        machine=provenance.machine(),
        timing=Timing(wall_time_s=wall_time_s),
    )
    write_result(folder, result)
    end_events(folder, reason)


def finish(
    folder: RunFolder, scenario: Scenario, console: Console, errors: Console, stop: StopRequest, wall_time_s: float
) -> int:
    """Evaluate a run that is done, draw its report, show its table."""
    from testbed.experiments.evaluate import evaluate
    from testbed.report.make import make_report

    try:
        with stop.interrupting(), errors.status("measuring and drawing"):
            evaluate(folder.path, complete=True, reason="", wall_time_s=wall_time_s)
            page = make_report(folder.path)
    except KeyboardInterrupt:
        tidy(folder)
        mark_incomplete(folder, scenario, f"stopped by {stop.reason} before it was evaluated", wall_time_s)
        errors.print(f"stopped by {stop.reason}; `semtb report {folder.path}` goes on from here", soft_wrap=True)
        return stop.exit_status
    show(read_result(folder), console)
    show_switches(folder, console)
    show_recording(folder, read_result(folder).recording, console)
    console.print(f"report: {page}", soft_wrap=True)
    return 0


def show_switches(folder: RunFolder, console: Console) -> None:
    """What became of each live switch."""
    switches = folder.read_json(SUMMARY).get("switches", [])
    for switch in switches:
        if switch["agreed"]:
            words = f"{switch['edge']}: {switch['codec']} from frame {switch['first_frame']} on"
        else:
            words = f"warning: {switch['edge']} kept its codec: {switch['reason']}"
        console.print(words, style="" if switch["agreed"] else "yellow", soft_wrap=True, markup=False, highlight=False)


def show_recording(folder: RunFolder, recorded: Recorded | None, console: Console) -> None:
    """Where the recording lies, and what is missing in it."""
    if recorded is None:
        return
    if recorded.file:
        console.print(
            f"recording: {folder.path / recorded.file}; `semtb replay {folder.path}` receives it again", soft_wrap=True
        )
    if recorded.unrecorded or recorded.reason:
        why = recorded.reason or "the disk was too slow"
        words = f"warning: {recorded.unrecorded} samples are not in the recording: {why}"
        console.print(words, style="yellow", soft_wrap=True, markup=False, highlight=False)


def show(result: Result, console: Console) -> None:
    """The table at the end of a run."""
    users = result.metrics.users
    labels = any(isinstance(user.accuracy, float) for user in users)
    quality = ("accuracy %", "bound %") if labels else ("PSNR dB", "bound dB", "SSIM")
    table = Table(title=f"{result.scenario}, seed {result.seed}")
    for column in ("user", "node", "pictures", *quality, "SINR dB", "frames"):
        table.add_column(column, justify="left" if column == "node" else "right")

    def number(value: object, digits: int, factor: float = 1.0) -> str:
        return f"{factor * value:.{digits}f}" if isinstance(value, float) else "-"

    for user in users:
        if labels:
            figures = [number(user.accuracy, 1, 100.0), number(user.single_user_accuracy, 1, 100.0)]
        else:
            figures = [number(user.psnr_db, 2), number(user.single_user_psnr_db, 2), number(user.ssim, 3)]
        table.add_row(
            str(user.user),
            user.node,
            str(user.images),
            *figures,
            number(user.sinr_db_true, 1),
            f"{user.frames_detected}/{user.frames_sent}",
        )
    if users:
        print_table(console, table)
    if result.metrics.counted:
        print_table(console, table_of_counts(result.metrics.counted))
    for warning in result.metrics.warnings:
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True, markup=False)


def table_of_counts(found: Sequence[Counted]) -> Table:
    """What was lost, clipped, cut off or refused, and when."""
    table = Table(title="counted")
    for column in ("node", "what", "how many", "when"):
        table.add_column(column, justify="right" if column == "how many" else "left")
    for one in found:
        table.add_row(escape(one.node), one.what, f"{one.count} {one.unit}", when(one).removeprefix(" at ") or "-")
    return table


def report(run_dir: Path, console: Console) -> None:
    """`semtb report`: measure a run folder if that was not done yet, then draw it; a federated one is drawn only."""
    folder = RunFolder(run_dir)
    from testbed.experiments.evaluate import evaluate
    from testbed.record.federated import is_federated
    from testbed.report.make import make_report

    if is_federated(folder):
        console.print(f"report: {make_report(run_dir)}", soft_wrap=True)
        return
    known = read_result(folder) if folder.has(RESULT) else None
    if (known is None or not known.metrics.users) and folder.has(SCENARIO):
        # The server's summary says whether all was received: nodes started by hand leave no result.json of their own.
        complete = folder.has(SUMMARY) and bool(folder.read_json(SUMMARY).get("complete"))
        reason = "" if complete else known.reason if known else "the server did not get to its end"
        evaluate(run_dir, complete, reason, known.timing.wall_time_s if known else None)
    page = make_report(run_dir)
    if folder.has(RESULT):
        show(read_result(folder), console)
    console.print(f"report: {page}", soft_wrap=True)
    sys.stdout.flush()
