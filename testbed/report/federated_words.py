"""What the report of a federated run says in words and rows. Every number comes from its result.json."""

from __future__ import annotations

import math
from collections.abc import Iterable

from testbed.record.federated import Client, Comparison, FederatedResult, Sample
from testbed.report.words import NBSP, count, fixed

NAMES = {
    "fedavg": "FedAvg",
    "fedavg_early": "FedAvg, few rounds",
    "best_client": "Best client alone",
    "mean_logits": "Plain mean of logits",
    "pooled": "All records in one place",
}
TERMS = {  # of `conventions`, in this order
    "accuracy": "Accuracy",
    "standard_error": "Standard error",
    "snr": "SNR",
    "hyperparameters": "Hyperparameters",
}
PRIVACY = {"epsilon": "Composition", "trusted": "Trusted", "not_promised": "Not promised", "not_private": "Not private"}


def percent(share: float | None) -> str:
    """A share in per cent."""
    return fixed(None if share is None else 100 * share)


def epsilon(value: float | None) -> str:
    """Two decimals, rounded up: it is an upper bound."""
    return "no bound" if value is None else fixed(math.ceil(100 * value - 1e-6) / 100, 2)


def delta(value: float) -> str:
    """``1e-5``."""
    return f"{value:g}".replace("e-0", "e-")


def finding(result: FederatedResult) -> str:
    """The outcome in one sentence, with its promise and what it is compared with."""
    if not result.complete or result.accuracy is None:
        return "This federated run ended before it was measured."
    who = count(len(result.clients), "edge").capitalize() if result.clients else "Edges"
    verb = "teaches" if len(result.clients) == 1 else "teach"
    right = f"{who} {verb} one classifier that names {percent(result.accuracy)}{NBSP}% of the test pictures right"
    if result.clients and not any(r.uploads for r in result.rounds):
        return (
            f"No edge gave anything: a classifier that was taught nothing names {percent(result.accuracy)}{NBSP}% of "
            "the test digits right."
        )
    if result.epsilon is None:
        promise = "without noise and so without any promise of privacy"
    else:
        promise = (
            f"with ε{NBSP}={NBSP}{epsilon(result.epsilon)} at δ{NBSP}={NBSP}{delta(result.delta)} "
            f"({result.neighbouring})"
        )
    beside = [
        f"{name} {percent(result.comparisons[key].accuracy)}{NBSP}%"
        for key, name in (("fedavg", "FedAvg"), ("best_client", "the best client alone"))
        if key in result.comparisons
    ]
    return f"{right}, {promise}" + (f"; not private: {', '.join(beside)}." if beside else ".")


def setting(result: FederatedResult) -> str:
    """Under which conditions: one line."""
    parts = [result.task, f"strategy {result.strategy}"]
    if result.rounds:
        parts.append(count(result.rounds[-1].round, "round"))
    if result.symbols is not None:
        parts.append(f"{count(result.symbols, 'channel use')} a picture")
    if result.clients:
        low, high = min(c.snr_db for c in result.clients), max(c.snr_db for c in result.clients)
        parts.append(f"{' and '.join(sorted({c.channel for c in result.clients}))} links, {low:g} to {high:g}{NBSP}dB")
    return " · ".join([*parts, f"seed {result.seed}"])


def tiles(result: FederatedResult) -> list[tuple[str, str, str]]:
    """The few numbers that matter most: (number, unit, what it is)."""
    if not result.complete:
        return spent_tiles(result.clients)
    found = []
    if result.accuracy is not None:
        error = f", standard error {percent(result.standard_error)} points" if result.standard_error is not None else ""
        found.append((percent(result.accuracy), "%", f"of test pictures right{error}"))
    if result.epsilon is not None:
        allowed = f"of {result.epsilon_allowed:g}" if result.epsilon_allowed is not None else ""
        found.append(
            (epsilon(result.epsilon), allowed, f"ε spent, δ{NBSP}={NBSP}{delta(result.delta)}, largest of all edges")
        )
    for key in ("fedavg", "best_client"):
        if row := result.comparisons.get(key):
            note = f", {row.note}" if key == "fedavg" and row.note else ""
            found.append((percent(row.accuracy), "%", f"{NAMES[key]}{note}; not private"))
    if result.rounds:
        released, refused = sum(r.uploads for r in result.rounds), sum(r.refused for r in result.rounds)
        not_used, missing = sum(r.rejected for r in result.rounds), sum(r.missing for r in result.rounds)
        more = [f"{fixed(n, 0)} {what}" for n, what in ((not_used, "not used"), (missing, "missing")) if n]
        what = ", ".join([f"releases; {fixed(refused, 0)} refused by an edge's own ledger", *more])
        found.append((fixed(released, 0), "", what))
    if result.wall_time_s is not None:
        found.append((fixed(result.wall_time_s, 0), "s", "on the wall, with all comparisons"))
    return found


