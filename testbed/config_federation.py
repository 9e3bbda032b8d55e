"""What the nodes of a federated run are told: one file each, marked ``role = "federation"``. See testbed/config.py."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from testbed.codec.links import Link
from testbed.config import Strict, check, convert, load_node, read_toml

ROLE: Literal["federation"] = "federation"
STRATEGIES = ("evidence", "mean-logits")
T = TypeVar("T")
F = TypeVar("F", bound=msgspec.Struct)


class PrivacyPart(Strict, frozen=True):
    """What an edge promises to the people whose records it holds. It holds the promise itself, whatever it is asked."""

    epsilon: float  # composed over all that the ledger holds; inf: nothing is promised
    delta: float
    noise_multiplier: float  # of each release; checked against the budget by the edge's own accountant
    ledger: str  # file; it stands for the records, so it stays as long as they do
    noise_seed: int | None = None  # None: the operating system's entropy. A seed that others know voids the promise

    def __post_init__(self) -> None:
        check(self.epsilon > 0, "privacy.epsilon", self.epsilon, "above 0; inf promises nothing")
        check(0 < self.delta < 1, "privacy.delta", self.delta, "between 0 and 1")
        check(self.noise_multiplier >= 0, "privacy.noise_multiplier", self.noise_multiplier, "0 (no noise) and above")


class LearnerConfig(Strict, frozen=True):
    """All that an edge's process is told."""

    role: Literal["federation"]
    name: str
    seed: int
    control: str
    records: str  # .npz of pictures and labels: its own, and nobody else's
    state: str  # folder for what it installs and writes down
    link: Link
    privacy: PrivacyPart
    symbols: int  # complex channel uses of a picture
    classes: int


class TeacherConfig(Strict, frozen=True):
    """All that the server's process is told."""

    role: Literal["federation"]
    name: str
    seed: int
    control: str
    expects: list[str]
    public: str  # .npz of pictures alone
    strategy: str
    rounds: int
    symbols: int
    classes: int

    def __post_init__(self) -> None:
        check(self.strategy in STRATEGIES, "strategy", self.strategy, ", ".join(STRATEGIES))
        check(1 <= self.rounds <= 100, "rounds", self.rounds, "1..100")
        check(1 <= self.symbols <= 32, "symbols", self.symbols, "1..32")
        check(bool(self.expects), "expects", "[]", "at least one edge")


def load_node_or_federated(path: Path, kind: type[T], federated: type[F]) -> T | F:
    """One node's own configuration: a federated one if it says so, else that of a run over the air."""
    try:
        tree = read_toml(path)
    except (OSError, ValueError):
        return load_node(path, kind)  # says what is wrong
    return convert(tree, federated) if tree.get("role") == ROLE else load_node(path, kind)
