"""`semtb report DIR`: draws the figures of a run folder and writes report.html, one page that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from testbed.errors import DataError
from testbed.record.federated import is_federated
from testbed.record.folder import REPORT, RunFolder, figure_name
from testbed.report import drawing, pictures
from testbed.report.captions import Drawn, draw_figures
from testbed.report.federated import make_federated_report
from testbed.report.loading import RunRecord, load
from testbed.report.page import data_uri, page, png
from testbed.report.words import air_rows, counted_rows, finding, recording, setting, tiles, user_rows

PAGE_BYTES = 8_000_000  # of pictures in one page: what mail still carries; each user's first is always shown
FIGURE_PICTURES = 8  # rows of figures/pictures.png


def make_report(run_dir: Path) -> Path:
    """Draw figures/*.svg and *.png and write report.html from what the folder of a run, federated or not, holds.

    Parameters
    ----------
    run_dir : Path
        A run folder, complete or not.

    Returns
    -------
    Path
        Of report.html.

    Raises
    ------
    DataError
        If ``run_dir`` is no run folder or one of its files is damaged.
    """
    folder = RunFolder(run_dir)
    if is_federated(folder):
        return make_federated_report(folder)
    record = load(folder)
    drawn = draw_figures(record)
    for figure in drawn:
        folder.write_text(figure_name(figure.key, "svg"), figure.svg)
    if record.pictures:
        rows = [picture for picture, _ in record.pictures[:FIGURE_PICTURES]]
        folder.write_bytes(figure_name("pictures", "png"), pictures.comparison(rows))
        folder.write_bytes(figure_name("overview", "png"), make_hero(run_dir, record))
    return folder.write_text(REPORT, render(record, drawn))


def make_hero(run_dir: Path, record: RunRecord | None = None) -> bytes:
    """The README's picture: a PNG of at most 300 kB, each user's first picture before and after the channel.

    Raises
    ------
    DataError
        If the run folder holds no picture.
    """
    record = record or load(RunFolder(run_dir))
    firsts: dict[int, pictures.Comparison] = {}
    for picture, _ in record.pictures:
        firsts.setdefault(picture.user, picture)
    if not firsts:
        raise DataError(f"{run_dir}: holds no picture to show")
    rate_hz = float(record.arrays.get("sample_rate_hz", 0.0))
    iq = record.arrays.get("spectrum_iq") if rate_hz > 0 else None
    return pictures.overview([firsts[user] for user in sorted(firsts)], iq, rate_hz)


def render(record: RunRecord, drawn: list[Drawn]) -> str:
    """The page as one text; every picture and figure stands inside it."""
    shown, left_out = picture_blocks(record)
    return page(
        "report.html.j2",
        run=record.folder.path.resolve().name,
        result=record.result,
        commit=record.result.git_commit if record.result else "",
        warnings=record.result.metrics.warnings if record.result else [],
        complete=record.result is not None and record.result.complete,
        finding=finding(record),
        setting=setting(record),
        tiles=tiles(record),
        users=record.users,
        user_rows=user_rows(record),
        air_rows=air_rows(record),
        counted_rows=counted_rows(record),
        recording=recording(record),
        pictures=shown,
        left_out=left_out,
        figures=[(f, drawing.inline(f.svg, f.key)) for f in drawn],
        scenario_toml=record.scenario_toml,
        missing=record.missing,
    )


def picture_blocks(record: RunRecord) -> tuple[list[dict[str, Any]], int]:
    """What the page shows of each picture, and how many pictures it leaves to the folder."""
    blocks: list[dict[str, Any]] = []
    seen: set[int] = set()
    spent = 0
    for picture, names in record.pictures:
        present = [n for n in names if record.folder.has(n)]
        size = sum(record.folder.file(n).stat().st_size for n in present)
        if picture.user in seen and spent + size > PAGE_BYTES:
            continue
        seen.add(picture.user)
        spent += size
        blocks.append(picture_block(record, picture, names))
    return blocks, len(record.pictures) - len(blocks)


def picture_block(record: RunRecord, picture: pictures.Comparison, names: tuple[str, str, str]) -> dict[str, Any]:
    """One picture's three states with captions, and the same part of each magnified."""
    states = []
    original = picture.sent
    part = pictures.detail(original) if original is not None and min(original.shape[:2]) >= 160 else None
    lost = f"{100 * picture.lost_share:.1f} % of its symbols lost" if picture.lost_share else ""
    for label, pixels, name, words in (
        ("Sent", picture.sent, names[0], picture.reading),
        ("Received", picture.received, names[1], pictures.measured(picture.psnr_db, picture.ssim)),
        ("Single-user bound", picture.bound, names[2], pictures.measured(picture.single_user_psnr_db)),
    ):
        if picture.reading and label != "Sent":
            continue  # what was decoded is a class, no picture
        state = {"label": label, "words": words, "lost": lost if label == "Received" else "", "uri": "", "detail": ""}
        state["alt"] = f"{label}: {picture.name} of {picture.node}" + (f", {words}" if words else "")
        if pixels is not None:
            state["uri"] = data_uri(record.folder.read_bytes(name))
            if part and pixels.shape == original.shape:  # type: ignore[union-attr]
                top, left, height, width = part
                state["detail"] = data_uri(png(pixels[top : top + height, left : left + width]))
        states.append(state)
    block: dict[str, Any] = {"node": picture.node, "user": picture.user, "name": picture.name, "states": states}
    block["codec"] = picture.codec if len({other.codec for other, _ in record.pictures}) > 1 else ""
    shape = next((p.shape for p in (original, picture.received) if p is not None), (0, 0, 3))
    block |= {"height": shape[0], "width": shape[1], "box": None, "small": max(shape[:2]) < 200}
    if part:
        top, left, height, width = part
        block["box"] = [100 * v for v in (left / shape[1], top / shape[0], width / shape[1], height / shape[0])]
    return block
