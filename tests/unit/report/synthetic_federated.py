"""Not a test: the folder of a federated run as `semtb federate` leaves it for a report, without a run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from testbed.data.partition import Labelled
from testbed.experiments.federate.detail import confusion, keep_samples, standard_error
from testbed.record.federated import Client, Comparison, FederatedResult, Round
from testbed.record.folder import RESULT, RunFolder

LINKS, TEST = 4, 60


def decisions(rng: np.random.Generator) -> tuple[np.ndarray, Labelled]:
    """[links, n] predictions, and test pictures: some 9 of 10 right."""
    test = Labelled(rng.random((TEST, 64)).astype(np.float32), rng.integers(0, 10, TEST))
    wrong = rng.random((LINKS, TEST)) < 0.1
    return np.where(wrong, rng.integers(0, 10, wrong.shape), test.labels), test


def make_federated(root: Path, **changed: object) -> RunFolder:
    """A finished run of four edges over two rounds, the second refused by one; ``changed``: fields of the result."""
    folder = RunFolder.create(root, "federate-digits")
    predictions, test = decisions(np.random.default_rng(1))
    clients = [
        Client(
            name=f"edge-{i + 1}",
            channel=("AWGN", "Rayleigh")[i % 2],
            snr_db=6.0 + 3.25 * i,
            labels=[17 if label == i else 23 if label == 9 - i else 0 for label in range(10)],
            releases=2 - (i == 3),
            refused=int(i == 3),
            epsilon=2.145 if i == 3 else 3.171504,
            accuracy=float((predictions[i] == test.labels).mean()),
        )
        for i in range(LINKS)
    ]
    result = FederatedResult(
        name="federate-digits-evidence",
        task="UCI digits",
        complete=True,
        accuracy=0.9234,
        standard_error=standard_error(predictions, test.labels),
        epsilon=3.171504,
        epsilon_allowed=3.5,
        noise="operating system's entropy",
        mechanism="gaussian",
        noise_multiplier=1.8727,
        sensitivity=1.0,
        values_per_release=4000,
        strategy="evidence",
        side=8,
        symbols=12,
        seed=3,
        rounds=[Round(0, 0.1275, 0.0761, 0.0, 0, 0), Round(1, 0.881, 0.8796, 2.145, 4, 0)],
        comparisons={
            "fedavg": Comparison(0.81925, 0.8192, "40 rounds"),
            "best_client": Comparison(0.27425, 0.3045, "edge-2, by validation accuracy"),
            "mean_logits": Comparison(0.3675, 0.3477, "plain mean of the edges' logits, distilled"),
            "pooled": Comparison(0.98375, 0.9802, "all private records in one place"),
        },
        clients=clients,
        confusion=confusion(predictions, test.labels, 10),
        samples=keep_samples(predictions, test, 8, folder),
        conventions={"trusted": "each edge trusts itself alone", "not_private": "fedavg and the others see everything"},
        command="semtb federate digits --epsilon 3.5 --seed 3",
        commit="c7f0e74d3b1a",
        machine="2 cores, x86_64, Linux",
        versions={"python": "3.11.2", "dp-accounting": "0.6.0"},
        wall_time_s=44.6,
    )
    result.rounds.append(Round(2, 0.9234, 0.9012, 3.171504, 3, 1))
    folder.write_json(RESULT, msgspec.structs.replace(result, **changed))
    return folder


def make_cut_off(root: Path, **changed: object) -> RunFolder:
    """One that ended early, with the least that a result.json says."""
    folder = RunFolder.create(root, "federate-digits")
    result = FederatedResult(name="federate-digits-evidence", task="UCI digits", complete=False, reason="edge-3 died")
    folder.write_json(RESULT, msgspec.structs.replace(result, **changed))
    return folder
