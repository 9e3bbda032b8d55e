"""What `semtb replay` shows: two receivers side by side, or who was heard in a recording of unknown origin."""

from __future__ import annotations

from collections import Counter

from rich.table import Table

from server.recording import frame_from_arrays
from testbed.config import Scenario
from testbed.record.folder import FRAMES, SUMMARY, RunFolder
from testbed.record.schema import Result, User


def side_by_side(known: Result, again: Result) -> Table:
    """Each user as the run received it and as the replay did."""
    labels = any(isinstance(user.accuracy, float) for user in known.metrics.users)
    quality = ("accuracy %",) if labels else ("PSNR dB", "SSIM")
    table = Table(title="received then and now")
    for column in ("user", "node", "received", *quality, "SINR dB", "frames"):
        table.add_column(column, justify="left" if column in ("node", "received") else "right")
    for before, after in zip(known.metrics.users, again.metrics.users, strict=True):
        for when, user in (("by the run", before), ("by the replay", after)):
            table.add_row(str(user.user), user.node, when, *row(user, labels))
    return table


def row(user: User, labels: bool) -> list[str]:
    """A user's figures."""

    def number(value: object, digits: int, factor: float = 1.0) -> str:
        return f"{factor * value:.{digits}f}" if isinstance(value, float) else "-"

    quality = [number(user.accuracy, 1, 100.0)] if labels else [number(user.psnr_db, 2), number(user.ssim, 3)]
    return [*quality, number(user.sinr_db_true, 1), f"{user.frames_detected}/{user.frames_sent}"]


def who_was_heard(folder: RunFolder, scenario: Scenario) -> Table:
    """Frames and pictures of each user."""
    frames: Counter[int] = Counter()
    for name in folder.names(*FRAMES):
        frames.update(part.user for part in frame_from_arrays(folder.read_npz(name)).users if part.header is not None)
    pictures = Counter(fact["user"] for fact in folder.read_json(SUMMARY)["pictures"])
    table = Table(title="heard in the recording")
    for column in ("user", "node", "frames read", "pictures"):
        table.add_column(column, justify="left" if column == "node" else "right")
    names = {edge.user: edge.name for edge in scenario.edges}
    for user in sorted({*names, *frames}):
        table.add_row(str(user), names.get(user, "-"), str(frames[user]), str(pictures[user]))
    return table
