"""One data set cut into what each party may see. Only the evaluator comes here: a node gets its own part as a file."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from testbed.data.partition import Labelled, Unlabelled, slices_by_label
from testbed.errors import ScenarioError


class Split(msgspec.Struct, frozen=True):
    """Disjoint parts of one data set."""

    clients: list[Labelled]  # each client's own, seen by it alone
    public: Unlabelled  # seen by all
    public_labels: np.ndarray  # [n] int64, for the evaluator
    validation: Labelled  # for the evaluator: what hyperparameters were chosen on
    test: Labelled  # for the evaluator: what is reported


class Parts(msgspec.Struct, frozen=True):
    """Sizes in records."""

    test: int
    validation: int
    public: int
    private: int

    def counts(self) -> list[int]:
        """In the order in which they are cut."""
        return [self.test, self.validation, self.public, self.private]


def cut(load: Callable[[], Labelled], parts: Parts, key: int, seed: int, clients: int, slices_each: int) -> Split:
    """Cut at random, then deal the private part by label.

    Parameters
    ----------
    load : callable
        Gives the whole data set; what is more than the parts is left out.
    parts : Parts
    key : int
        Of the data set, so that the same seed draws other numbers for another set.
    seed : int
    clients, slices_each : int
        The private part is sorted by label and cut into ``clients * slices_each`` slices.

    Returns
    -------
    Split

    Raises
    ------
    ScenarioError
        If there are more slices than private records.
    """
    if clients * slices_each > parts.private:
        raise ScenarioError(
            f"{clients} clients of {slices_each} slices each: allowed: at most {parts.private} slices, one record each"
        )
    data = load()
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(key,)))
    test, validation, public, private, _ = np.split(rng.permutation(len(data)), np.cumsum(parts.counts()))
    own = data[private]
    dealt = slices_by_label(own.labels, clients, slices_each, rng)
    return Split(
        clients=[own[index] for index in dealt],
        public=data[public].without_labels(),
        public_labels=data.labels[public],
        validation=data[validation],
        test=data[test],
    )
