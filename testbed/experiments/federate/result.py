"""What came of a federated run: accuracy by round, epsilon by round from the ledgers of the edges, and peers."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from testbed.codec.classifier import Classifier, read_installed
from testbed.data.split import Split
from testbed.errors import CodecError, SemtbError
from testbed.experiments.federate.detail import (
    all_entries,
    client_rows,
    confusion,
    keep_samples,
    ledger_lengths,
    rejections,
    rounds_done,
    standard_error,
)
from testbed.experiments.federate.plan import Options, Plan
from testbed.experiments.federate.tasks import Opened
from testbed.privacy.accounting import DELTA, epsilon_spent
from testbed.privacy.ledger import read_entries
from testbed.privacy.mechanisms.registry import mechanism_class
from testbed.record import provenance
from testbed.record.events import RoundDone
from testbed.record.federated import Client, Comparison, FederatedResult, Round
from testbed.record.folder import RESULT, RunFolder, pair_name

if TYPE_CHECKING:  # torch, which nobody needs to read a result
    from testbed.experiments.federate.baselines import Judge, Score

CONVENTIONS = {
    "snr": "Es/N0 per complex channel use, unit-power symbols, mean gain one",
    "epsilon": "composed by dp-accounting (PLD) over every release on an edge's ledger; the largest of all edges. "
    "Each record lies with one edge. null: no noise was added, nothing is promised",
    "delta": f"{DELTA:g}",
    "standard_error": "over test pictures, each over all links; another split or training seed moves accuracy as well",
    "trusted": "each edge trusts itself alone: noise is added before anything leaves it, the server sees every upload",
    "not_promised": "anything about whether a client takes part, or about one who holds many records of one person",
    "not_private": "fedavg, mean_logits, best_client and pooled are computed by the evaluator without any noise",
}


def conventions(task: Opened) -> dict[str, str]:
    """What the numbers of a result mean."""
    return {
        "accuracy": f"share of {task.test} test pictures named right, each sent over every client's link with noise of "
        "its own",
        "hyperparameters": f"chosen on {task.validation} validation pictures, never on the test pictures",
        **CONVENTIONS,
    }


def measure(
    options: Options,
    task: Opened,
    configs: Plan,
    parts: Split,
    folder: RunFolder,
    began: float,
    on: Callable[[str], None],
) -> FederatedResult:
    """Judge every round's pair and what it is compared with; write result.json and the sample of pictures."""
    from testbed.experiments.federate import baselines

    baselines.one_thread()
    links = [e.link for e in configs.edges]
    judge = baselines.Judge(parts.test, parts.validation, links, options.seed)
    rounds = judged_rounds(configs, folder, judge.score)
    clients = client_rows(configs, parts.clients, folder)
    last_pair = check_installed(configs, [c.name for c in clients if c.lost], folder)
    comparisons, averaged = compare(options, configs, parts, last_pair, judge, on) if options.compare else ({}, {})
    predictions = judge.decisions(last_pair)
    for client, by_link in zip(clients, predictions, strict=True):
        client.accuracy = float((by_link == parts.test.labels).mean())
    entries = all_entries(configs)
    result = FederatedResult(
        **known_before(options, task, configs),
        complete=True,
        warnings=warnings(clients, options.rounds, folder),
        accuracy=rounds[-1].accuracy,
        standard_error=standard_error(predictions, parts.test.labels),
        epsilon=rounds[-1].epsilon,
        sensitivity=max((entry.sensitivity for entry in entries), default=None),
        values_per_release=max((entry.values for entry in entries), default=None),
        rejections=rejections(folder),
        rounds=rounds,
        comparisons=comparisons,
        fedavg_by_round={number: score.test for number, score in averaged.items()},
        clients=clients,
        confusion=confusion(predictions, parts.test.labels, task.classes),
        samples=keep_samples(predictions, parts.test, task.side, folder),
        wall_time_s=time.monotonic() - began,
    )
    folder.write_json(RESULT, result)
    return result


def compare(
    options: Options, configs: Plan, parts: Split, pair: Classifier, judge: Judge, on: Callable[[str], None]
) -> tuple[dict[str, Comparison], dict[int, Score]]:
    """What the run is compared with, and FedAvg's scores by round."""
    from testbed.experiments.federate import baselines
    from testbed.experiments.federate.sides import make_sides

    on("FedAvg on the same split")
    sides = make_sides(configs, parts, pair)
    averaged = baselines.fedavg(
        sides.clients, sides.server, judge, lambda done, of: on(f"FedAvg on the same split, round {done} of {of}")
    )
    on("clients alone, the mean of their logits, all records in one place")
    name, alone = baselines.best_alone(sides.own, sides.server.models, judge)
    mean = baselines.mean_logits(sides.learned(), sides.server, judge)
    server = configs.server
    pooled = baselines.pooled(parts.clients, server.classes, sides.server.models, options.seed, judge)
    last, early = max(averaged), nearest(averaged, options.rounds)
    rows = {
        "fedavg": compared(averaged[last], f"{last} rounds"),
        "fedavg_early": compared(averaged[early], f"{early} rounds"),
        "best_client": compared(alone, f"{name}, by validation accuracy"),
        "mean_logits": compared(mean, "plain mean of the edges' logits, distilled"),
        "pooled": compared(pooled, "all private records in one place"),
    }
    return rows, averaged


