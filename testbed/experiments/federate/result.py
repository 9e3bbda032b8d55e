"""What came of a federated run: accuracy by round, epsilon by round from the ledgers of the edges, and peers."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.table import Table

from testbed.codec.classifier import Classifier, read_installed
from testbed.data.digits import TEST, VALIDATION, Split
from testbed.errors import CodecError, SemtbError
from testbed.experiments.federate.detail import (
    all_entries,
    client_rows,
    confusion,
    keep_samples,
    round_lines,
    standard_error,
)
from testbed.experiments.federate.plan import Options, Plan
from testbed.experiments.tables import print_table
from testbed.privacy.accounting import DELTA, epsilon_spent
from testbed.privacy.ledger import read_entries
from testbed.record import provenance
from testbed.record.federated import Client, Comparison, FederatedResult, Round
from testbed.record.folder import RESULT, RunFolder
from testbed.report.federated_words import epsilon

CONVENTIONS = {
    "accuracy": f"share of {TEST} test pictures named right, each sent over every client's link with noise of its own",
    "snr": "Es/N0 per complex channel use, unit-power symbols, mean gain one",
    "epsilon": "composed by dp-accounting (PLD) over every release on an edge's ledger; the largest of all edges. "
    "Each record lies with one edge. null: no noise was added, nothing is promised",
    "delta": f"{DELTA:g}",
    "standard_error": "over test pictures, each over all links; another split or training seed moves accuracy as well",
    "trusted": "each edge trusts itself alone: noise is added before anything leaves it, the server sees every upload",
    "not_promised": "anything about whether a client takes part, or about one who holds many records of one person",
    "hyperparameters": f"chosen on {VALIDATION} validation pictures, never on the test pictures",
    "not_private": "fedavg, mean_logits, best_client and pooled are computed by the evaluator without any noise",
}


def measure(
    options: Options, configs: Plan, parts: Split, folder: RunFolder, began: float, on: Callable[[str], None]
) -> FederatedResult:
    """Judge every round's pair and what it is compared with; write result.json and the sample of pictures."""
    from testbed.experiments.federate import baselines

    baselines.one_thread()
    judge = baselines.Judge(parts.test, parts.validation, [e.link for e in configs.edges], options.seed)
    folders = [Path(e.state) for e in configs.edges]
    rounds = judged_rounds(configs, folder, judge.score)
    check_installed(folders, folder, options.rounds)
    on("FedAvg on the same split")
    links = [e.link for e in configs.edges]
    averaged = baselines.fedavg(
        parts.clients,
        links,
        options.symbols,
        options.seed,
        judge,
        lambda done, of: on(f"FedAvg on the same split, round {done} of {of}"),
    )
    on("clients alone, the mean of their logits, all records in one place")
    name, alone = baselines.best_alone(folders, options.symbols, judge)
    mean = baselines.mean_logits(folders, links, parts.public, options.symbols, options.seed, judge)
    pooled = baselines.pooled(parts.clients, options.symbols, options.seed, judge)
    last, early = max(averaged), nearest(averaged, options.rounds)
    predictions = judge.decisions(read_installed(folders[0])[1])
    clients = client_rows(configs, parts.clients, folder)
    for client, by_link in zip(clients, predictions, strict=True):
        client.accuracy = float((by_link == parts.test.labels).mean())
    entries = all_entries(configs)
    result = FederatedResult(
        name=f"federate-digits-{options.strategy}",
        task="UCI digits",
        complete=True,
        warnings=silence(clients, options.rounds),
        accuracy=rounds[-1].accuracy,
        standard_error=standard_error(predictions, parts.test.labels),
        epsilon=rounds[-1].epsilon,
        epsilon_allowed=finite(options.epsilon),
        noise=noise_words(options),
        noise_seed=options.noise_seed,
        noise_multiplier=configs.edges[0].privacy.noise_multiplier,
        sensitivity=max((entry.sensitivity for entry in entries), default=None),
        values_per_release=max((entry.values for entry in entries), default=None),
        strategy=options.strategy,
        symbols=options.symbols,
        seed=options.seed,
        rounds=rounds,
        comparisons={
            "fedavg": compared(averaged[last], f"{last} rounds"),
            "fedavg_early": compared(averaged[early], f"{early} rounds"),
            "best_client": compared(alone, f"{name}, by validation accuracy"),
            "mean_logits": compared(mean, "plain mean of the edges' logits, distilled"),
            "pooled": compared(pooled, "all private records in one place"),
        },
        fedavg_by_round={number: score.test for number, score in averaged.items()},
        clients=clients,
        confusion=confusion(predictions, parts.test.labels),
        samples=keep_samples(predictions, parts.test, folder),
        conventions=CONVENTIONS,
        command=provenance.command(),
        commit=provenance.git_commit(),
        machine=provenance.machine(),
        versions=versions(),
        wall_time_s=time.monotonic() - began,
    )
    folder.write_json(RESULT, result)
    return result


