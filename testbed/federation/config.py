"""Configuration of a federated run's nodes: one file each, marked ``role = "federation"``. See testbed/config.py."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from testbed.codec.links import Link
from testbed.config import Strict, check, convert, load_node, read_toml
from testbed.federation.registry import open_strategy
from testbed.privacy.mechanisms.registry import open_mechanism

ROLE: Literal["federation"] = "federation"
MAX_ROUNDS = 100
DEADLINE_S = 180.0  # for an answer; training on a loaded board takes tens of seconds
T = TypeVar("T")
F = TypeVar("F", bound=msgspec.Struct)


class PrivacyPart(Strict, frozen=True):
    """What an edge promises to the people whose records it holds. It holds the promise itself, whatever it is asked."""

    epsilon: float  # composed over all that the ledger holds; inf: nothing is promised
    delta: float
    mechanism: str
    noise_multiplier: float  # of each release; checked against the budget by the edge's own accountant
    ledger: str  # file; it stands for the records, so it stays as long as they do
    noise_seed: int | None = None  # None: the operating system's entropy. A seed that others know voids the promise

    def __post_init__(self) -> None:
        check(self.epsilon > 0, "privacy.epsilon", self.epsilon, "above 0; inf promises nothing")
        check(0 < self.delta < 1, "privacy.delta", self.delta, "between 0 and 1")
        open_mechanism(self.mechanism, self.noise_multiplier)


class LearnerConfig(Strict, frozen=True):
    """An edge's process."""

    role: Literal["federation"]
    name: str
    seed: int
    control: str
    records: str  # .npz of pictures and labels: its own, and nobody else's
    state: str  # folder for what it installs and writes down
    link: Link
    privacy: PrivacyPart
    codec: str  # of the models that are trained
    symbols: int  # complex channel uses of a picture
    classes: int
    records_at_most: int  # public, agreed with the server; with more of them an edge does not begin


class TeacherConfig(Strict, frozen=True):
    """The server's process."""

    role: Literal["federation"]
    name: str
    seed: int
    control: str
    expects: list[str]
    public: str  # .npz of pictures alone
    strategy: str
    mechanism: str  # agreed with the edges; an upload of another one is refused
    noise_multiplier: float  # likewise
    rounds: int
    codec: str
    symbols: int
    classes: int
    records_at_most: int
    quorum: int  # a round in which fewer edges answered ends the run
    deadline_s: float = DEADLINE_S  # a round waits so long for who does not answer

    def __post_init__(self) -> None:
        open_strategy(self.strategy)
        open_mechanism(self.mechanism, self.noise_multiplier)
        check(1 <= self.rounds <= MAX_ROUNDS, "rounds", self.rounds, f"1..{MAX_ROUNDS}")
        check(1 <= self.symbols <= 32, "symbols", self.symbols, "1..32")
        check(bool(self.expects), "expects", "[]", "at least one edge")
        check(1 <= self.quorum <= len(self.expects), "quorum", self.quorum, f"1..{len(self.expects)}, edges expected")
        check(0 < self.deadline_s <= 86400, "deadline_s", self.deadline_s, "above 0, at most 86400 (s)")


def load_node_or_federated(path: Path, kind: type[T], federated: type[F]) -> T | F:
    """One node's own configuration: a federated one if it says so, else that of a run over the air.

    Parameters
    ----------
    path : Path
    kind, federated : type
        The structures of either.

    Returns
    -------
    kind or federated
    """
    try:
        tree = read_toml(path)
    except (OSError, ValueError):
        return load_node(path, kind)  # says what is wrong
    return convert(tree, federated) if tree.get("role") == ROLE else load_node(path, kind)