def spent_tiles(clients: list[Client]) -> list[tuple[str, str, str]]:
    """What a run that was cut off has spent all the same."""
    if not clients:
        return []
    found = [(fixed(sum(c.releases for c in clients), 0), "", "releases on the ledgers of all edges")]
    if known := [c.epsilon for c in clients if c.epsilon is not None]:
        found.append((epsilon(max(known)), "", "ε spent, largest of all edges"))
    return found


def warnings(result: FederatedResult) -> list[str]:
    """What must not be passed over: how the run went, and what its noise is worth."""
    found = list(result.warnings)
    if result.noise_multiplier == 0 or (result.complete and result.epsilon is None):
        found.append("No noise was added: nothing is promised to anybody.")
    elif result.noise_seed is not None:
        found.append(f"Noise {result.noise}. The ε stated here holds only against those who do not know it.")
    return found


def sample_words(sample: Sample) -> str:
    """Over how many links it was named right, and what else it was taken for."""
    right = sum(p == sample.label for p in sample.predictions)
    others = sorted(set(sample.predictions) - {sample.label})
    return f"{right} of {len(sample.predictions)}" + (f"; else {', '.join(map(str, others))}" if others else "")


def comparison_rows(result: FederatedResult) -> list[tuple[str, str, str, str, str]]:
    """(what, test accuracy, points from this run, validation accuracy, note); this run first."""
    if result.accuracy is None:
        return []

    def row(what: str, one: Comparison) -> tuple[str, str, str, str, str]:
        apart = fixed(100 * (one.accuracy - (result.accuracy or 0.0)))
        return what, percent(one.accuracy), apart, percent(one.validation_accuracy), one.note

    known = result.rounds[-1].validation_accuracy if result.rounds else None
    first = ("This run", percent(result.accuracy), "", percent(known), f"{result.strategy}, last round")
    return [first, *(row(NAMES.get(key, key), one) for key, one in result.comparisons.items())]


def client_rows(result: FederatedResult) -> list[list[str]]:
    """Name, channel, SNR, records, labels, releases, refused, not used, missing, epsilon, accuracy."""
    return [
        [
            c.name,
            c.channel,
            fixed(c.snr_db),
            fixed(sum(c.labels), 0),
            held(c.labels),
            fixed(c.releases, 0),
            fixed(c.refused, 0),
            fixed(c.rejected, 0),
            fixed(c.missing, 0) + (" (lost)" if c.lost else ""),
            epsilon(c.epsilon),
            percent(c.accuracy),
        ]
        for c in result.clients
    ]


def held(labels: Iterable[int]) -> str:
    """``3 (40), 7 (38)``."""
    return ", ".join(f"{label} ({number})" for label, number in enumerate(labels) if number)


def round_rows(result: FederatedResult) -> list[list[str]]:
    """Round, test and validation accuracy, epsilon, uploads, refused, not used, missing."""
    return [
        [
            str(r.round),
            percent(r.accuracy),
            percent(r.validation_accuracy),
            epsilon(r.epsilon),
            fixed(r.uploads, 0),
            fixed(r.refused, 0),
            fixed(r.rejected, 0),
            fixed(r.missing, 0),
        ]
        for r in result.rounds
    ]


def privacy_rows(result: FederatedResult) -> list[tuple[str, str]]:
    """What is promised, to whom, and on what grounds."""
    rows = [("Neighbouring data sets", result.neighbouring), ("δ", delta(result.delta))]
    if result.noise_multiplier == 0:
        rows.append(("ε", "no bound: no noise was added"))
    else:
        allowed = "not stated" if result.epsilon_allowed is None else f"{result.epsilon_allowed:g} allowed to each edge"
        spent = f"; {epsilon(result.epsilon)} spent, the largest of all" if result.complete else ""
        rows.append(("ε", allowed + spent))
    if result.sensitivity is not None:
        of = f", of a release of {fixed(result.values_per_release, 0)} values" if result.values_per_release else ""
        rows.append((f"L{result.sensitivity_norm} sensitivity", f"{result.sensitivity:g}{of}"))
    if result.noise_multiplier is not None:
        what = {"gaussian": "Gaussian, standard deviation"}.get(result.mechanism, f"{result.mechanism}, scale")
        rows.append(("Noise", f"{what} {result.noise_multiplier:g} times the sensitivity"))
    if result.noise:
        rows.append(("Source of the noise", result.noise))
    return rows + [(name, result.conventions[key]) for key, name in PRIVACY.items() if key in result.conventions]


def terms(result: FederatedResult) -> list[tuple[str, str]]:
    """What the result itself says that its words mean."""
    return [(name, result.conventions[key]) for key, name in TERMS.items() if key in result.conventions]
