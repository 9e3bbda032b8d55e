"""What can be learned by `semtb federate TASK`: a data set, how it is cut, and the models that learn it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import msgspec

from testbed.data.split import Split, cut
from testbed.errors import ScenarioError


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One task; a line below adds another. Its module states SIDE, CLASSES, PARTS, KEY and `load`."""

    title: str
    data: str  # module
    codec: str = "classifier"  # of the models that are trained
    symbols: int = 12  # complex channel uses of a picture


TASKS = {
    "digits": Task(title="UCI digits", data="testbed.data.digits"),
    "mnist": Task(title="MNIST", data="testbed.data.mnist"),
}


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A task with its data set."""

    name: str
    task: Task
    split: Callable[[int, int, int], Split]  # of seed, clients, slices each
    side: int  # pixels
    classes: int
    test: int  # pictures
    validation: int
    private: int


def open_task(name: str) -> Opened:
    """The task of a name.

    Parameters
    ----------
    name : str

    Returns
    -------
    Opened

    Raises
    ------
    ScenarioError
        If none has this name; the message lists those that are known.
    """
    if name not in TASKS:
        raise ScenarioError(f"task = {name}: allowed: {', '.join(TASKS)}")
    data = import_module(TASKS[name].data)

    def split(seed: int, clients: int, slices_each: int) -> Split:
        return cut(data.load, data.PARTS, data.KEY, seed, clients, slices_each)

    return Opened(
        name=name,
        task=TASKS[name],
        split=split,
        side=data.SIDE,
        classes=data.CLASSES,
        test=data.PARTS.test,
        validation=data.PARTS.validation,
        private=data.PARTS.private,
    )
