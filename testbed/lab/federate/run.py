"""`semtb federate digits`: a split, ten edges and a server as processes. The labels stay with the evaluator."""

from __future__ import annotations

import importlib.util
import math
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from testbed.codec.links import Link
from testbed.config import Strict, dump
from testbed.config_federation import ROLE, LearnerConfig, PrivacyPart, TeacherConfig
from testbed.data.digits import CLASSES, Split, split
from testbed.errors import MissingExtra, ScenarioError, SemtbError
from testbed.files import write_aside
from testbed.lab.federate.result import mark_cut_off, measure, show
from testbed.lab.processes import Family, Watch, node_command
from testbed.lab.report.make import make_report
from testbed.lab.resolve import free_base
from testbed.lab.run import LOOK_S, Outcome, make_folder, trouble, watch_over
from testbed.lab.stopping import StopRequest
from testbed.privacy.accounting import DELTA, EPSILONS, noise_multiplier
from testbed.record.folder import REPORT, RunFolder

NAME = "federate-digits"
SERVER = "server"
HOST = "127.0.0.1"
CLIENTS, SLICES_EACH = 10, 2
SNR_DB = (6.0, 18.0)  # of the first and the last client; every other one has Rayleigh fading


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says."""

    epsilon: float
    rounds: int = 3
    releases: int | None = None  # for how many rounds the budget is laid out; None: all
    strategy: str = "evidence"
    seed: int = 1
    symbols: int = 12
    noise_seed: int | None = None
    ledgers: Path | None = None


class Plan(msgspec.Struct, frozen=True):
    """All configurations of a run."""

    server: TeacherConfig
    edges: list[LearnerConfig]


def links(clients: int = CLIENTS) -> list[Link]:
    """The clients' channels."""
    low, high = SNR_DB
    step = (high - low) / max(1, clients - 1)
    return [Link(("AWGN", "Rayleigh")[i % 2], round(low + step * i, 2)) for i in range(clients)]


def edge_folder(folder: RunFolder, name: str) -> Path:
    """An edge's own folder: its records, its ledger, what it installed."""
    return folder.path / "edges" / name


def plan(options: Options, folder: RunFolder) -> Plan:
    """What each node is told.

    Raises
    ------
    ScenarioError
        If a value is out of range.
    """
    releases = options.rounds if options.releases is None else options.releases
    if not 1 <= releases <= options.rounds:
        raise ScenarioError(f"--releases {releases}: allowed: 1..{options.rounds} (--rounds)")
    multiplier = noise_multiplier(options.epsilon, releases, DELTA)
    control = f"tcp://{HOST}:{free_base(HOST, 1)}"
    names = [f"edge-{i + 1}" for i in range(CLIENTS)]
    edges = []
    for number, (name, link) in enumerate(zip(names, links(), strict=True)):
        own = edge_folder(folder, name).absolute()
        ledger = own if options.ledgers is None else options.ledgers.expanduser().absolute() / name
        privacy = PrivacyPart(
            epsilon=options.epsilon,
            delta=DELTA,
            noise_multiplier=multiplier,
            ledger=str(ledger / "ledger.jsonl"),
            noise_seed=None if options.noise_seed is None else options.noise_seed * CLIENTS + number,
        )
        edges.append(
            LearnerConfig(
                role=ROLE,
                name=name,
                seed=options.seed * 1000 + number,
                control=control,
                records=str(own / "records.npz"),
                state=str(own),
                link=link,
                privacy=privacy,
                symbols=options.symbols,
                classes=CLASSES,
            )
        )
    server = TeacherConfig(
        role=ROLE,
        name=SERVER,
        seed=options.seed,
        control=control,
        expects=names,
        public=str((folder.path / "server" / "public.npz").absolute()),
        strategy=options.strategy,
        rounds=options.rounds,
        symbols=options.symbols,
        classes=CLASSES,
    )
    return Plan(server, edges)


def write_parts(told: Plan, parts: Split, folder: RunFolder) -> dict[str, Path]:
    """Each node's data and configuration; the test and validation parts and the public labels are written nowhere."""
    parts.public.write(Path(told.server.public))
    for edge, records in zip(told.edges, parts.clients, strict=True):
        records.write(Path(edge.records))
    configs: dict[str, Strict] = {told.server.name: told.server} | {edge.name: edge for edge in told.edges}
    return {
        name: write_aside(folder.path / "nodes" / f"{name}.toml", dump(config).encode())
        for name, config in configs.items()
    }


def federate_digits(options: Options, out: Path | None, stop: StopRequest, debug: bool = False) -> int:
    """Run, measure, draw; returns the exit status.

    Raises
    ------
    SemtbError
        If something that the user can put right is wrong before anything is started.
    """
    began = time.monotonic()
    require_training()
    folder = make_folder(out, NAME)
    console, errors = Console(markup=False), Console(markup=False, stderr=True)
    console.print(f"{NAME}, seed {options.seed}: server and {CLIENTS} edges -> {folder.path}", soft_wrap=True)
    outcome = Outcome(1, "the run was cut off")
    told: Plan | None = None
    parts: Split | None = None
    try:
        with stop.interrupting(), errors.status("laying out data and noise"):
            told = plan(options, folder)
            parts = split(options.seed, CLIENTS, SLICES_EACH)
            files = write_parts(told, parts, folder)
        outcome = run_processes(files, folder, errors, stop, debug)
        if outcome.status == 0:
            try:
                with stop.interrupting(), errors.status("measuring and comparing") as status:
                    result = measure(options, told, parts, folder, began, status.update)
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
            mark_cut_off(folder, options, outcome.reason, told, parts, began)
            make_report(folder.path)
    if outcome.status:
        errors.print(outcome.reason, soft_wrap=True, markup=False, highlight=False)
        console.print(f"kept, marked incomplete: {folder.path / REPORT}", soft_wrap=True)
        return outcome.status
    show(result, console)
    console.print(f"report: {make_report(folder.path)}", soft_wrap=True)
    return 0


def require_training() -> None:
    """Raise MissingExtra, before anything is started, where nodes could not train or account."""
    missing = [name for name in ("torch", "onnx", "dp_accounting") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"federated runs need {', '.join(missing)}: pip install 'semcom-testbed[train]' "
            "(in a checkout: make test installs it)"
        )


def run_processes(
    files: dict[str, Path], folder: RunFolder, errors: Console, stop: StopRequest, debug: bool
) -> Outcome:
    """Start server and edges, and wait until all is done or one of them is not well."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        watch = Watch(bar, "edges learn alone", "round {done} of {total}, {counted} uploads")
        with Family(watch.on_line, debug) as family:

            def start(name: str, kind: str, *more: str) -> None:
                family.start(name, node_command(kind, str(files[name]), *more), folder.path / "logs" / f"{name}.log")

            start(SERVER, "server", "--out", str(folder.path))
            while not watch.bound:
                if (outcome := trouble(family, stop)) is not None:
                    return outcome
                time.sleep(LOOK_S)
            for name in files:
                if name != SERVER:
                    start(name, "edge")
            return watch_over(family, SERVER, stop)


def parse_epsilon(text: str) -> float:
    """A number in the accountant's range, or inf.

    Raises
    ------
    ScenarioError
        If it is anything else.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    low, high = EPSILONS
    if not (low <= value <= high or value == math.inf):
        raise ScenarioError(f"--epsilon {text}: allowed: {low:g}..{high:g}, or inf for no noise and no promise")
    return value
