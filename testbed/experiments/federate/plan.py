"""`semtb federate` before anything starts: each node's configuration and data, made from the options."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from testbed.codec.links import Link
from testbed.config import Strict, dump
from testbed.data.split import Split
from testbed.errors import ScenarioError
from testbed.experiments.federate.tasks import Opened
from testbed.experiments.resolve import free_base
from testbed.experiments.scenario_files import absolute
from testbed.federation.config import DEADLINE_S, ROLE, LearnerConfig, PrivacyPart, TeacherConfig
from testbed.files import write_aside
from testbed.privacy.accounting import DELTA
from testbed.privacy.budget import EPSILONS, noise_multiplier
from testbed.record.folder import RunFolder, learner_folder, node_name

SERVER = "server"
HOST = "127.0.0.1"
MOST_CLIENTS = 1000
SNR_DB = (6.0, 18.0)  # of the first and the last client; every other one has Rayleigh fading


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says."""

    epsilon: float
    task: str = "digits"
    clients: int = 10
    slices: int = 2  # of each client, out of the private records sorted by label: so many labels, seldom more
    rounds: int = 3
    releases: int | None = None  # for how many rounds the budget is laid out; None: all
    strategy: str = "evidence"
    mechanism: str = "gaussian"
    quorum: int | None = None  # None: more than half
    deadline_s: float = DEADLINE_S
    seed: int = 1
    symbols: int | None = None  # None: as the task has it
    noise_seed: int | None = None
    ledgers: Path | None = None
    compare: bool = True


class Plan(msgspec.Struct, frozen=True):
    """All configurations of a run."""

    server: TeacherConfig
    edges: list[LearnerConfig]


def links(clients: int) -> list[Link]:
    """The clients' channels."""
    low, high = SNR_DB
    step = (high - low) / max(1, clients - 1)
    return [Link(("AWGN", "Rayleigh")[i % 2], round(low + step * i, 2)) for i in range(clients)]


def edge_folder(folder: RunFolder, name: str) -> Path:
    """An edge's own folder: its records, its ledger, what it installed."""
    return folder.file(learner_folder(name))


def plan(options: Options, task: Opened, folder: RunFolder) -> Plan:
    """Each node's configuration.

    Parameters
    ----------
    options : Options
    task : Opened
        Of ``options.task``.
    folder : RunFolder

    Returns
    -------
    Plan

    Raises
    ------
    ScenarioError
        If a value is out of range.
    """
    releases = options.rounds if options.releases is None else options.releases
    if not 1 <= releases <= options.rounds:
        raise ScenarioError(f"--releases {releases}: allowed: 1..{options.rounds} (--rounds)")
    if not 1 <= options.clients <= MOST_CLIENTS:
        raise ScenarioError(f"--clients {options.clients}: allowed: 1..{MOST_CLIENTS}")
    multiplier = noise_multiplier(options.epsilon, releases, DELTA, options.mechanism)
    control = f"tcp://{HOST}:{free_base(HOST, 1)}"
    names = [f"edge-{i + 1}" for i in range(options.clients)]
    symbols = task.task.symbols if options.symbols is None else options.symbols
    # Slices differ by at most one record.
    records_at_most = options.slices * math.ceil(task.private / (options.clients * options.slices))
    edges = []
    for number, (name, link) in enumerate(zip(names, links(options.clients), strict=True)):
        own = edge_folder(folder, name).absolute()
        ledger = own if options.ledgers is None else Path(absolute(str(options.ledgers))) / name
        privacy = PrivacyPart(
            epsilon=options.epsilon,
            delta=DELTA,
            mechanism=options.mechanism,
            noise_multiplier=multiplier,
            ledger=str(ledger / "ledger.jsonl"),
            noise_seed=None if options.noise_seed is None else options.noise_seed * options.clients + number,
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
                codec=task.task.codec,
                symbols=symbols,
                classes=task.classes,
                records_at_most=records_at_most,
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
        mechanism=options.mechanism,
        noise_multiplier=multiplier,
        rounds=options.rounds,
        codec=task.task.codec,
        symbols=symbols,
        classes=task.classes,
        records_at_most=records_at_most,
        quorum=options.clients // 2 + 1 if options.quorum is None else options.quorum,
        deadline_s=options.deadline_s,
    )
    return Plan(server, edges)


def write_parts(configs: Plan, parts: Split, folder: RunFolder) -> dict[str, Path]:
    """Each node's data and configuration; the test and validation parts and the public labels are written nowhere."""
    parts.public.write(Path(configs.server.public))
    for edge, records in zip(configs.edges, parts.clients, strict=True):
        records.write(Path(edge.records))
    nodes: dict[str, Strict] = {configs.server.name: configs.server} | {edge.name: edge for edge in configs.edges}
    return {name: write_aside(folder.file(node_name(name)), dump(config)) for name, config in nodes.items()}


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
