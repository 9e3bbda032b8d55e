"""What the evaluator keeps beyond one accuracy: confusions, a sample chosen blindly, what each edge held and spent."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from testbed.data.partition import Labelled
from testbed.experiments.federate.plan import Plan
from testbed.federation.config import LearnerConfig
from testbed.privacy.ledger import Entry, read_entries
from testbed.record.events import RoundDone, read_events
from testbed.record.federated import Client, Rejection, Sample
from testbed.record.folder import DIARY, RunFolder, sample_name

SAMPLES = 20  # the first of the test part, whatever becomes of them


def standard_error(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Of the accuracy, over pictures: the links' decisions on one picture hang together, so each picture counts once.

    Parameters
    ----------
    predictions : [links, n] int
    labels : [n] int
    """
    by_picture = (predictions == labels).mean(axis=0)
    return float(by_picture.std(ddof=1) / np.sqrt(len(labels)))


def confusion(predictions: np.ndarray, labels: np.ndarray, classes: int) -> list[list[int]]:
    """[label][prediction]: how often, over all links."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (np.broadcast_to(labels, predictions.shape), predictions), 1)
    return counts.tolist()


def keep_samples(predictions: np.ndarray, test: Labelled, side: int, folder: RunFolder) -> list[Sample]:
    """The first test pictures as files, dark on light, with the class named for each. All nodes have ended by then."""
    kept = []
    for index in range(min(SAMPLES, len(test))):
        name = sample_name(index)
        folder.write_png(name, np.round(255 * (1 - test.pictures[index].reshape(side, side))))
        kept.append(Sample(file=name, label=int(test.labels[index]), predictions=predictions[:, index].tolist()))
    return kept


def rounds_done(folder: RunFolder) -> dict[int, RoundDone]:
    """What the server wrote down of each round."""
    return {event.round: event for event in read_events(folder) if isinstance(event, RoundDone)}


def client_rows(configs: Plan, clients: list[Labelled], folder: RunFolder) -> list[Client]:
    """One row for each edge, without accuracies."""
    rounds = rounds_done(folder)
    lost = rounds[max(rounds)].lost if rounds else {}
    rows = []
    for edge, records in zip(configs.edges, clients, strict=True):
        entries = read_entries(Path(edge.privacy.ledger))
        rows.append(
            Client(
                name=edge.name,
                channel=edge.link.kind,
                snr_db=edge.link.snr_db,
                labels=np.bincount(records.labels, minlength=configs.server.classes).tolist(),
                releases=len(entries),
                refused=sum(edge.name in one.refused for one in rounds.values()),
                rejected=sum(edge.name in one.rejected for one in rounds.values()),
                missing=sum(edge.name in one.missing for one in rounds.values()),
                lost=lost.get(edge.name, ""),
                epsilon=entries[-1].epsilon if entries else 0.0,
            )
        )
    return rows


def ledger_lengths(edge: LearnerConfig, rounds: int) -> list[int]:
    """How many entries an edge's ledger had after each round, 0 to ``rounds``, by its own diary.

    What stood there before the run counts from round 0. After the last round of which the diary tells, all counts: an
    edge that was lost may have been charged for more than it installed.
    """
    diary = RunFolder(Path(edge.state))
    lines = diary.read_lines(DIARY) if diary.has(DIARY) else []
    known = {line["round"]: line["releases"] for line in lines}
    total = len(read_entries(Path(edge.privacy.ledger)))
    last = max(known, default=-1)
    lengths: list[int] = []
    for number in range(rounds + 1):
        before = lengths[-1] if lengths else 0
        lengths.append(known.get(number, before) if number <= last else total)
    return lengths


def rejections(folder: RunFolder) -> list[Rejection]:
    """Uploads that the server did not take."""
    return [
        Rejection(round=number, node=node, reason=reason)
        for number, done in sorted(rounds_done(folder).items())
        for node, reason in done.rejected.items()
    ]


def all_entries(configs: Plan) -> list[Entry]:
    """Of all ledgers."""
    return [entry for edge in configs.edges for entry in read_entries(Path(edge.privacy.ledger))]
