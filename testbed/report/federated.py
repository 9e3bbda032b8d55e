"""report.html of a federated run, from result.json and the sample of pictures beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from testbed.record.federated import FederatedResult, Sample, read_federated
from testbed.record.folder import REPORT, RunFolder, figure_name
from testbed.report import drawing, federated_figures
from testbed.report import federated_words as words
from testbed.report.captions import Drawn
from testbed.report.page import data_uri, page


class Recipe(msgspec.Struct, kw_only=True, frozen=True):
    """How a figure is made; None where the result has not what it needs."""

    key: str
    title: str
    caption: str
    alt: str
    draw: Callable[[FederatedResult], drawing.Sheet | None]


def make_federated_report(folder: RunFolder) -> Path:
    """Draw figures/*.svg and rounds.png and write report.html.

    Raises
    ------
    DataError
        If result.json is damaged.
    """
    result = read_federated(folder)
    missing: list[str] = []
    drawn = draw_figures(result, folder, missing)
    text = page(
        "federated.html.j2",
        run=folder.path.resolve().name,
        result=result,
        commit=result.commit,
        complete=result.complete,
        finding=words.finding(result),
        setting=words.setting(result),
        tiles=words.tiles(result),
        warnings=words.warnings(result),
        side=result.side or "",
        samples=sample_blocks(result.samples, folder, missing),
        comparisons=words.comparison_rows(result),
        clients=words.client_rows(result),
        rounds=words.round_rows(result),
        privacy=words.privacy_rows(result),
        terms=words.terms(result),
        figures=[(f, drawing.inline(f.svg, f.key)) for f in drawn],
        missing=missing,
    )
    return folder.write_text(REPORT, text)


def draw_figures(result: FederatedResult, folder: RunFolder, missing: list[str]) -> list[Drawn]:
    """Every figure that the result allows, written and returned; why another one is not there joins ``missing``."""
    drawn = []
    for recipe in RECIPES:
        try:
            sheet = recipe.draw(result)
        except (ValueError, IndexError, KeyError) as error:  # a result of a foreign or later version
            missing.append(f"figure “{recipe.title}”: its data do not fit together ({error})")
            continue
        if sheet is None:
            if result.complete:
                missing.append(f"figure “{recipe.title}”: result.json has no numbers for it")
            continue
        figure = Drawn(key=recipe.key, title=recipe.title, caption=recipe.caption, alt=recipe.alt, svg=sheet.svg())
        folder.write_text(figure_name(figure.key, "svg"), figure.svg)
        folder.write_bytes(figure_name(figure.key, "png"), sheet.png())
        drawn.append(figure)
    return drawn


def sample_blocks(samples: list[Sample], folder: RunFolder, missing: list[str]) -> list[dict[str, Any]]:
    """What the page shows of each picture of the sample."""
    blocks = []
    for sample in samples:
        block: dict[str, Any] = {"label": sample.label, "uri": "", "words": words.sample_words(sample)}
        block["wrong"] = any(p != sample.label for p in sample.predictions)
        if folder.has(sample.file):
            block["uri"] = data_uri(folder.read_bytes(sample.file))
        else:
            missing.append(sample.file)
        blocks.append(block)
    return blocks


RECIPES = (
    Recipe(
        key="rounds",
        title="Accuracy and privacy by round",
        caption="Above: test accuracy of the pair that every edge has installed after each round; round 0 is what was "
        "learned without any label. Below: ε composed over every release until then, the largest of all ledgers.",
        alt="Test accuracy by round with horizontal lines of what it is compared with, and epsilon spent by round.",
        draw=lambda result: federated_figures.rounds(result) if result.rounds else None,
    ),
    Recipe(
        key="confusion",
        title="Which class is taken for which",
        caption="Last round, every test picture over every link: share of each row in per cent, rows what it is, "
        "columns what it is taken for. The diagonal is the accuracy of each class. Colour: square root of the share.",
        alt="Table of shares: true classes down, classes named across.",
        draw=lambda result: federated_figures.confusion(result.confusion) if result.confusion else None,
    ),
    Recipe(
        key="split",
        title="Who holds which classes",
        caption="Private records of each class at each edge: exact, so not private. The evaluator, who made the split, "
        "knows them; no node is told of another.",
        alt="Table of record counts: edges down, classes across.",
        draw=lambda result: federated_figures.split(result.clients) if result.clients else None,
    ),
)