def versions() -> dict[str, str]:
    """As every result states them, and those of what trains and accounts."""
    found = provenance.versions()
    for name in ("torch", "onnx", "dp-accounting"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def judged_rounds(configs: Plan, folder: RunFolder, score: Callable[[Classifier], object]) -> list[Round]:
    """Every round's pair, judged, with what the edges' ledgers say was spent until then."""
    from server.federation.rounds import pair_name

    lines = round_lines(folder)
    ledgers = [read_entries(Path(edge.privacy.ledger)) for edge in configs.edges]
    ends = [
        round_ends(configs, lines, edge.name, len(ledger)) for edge, ledger in zip(configs.edges, ledgers, strict=True)
    ]
    rounds = []
    for number in range(configs.server.rounds + 1):
        pair = Classifier(*(folder.read_bytes(pair_name(number, half)) for half in ("encoder", "decoder")))
        judged = score(pair)
        multipliers = {
            tuple(entry.noise_multiplier for entry in ledger[: end[number]])
            for ledger, end in zip(ledgers, ends, strict=True)
        }
        line = lines.get(number, {"uploads": 0, "refused": {}})
        rounds.append(
            Round(
                round=number,
                accuracy=judged.test,  # type: ignore[attr-defined]
                validation_accuracy=judged.validation,  # type: ignore[attr-defined]
                epsilon=finite(max(epsilon_spent(m) for m in multipliers)),
                uploads=line["uploads"],
                refused=len(line["refused"]),
            )
        )
    return rounds


def round_ends(configs: Plan, lines: dict[int, dict], name: str, entries: int) -> list[int]:
    """How many entries an edge's ledger had after each round. What stood there before the run counts from the start."""
    made = [0]
    for number in range(1, configs.server.rounds + 1):
        made.append(made[-1] + (name not in lines[number]["refused"]))
    return [entries - made[-1] + count for count in made]


def silence(clients: list[Client], rounds: int) -> list[str]:
    """Who gave nothing in any round: where accuracy is low for that reason, it is not the method's."""
    silent = [client.name for client in clients if client.refused == rounds]
    if not silent:
        return []
    if len(silent) == len(clients):
        return ["No edge gave anything in any round: all refused. The accuracy is that of a classifier taught nothing."]
    return [f"Refused in every round, so nothing was learned from it: {', '.join(silent)}."]


def check_installed(folders: list[Path], folder: RunFolder, last: int) -> None:
    """Every edge must have the last pair installed, whole."""
    from server.federation.rounds import pair_name

    wanted = Classifier(*(folder.read_bytes(pair_name(last, half)) for half in ("encoder", "decoder"))).digest
    for own in folders:
        installed, pair = read_installed(own)
        if pair.digest != wanted:
            raise CodecError(
                f"{own.name} has installed {installed.sha256[:8]} of round {installed.round}, not {wanted[:8]}"
            )


def compared(score: object, note: str) -> Comparison:
    """One row."""
    return Comparison(score.test, score.validation, note)  # type: ignore[attr-defined]


def nearest(scores: dict, wanted: int) -> int:
    """The round with a score that is nearest to the one wanted."""
    return min(scores, key=lambda number: abs(number - wanted))


def finite(value: float) -> float | None:
    """None for what is unbounded."""
    return None if math.isinf(value) else value


def noise_words(options: Options) -> str:
    """Where the edges' noise came from."""
    if math.isinf(options.epsilon):
        return "none"
    if options.noise_seed is None:
        return "operating system's entropy"
    return f"seeded ({options.noise_seed}): repeatable, and no privacy against whoever knows the seed"


def mark_cut_off(
    folder: RunFolder, options: Options, reason: str, configs: Plan | None, parts: Split | None, began: float
) -> None:
    """A result.json that says why there is none, and what had been released until then."""
    clients: list[Client] = []
    if configs is not None and parts is not None:
        with contextlib.suppress(SemtbError):  # a ledger that cannot be read says so to its edge
            clients = client_rows(configs, parts.clients, folder)
    result = FederatedResult(
        name=f"federate-digits-{options.strategy}",
        task="UCI digits",
        complete=False,
        reason=reason,
        epsilon_allowed=finite(options.epsilon),
        noise=noise_words(options),
        noise_seed=options.noise_seed,
        noise_multiplier=configs.edges[0].privacy.noise_multiplier if configs else None,
        strategy=options.strategy,
        symbols=options.symbols,
        seed=options.seed,
        clients=clients,
        conventions=CONVENTIONS,
        command=provenance.command(),
        commit=provenance.git_commit(),
        machine=provenance.machine(),
        versions=versions(),
        wall_time_s=time.monotonic() - began,
    )
    folder.write_json(RESULT, result)


def show(result: FederatedResult, console: Console) -> None:
    """Tables at the end of a run."""
    table = Table(title=f"{result.name}, seed {result.seed}")
    for column in ("round", "accuracy", "epsilon spent", "uploads", "refused"):
        table.add_column(column, justify="right")
    for r in result.rounds:
        table.add_row(str(r.round), f"{100 * r.accuracy:.1f} %", epsilon(r.epsilon), str(r.uploads), str(r.refused))
    print_table(console, table)
    beside = Table(title="on the same split, not private")
    beside.add_column("compared with")
    beside.add_column("accuracy", justify="right")
    beside.add_column("note")
    for name, row in result.comparisons.items():
        beside.add_row(name.replace("_", " "), f"{100 * row.accuracy:.1f} %", row.note)
    print_table(console, beside)
    if result.epsilon is None:
        console.print("No noise was added: nothing is promised to anybody.", soft_wrap=True)
    else:
        console.print(
            f"epsilon {epsilon(result.epsilon)} at delta {result.delta:g}, composed over all releases; "
            f"neighbouring: {result.neighbouring}; noise: {result.noise}",
            soft_wrap=True,
        )
    for warning in result.warnings:
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True, markup=False)
