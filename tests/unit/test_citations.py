"""A reader finds every document that the code and its tests speak of."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("testbed", "edge", "server", "calibration", "firmware_configs", "tests", "docs")
DOCUMENT = re.compile(r"[\w./-]*\w\.(?:md|rst|ipynb)\b(?!\()")


def test_every_document_that_is_cited_is_in_the_repository():
    files = [*ROOT.glob("*.*"), *(f for folder in FOLDERS for f in (ROOT / folder).rglob("*.*") if f.is_file())]
    there = {str(file.relative_to(ROOT)) for file in files}
    assert "README.md" in there
    missing = [
        f"{file.relative_to(ROOT)}: {cited}"
        for file in files
        if file.suffix in (".py", ".md", ".toml", ".j2", ".html", ".css")
        for cited in DOCUMENT.findall(file.read_text())
        if not any(("/" + name).endswith("/" + cited.removeprefix("./").lstrip("/")) for name in there)
    ]
    assert not missing, "\n".join(missing)
