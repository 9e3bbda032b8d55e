"""Whatever is imported is declared: the distribution behind each import stands in pyproject.toml."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOP = Path(__file__).parents[2]
OURS = {"testbed", "edge", "server", "calibration", "tests"}
ABSENT_HERE = {"iio": "pylibiio", "adi": "pyadi-iio"}  # extras that are not called as their modules are
NO_DISTRIBUTION = {"gnuradio", "pmt"}  # come with the system's GNU Radio, used by tests of interoperation


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(path: Path) -> set[str]:
    """Top-level names of all imports in a file, wherever they stand in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - OURS


def distributions(requirements: Iterable[str]) -> set[str]:
    return {canonical(re.split(r"[\[<>=!~ ;]", text)[0]) for text in requirements}


def undeclared(folder: Path, packages: Iterable[str], declared: set[str]) -> list[str]:
    """``FILE: MODULE`` of every import whose distribution is not declared."""
    known = packages_distributions()
    found = []
    for path in sorted(p for package in packages for p in (folder / package).rglob("*.py")):
        for name in imported(path) - NO_DISTRIBUTION:
            candidates = {canonical(d) for d in known.get(name, [ABSENT_HERE.get(name, name)])}
            if not candidates & declared and not list(path.parent.glob(f"{name}.py")):
                found.append(f"{path.relative_to(folder)}: {name}")
    return found


def declared_names() -> tuple[set[str], set[str]]:
    """Distributions declared for users, and for those who test as well."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = distributions(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        shipped |= distributions(extra)
    groups = project["dependency-groups"].values()
    return shipped, shipped.union(*(distributions(group) for group in groups))


def test_every_import_is_declared():
    shipped, with_tests = declared_names()
    assert undeclared(TOP, sorted(OURS - {"tests"}), shipped) == []
    assert undeclared(TOP, ["tests"], with_tests) == []


@pytest.mark.parametrize(
    "line", ["import yaml", "def f():\n    from yaml.nodes import Node\n", "import numpy, yaml.nodes"]
)
def test_an_import_that_is_not_declared_is_found(tmp_path: Path, line: str):
    """At the top of a file or inside a function, by itself or among others."""
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "node.py").write_text(line)
    assert undeclared(tmp_path, ["edge"], {"numpy"}) == ["edge/node.py: yaml"]