def known_before(options: Options, task: Opened, configs: Plan | None) -> dict[str, Any]:
    """What a result says whatever came of the run; ``configs`` is None where it ended before there were any."""
    known: dict[str, Any] = {
        "name": f"federate-{task.name}-{options.strategy}",
        "task": task.task.title,
        "epsilon_allowed": finite(options.epsilon),
        "noise": noise_words(options),
        "noise_seed": options.noise_seed,
        "mechanism": options.mechanism,
        "sensitivity_norm": mechanism_class(options.mechanism).norm,
        "strategy": options.strategy,
        "seed": options.seed,
        "side": task.side,
        "deadline_s": options.deadline_s,
        "conventions": conventions(task),
        "command": provenance.command(),
        "commit": provenance.git_commit(),
        "machine": provenance.machine(),
        "versions": versions(),
    }
    if configs is not None:
        server = configs.server
        known |= {"noise_multiplier": server.noise_multiplier, "symbols": server.symbols, "quorum": server.quorum}
    return known


def versions() -> dict[str, str]:
    """As every result states them, and those of what trains and accounts."""
    found = provenance.versions()
    for name in ("torch", "onnx", "dp-accounting"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def judged_rounds(configs: Plan, folder: RunFolder, score: Callable[[Classifier], Score]) -> list[Round]:
    """Every round's pair, judged, with what the edges' ledgers say was spent until then."""
    rounds_of = rounds_done(folder)
    ledgers = [read_entries(Path(edge.privacy.ledger)) for edge in configs.edges]
    ends = [ledger_lengths(edge, configs.server.rounds) for edge in configs.edges]
    rounds = []
    for number in range(configs.server.rounds + 1):
        pair = Classifier(*(folder.read_bytes(pair_name(number, half)) for half in ("encoder", "decoder")))
        judged = score(pair)
        # Edges with the same releases need to be composed once only.
        events = [[entry.event for entry in ledger[: end[number]]] for ledger, end in zip(ledgers, ends, strict=True)]
        spent = {msgspec.json.encode(of_edge): of_edge for of_edge in events}
        done = rounds_of.get(number, RoundDone(round=number, uploads=0))
        rounds.append(
            Round(
                round=number,
                accuracy=judged.test,
                validation_accuracy=judged.validation,
                epsilon=finite(max(epsilon_spent(of_edge) for of_edge in spent.values())),
                uploads=done.uploads,
                refused=len(done.refused),
                rejected=len(done.rejected),
                missing=len(done.missing),
            )
        )
    return rounds


def warnings(clients: list[Client], rounds: int, folder: RunFolder) -> list[str]:
    """What must not be passed over in reading the accuracy."""
    found = silence(clients, rounds)
    found += [f"{c.name} was lost: {c.lost}. The run went on without it." for c in clients if c.lost]
    found += [f"Round {r.round}: an upload was not used: {r.reason}." for r in rejections(folder)]
    for client in clients:
        if client.missing and not client.lost:
            found.append(f"{client.name} did not answer in time in {client.missing} of {rounds} rounds.")
    return found


def silence(clients: list[Client], rounds: int) -> list[str]:
    """Who gave nothing in any round: where accuracy is low for that reason, it is not the method's."""
    silent = [client.name for client in clients if client.refused == rounds]
    if not silent:
        return []
    if len(silent) == len(clients):
        return ["No edge gave anything in any round: all refused. The accuracy is that of a classifier taught nothing."]
    return [f"Refused in every round, so nothing was learned from it: {', '.join(silent)}."]


def check_installed(configs: Plan, lost: list[str], folder: RunFolder) -> Classifier:
    """The last pair, which every edge must have installed, whole, unless it was lost.

    Raises
    ------
    CodecError
        If one has installed another.
    """
    last = configs.server.rounds
    wanted = Classifier(*(folder.read_bytes(pair_name(last, half)) for half in ("encoder", "decoder")))
    for edge in configs.edges:
        if edge.name in lost:
            continue
        installed, pair = read_installed(Path(edge.state))
        if pair.digest != wanted.digest:
            raise CodecError(
                f"{edge.name} has installed {installed.sha256[:8]} of round {installed.round}, not {wanted.digest[:8]}"
            )
    return wanted


def compared(score: Score, note: str) -> Comparison:
    """One row."""
    return Comparison(score.test, score.validation, note)


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
    folder: RunFolder,
    options: Options,
    task: Opened,
    reason: str,
    configs: Plan | None,
    parts: Split | None,
    began: float,
) -> None:
    """A result.json that says why there is none, and what had been released until then."""
    clients: list[Client] = []
    if configs is not None and parts is not None:
        with contextlib.suppress(SemtbError):  # a ledger that cannot be read says so to its edge
            clients = client_rows(configs, parts.clients, folder)
    result = FederatedResult(
        **known_before(options, task, configs),
        complete=False,
        reason=reason,
        warnings=warnings(clients, options.rounds, folder),
        clients=clients,
        rejections=rejections(folder),
        wall_time_s=time.monotonic() - began,
    )
    folder.write_json(RESULT, result)
