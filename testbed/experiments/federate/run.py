"""`semtb federate TASK`: a split, edges and a server as processes. The labels stay with the evaluator."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from testbed.data.split import Split
from testbed.errors import SemtbError
from testbed.experiments.extras import PRIVATE_TRAINING, require_extra
from testbed.experiments.federate.plan import SERVER, Options, Plan, plan, write_parts
from testbed.experiments.federate.result import mark_cut_off, measure
from testbed.experiments.federate.table import show
from testbed.experiments.federate.tasks import open_task
from testbed.experiments.processes import Family, Watch, node_command
from testbed.experiments.run import LOOK_S, Outcome, make_folder, trouble, watch_over
from testbed.experiments.stopping import StopRequest
from testbed.record.folder import REPORT, RunFolder, log_name
from testbed.report.make import make_report


def federate(options: Options, out: Path | None, stop: StopRequest, debug: bool = False) -> int:
    """Run, measure, draw; returns the exit status.

    Raises
    ------
    SemtbError
        If something that the user can put right is wrong before anything is started.
    """
    began = time.monotonic()
    require_extra("semtb federate", PRIVATE_TRAINING)
    task = open_task(options.task)
    name = f"federate-{task.name}"
    folder = make_folder(out, name)
    console, errors = Console(markup=False), Console(markup=False, stderr=True)
    console.print(f"{name}, seed {options.seed}: server and {options.clients} edges -> {folder.path}", soft_wrap=True)
    outcome = Outcome(1, "the run was cut off")
    configs: Plan | None = None
    parts: Split | None = None
    try:
        with stop.interrupting(), errors.status("laying out data and noise"):
            configs = plan(options, task, folder)
            parts = task.split(options.seed, options.clients, options.slices)
            files = write_parts(configs, parts, folder)
        outcome = run_processes(files, folder, errors, stop, debug)
        if outcome.status == 0:
            try:
                with stop.interrupting(), errors.status("measuring and comparing") as status:

                    def tell(words: str) -> None:
                        status.update(Text(words))

                    result = measure(options, task, configs, parts, folder, began, tell)
            except KeyboardInterrupt:
                outcome = Outcome(stop.exit_status, f"stopped by {stop.reason} before it was measured")
    except KeyboardInterrupt:
        outcome = Outcome(stop.exit_status, f"stopped by {stop.reason}")
    except SemtbError as error:
        outcome = Outcome(2, str(error))  # for the result; the caller tells it
        raise
    finally:
        folder.discard_partials()
        if outcome.status:
            mark_cut_off(folder, options, task, outcome.reason, configs, parts, began)
            make_report(folder.path)
    if outcome.status:
        errors.print(outcome.reason, soft_wrap=True, markup=False, highlight=False)
        console.print(f"kept, marked incomplete: {folder.path / REPORT}", soft_wrap=True)
        return outcome.status
    show(result, console)
    console.print(f"report: {make_report(folder.path)}", soft_wrap=True)
    return 0


def run_processes(
    files: dict[str, Path], folder: RunFolder, errors: Console, stop: StopRequest, debug: bool
) -> Outcome:
    """Start server and edges, and wait until the server has ended: it is the one that says who may be missing."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        watch = Watch(folder, bar, "edges learn alone", "round {done} of {total}, {counted} uploads")
        with Family(debug=debug) as family:

            def start(name: str, kind: str, *more: str) -> None:
                family.start(name, node_command(kind, str(files[name]), *more), folder.file(log_name(name)))

            start(SERVER, "server", "--out", str(folder.path))
            while not watch.bound:
                watch.look()
                if (outcome := trouble(family, stop)) is not None:
                    return outcome
                time.sleep(LOOK_S)
            for name in files:
                if name != SERVER:
                    start(name, "edge")
            return watch_over(family, SERVER, stop, watch, only_server=True)
