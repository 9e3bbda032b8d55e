"""What the evaluator keeps beyond one accuracy: confusions, a sample chosen blindly, what each edge held and spent."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from testbed.data.digits import CLASSES, SIDE
from testbed.data.partition import Labelled
from testbed.experiments.federate.plan import Plan
from testbed.privacy.ledger import Entry, read_entries
from testbed.record.federated import Client, Sample
from testbed.record.folder import METRICS_LOG, RunFolder

SAMPLES = 20  # the first of the test part, whatever becomes of them


def standard_error(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Of the accuracy, over pictures: the links' decisions on one picture hang together, so each picture counts once.

    Parameters
    ----------
    said : [links, n] int
    labels : [n] int
    """
    by_picture = (predictions == labels).mean(axis=0)
    return float(by_picture.std(ddof=1) / np.sqrt(len(labels)))


def confusion(predictions: np.ndarray, labels: np.ndarray, classes: int = CLASSES) -> list[list[int]]:
    """[label][said]: how often, over all links."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (np.broadcast_to(labels, predictions.shape), predictions), 1)
    return counts.tolist()


def keep_samples(predictions: np.ndarray, test: Labelled, folder: RunFolder) -> list[Sample]:
    """The first test pictures as files, dark on light, with what was said of each. All nodes have ended by then."""
    kept = []
    for index in range(min(SAMPLES, len(test))):
        name = f"sample/{index:03d}.png"
        folder.write_png(name, np.round(255 * (1 - test.pictures[index].reshape(SIDE, SIDE))))
        kept.append(Sample(file=name, label=int(test.labels[index]), predictions=predictions[:, index].tolist()))
    return kept


def round_lines(folder: RunFolder) -> dict[int, dict]:
    """What the server wrote down of each round."""
    lines = folder.read_lines(METRICS_LOG) if folder.has(METRICS_LOG) else []
    return {line["round"]: line for line in lines if line.get("event") == "round"}


def client_rows(configs: Plan, clients: list[Labelled], folder: RunFolder) -> list[Client]:
    """One row for each edge, without accuracies."""
    lines = round_lines(folder).values()
    rows = []
    for edge, records in zip(configs.edges, clients, strict=True):
        entries = read_entries(Path(edge.privacy.ledger))
        rows.append(
            Client(
                name=edge.name,
                channel=edge.link.kind,
                snr_db=edge.link.snr_db,
                labels=np.bincount(records.labels, minlength=CLASSES).tolist(),
                releases=len(entries),
                refused=sum(edge.name in line["refused"] for line in lines),
                epsilon=entries[-1].epsilon if entries else 0.0,
            )
        )
    return rows


def all_entries(configs: Plan) -> list[Entry]:
    """Of all ledgers."""
    return [entry for edge in configs.edges for entry in read_entries(Path(edge.privacy.ledger))]
