"""What a run is for: what its edges send, what kind of codec carries it, and by which truth it is measured.

Labels are for the evaluator alone: edges find pictures in a folder, and a server sees what it decodes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from testbed.config import EdgePart, Scenario, picture_share
from testbed.data import digits
from testbed.data.partition import Labelled
from testbed.data.pictures import Picture, load_pictures
from testbed.errors import CodecError, ScenarioError
from testbed.record.folder import RunFolder, data_folder

SPLIT_SEED = 1  # what is sent was never seen in training, whatever a run's own seed is


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One task; a line below adds another. Without data of its own, edges send the photographs that they are given."""

    kind: str  # of codec
    metric: str  # "psnr", or "accuracy"
    test: Callable[[], Labelled] | None = None


TASKS = {
    "photographs": Task(kind="picture", metric="psnr"),
    "digits": Task(kind="label", metric="accuracy", test=lambda: digits.split(SPLIT_SEED).test),
}


def task_of(scenario: Scenario) -> Task:
    """The task of a scenario; ScenarioError if none has its name."""
    if scenario.task not in TASKS:
        raise ScenarioError(f"task = {scenario.task}: allowed: {', '.join(TASKS)}")
    return TASKS[scenario.task]


def require_kind(scenario: Scenario, kind: str, label: str) -> None:
    """Raise CodecError if a codec is of a kind that the scenario's task has no use for."""
    wanted = task_of(scenario).kind
    if kind != wanted:
        raise CodecError(f"codec {label} is of kind {kind}; task {scenario.task} asks for kind {wanted}")


def own_records(scenario: Scenario, edge: EdgePart) -> Labelled | None:
    """What an edge is dealt of its task's own data, each in turn; None for a task without."""
    task = task_of(scenario)
    if task.test is None:
        return None
    records = task.test()
    index, of = [e.name for e in scenario.edges].index(edge.name), len(scenario.edges)
    return records[np.arange(index, len(records), of)[: scenario.samples]]


def truth(scenario: Scenario, edge: EdgePart) -> list[int] | None:
    """The labels of all that an edge sends, for the evaluator; None where there are none."""
    records = own_records(scenario, edge)
    return None if records is None else records.labels.tolist() * scenario.repeat


def sources(scenario: Scenario, edge: EdgePart, sides: range) -> list[Picture]:
    """All pictures that an edge sends, in their order.

    Parameters
    ----------
    scenario : Scenario
    edge : EdgePart
    sides : range
        Pixels of a side that its codec takes.
    """
    records = own_records(scenario, edge)
    if records is not None:
        return [Picture(f"{k:04d}", pixels) for k, pixels in enumerate(as_pictures(records))] * scenario.repeat
    return load_pictures(edge.images, picture_share(scenario, edge), scenario.max_pixels, sides) * scenario.repeat


def as_pictures(records: Labelled) -> list[np.ndarray]:
    """[side, side, 3] uint8 of each record."""
    side = round(records.pictures.shape[1] ** 0.5)
    grey = np.rint(records.pictures * 255.0).astype(np.uint8).reshape(-1, side, side, 1)
    return list(np.repeat(grey, 3, axis=3))


def lay_sources(path: Path, scenario: Scenario) -> dict[str, str]:
    """Write what each edge is dealt of the task's own data, without labels; the folder of each edge by its name."""
    folder = RunFolder(path)
    laid = {}
    for edge in scenario.edges:
        records = own_records(scenario, edge)
        if records is None:
            continue
        for k, pixels in enumerate(as_pictures(records)):
            folder.write_png(f"{data_folder(edge.name)}/{k:04d}.png", pixels)
        laid[edge.name] = str(folder.file(data_folder(edge.name)).absolute())
    return laid
