"""What result.json of a federated run holds, and its reader; that of a run over the air is `testbed.record.schema`."""

from __future__ import annotations

import msgspec

from testbed.errors import DataError
from testbed.privacy.accounting import DELTA, NEIGHBOURING
from testbed.record.folder import RESULT, RunFolder


class Round(msgspec.Struct):
    """One round."""

    round: int
    accuracy: float
    validation_accuracy: float
    epsilon: float | None
    uploads: int
    refused: int
    rejected: int = 0
    missing: int = 0


class Comparison(msgspec.Struct):
    """One thing that it is compared with."""

    accuracy: float
    validation_accuracy: float
    note: str = ""


class Client(msgspec.Struct, kw_only=True):
    """One edge: what it held, over which channel, and what its own ledger says. No other node knows it."""

    name: str
    channel: str  # AWGN or Rayleigh
    snr_db: float
    labels: list[int]  # records of each class
    releases: int  # on its ledger; with --ledgers also those of earlier runs
    refused: int  # how often its own ledger, or what it was asked for, made it refuse
    rejected: int = 0  # how often the server did not take what it uploaded
    missing: int = 0  # how often it did not answer
    lost: str = ""  # why it was gone at the end; empty: it was not
    epsilon: float | None  # composed over its ledger; None: a release had no noise
    accuracy: float | None = None  # of the last pair over this edge's link, on the test part


class Rejection(msgspec.Struct, kw_only=True):
    """An upload that lay outside of what was agreed, so nothing of it was used."""

    round: int
    node: str
    reason: str


class Sample(msgspec.Struct, kw_only=True):
    """One test picture, by its place in the test part and not by its outcome; ``file`` lies in the run folder."""

    file: str
    label: int
    predictions: list[int]  # by the last pair, over each client's link


class FederatedResult(msgspec.Struct, kw_only=True):
    """result.json."""

    name: str
    task: str
    complete: bool
    reason: str = ""
    warnings: list[str] = []  # what must not be passed over in reading the accuracy
    accuracy: float | None = None  # after the last round, on the test part
    standard_error: float | None = None  # of it, over test pictures; one split and one training
    epsilon: float | None = None
    epsilon_allowed: float | None = None
    delta: float = DELTA
    neighbouring: str = NEIGHBOURING
    noise: str = ""
    noise_seed: int | None = None
    noise_multiplier: float | None = None
    mechanism: str = ""
    sensitivity: float | None = None  # of one release, in the mechanism's norm; the largest on the ledgers
    sensitivity_norm: int = 2
    values_per_release: int | None = None
    strategy: str = ""
    symbols: int | None = None  # complex channel uses of a picture
    seed: int = 0
    side: int | None = None  # pixels, of a square picture
    quorum: int | None = None
    deadline_s: float | None = None
    rejections: list[Rejection] = []
    rounds: list[Round] = []
    comparisons: dict[str, Comparison] = {}
    fedavg_by_round: dict[int, float] = {}
    clients: list[Client] = []
    confusion: list[list[int]] = []  # [label][prediction], decisions on the test part over all links, last round
    samples: list[Sample] = []
    conventions: dict[str, str] = {}
    command: str = ""
    commit: str = ""
    machine: str = ""
    versions: dict[str, str] = {}
    wall_time_s: float | None = None


def is_federated(folder: RunFolder) -> bool:
    """Whether result.json is a federated run's; no result.json: no.

    Raises
    ------
    DataError
        If it is neither that nor the result of a run over the air.
    """
    if not folder.has(RESULT):
        return False
    tree = folder.read_json(RESULT)
    keys = set(tree) if isinstance(tree, dict) else set()
    if "scenario" in keys:
        return False
    if {"task", "neighbouring"} <= keys:
        return True
    raise DataError(
        f"{folder.path / RESULT}: neither the result of `semtb run` (it would have `scenario`) nor of `semtb federate` "
        "(`task`, `neighbouring`), so there is nothing to report"
    )


def read_federated(folder: RunFolder) -> FederatedResult:
    """Read result.json; fields that a later version added are passed over.

    Raises
    ------
    DataError
        If it is missing or not a federated result.
    """
    try:
        return msgspec.json.decode(folder.read_bytes(RESULT), type=FederatedResult)
    except msgspec.DecodeError as error:
        raise DataError(f"{folder.path / RESULT}: not the result of a federated run: {error}") from error
