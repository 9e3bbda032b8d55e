"""Reads a run folder for the report: everything is optional, and what is missing is listed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from testbed.config import Scenario, load_scenario
from testbed.errors import DataError, SemtbError
from testbed.record.folder import (
    FIGURE_DATA,
    RESULT,
    SCENARIO,
    RunFolder,
    bound_name,
    received_name,
    sent_folder,
    sent_name,
)
from testbed.record.schema import Picture, Result, User, read_result
from testbed.report.pictures import Comparison


@dataclass
class RunRecord:
    """What a run left, as far as it is there."""

    folder: RunFolder
    result: Result | None = None
    scenario: Scenario | None = None
    scenario_toml: str = ""
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    pictures: list[tuple[Comparison, tuple[str, str, str]]] = field(default_factory=list)  # names of its three files
    missing: list[str] = field(default_factory=list)  # one line each

    @property
    def users(self) -> list[User]:
        """Users that were measured."""
        return self.result.metrics.users if self.result else []

    def user_name(self, user: int) -> str:
        """The node of a user; its number where no node is known."""
        known = {u.user: u.node for u in self.users}
        known |= {e.user: e.name for e in self.scenario.edges} if self.scenario else {}
        return known.get(user, f"user {user}")


def load(folder: RunFolder) -> RunRecord:
    """Read all that is there.

    Raises
    ------
    DataError
        If the folder holds neither result.json nor scenario.toml, so is no run, or if one of its files is damaged.
    """
    if not folder.has(RESULT) and not folder.has(SCENARIO):
        raise DataError(f"{folder.path}: holds neither {RESULT} nor {SCENARIO}, so it is no run folder")
    record = RunRecord(folder)
    if folder.has(RESULT):
        record.result = read_result(folder)
    else:
        record.missing.append(f"{RESULT}: the run ended before it was written")
    _load_scenario(record)
    if folder.has(FIGURE_DATA):
        record.arrays = folder.read_npz(FIGURE_DATA)
    else:
        record.missing.append(f"{FIGURE_DATA}: without it there are no figures of the signal")
    _load_pictures(record)
    return record


def _load_scenario(record: RunRecord) -> None:
    """A scenario of another version may not convert; its text is shown all the same."""
    if not record.folder.has(SCENARIO):
        record.missing.append(f"{SCENARIO}: the scenario as resolved")
        return
    record.scenario_toml = record.folder.read_text(SCENARIO)
    try:
        record.scenario = load_scenario(record.folder.file(SCENARIO))
    except SemtbError as error:
        record.missing.append(f"the scenario's values: {error}")


def _load_pictures(record: RunRecord) -> None:
    measured = [(u.user, u.node, k, p) for u in record.users for k, p in enumerate(u.pictures)]
    if not measured:
        measured = _unmeasured(record)
    for user, node, index, picture in measured:
        names = sent_name(node, index), received_name(node, index), bound_name(node, index)
        sent, received, bound = (record.folder.read_png(n) if record.folder.has(n) else None for n in names)
        labelled = isinstance(picture.label, int)
        shown = list(zip(names, (sent, received, bound), strict=True))[: 1 if labelled else 3]
        record.missing += [n for n, there in shown if there is None]
        item = Comparison(node=node, user=user, name=picture.name, sent=sent, received=received, bound=bound)
        item.psnr_db, item.ssim, item.lost_share = picture.psnr_db, picture.ssim, picture.lost_share
        item.single_user_psnr_db, item.codec = picture.single_user_psnr_db, picture.codec
        if labelled:
            item.reading = (
                f"shows {picture.label}, read as {picture.read_as}"
                if picture.read_as is not None
                else (f"shows {picture.label}, nothing arrived")
            )
        record.pictures.append((item, names))


def _unmeasured(record: RunRecord) -> list[tuple[int, str, int, Picture]]:
    """Pictures that lie in the folder of a run without metrics, with nothing known of them but their place."""
    found: list[tuple[int, str, int, Picture]] = []
    for edge in record.scenario.edges if record.scenario else []:
        numbers = {n.rsplit("/", 1)[1] for n in record.folder.names(sent_folder(edge.name), "*.png")}
        numbers |= {n.rsplit("-", 1)[1] for n in record.folder.names("received", f"{edge.name}-[0-9]*.png")}
        for number in sorted(n[:-4] for n in numbers if n[:-4].isdigit()):
            unknown = Picture(
                name=f"picture {number}", height=0, width=0, psnr_db=None, ssim=None, single_user_psnr_db=None
            )
            found.append((edge.user, edge.name, int(number), unknown))
    return found
