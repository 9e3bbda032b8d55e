"""Scenarios by name: those that ship in `scenarios/`, and a user's own files, with what the command line changes."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

import msgspec

from testbed.config import Scenario, load_scenario
from testbed.errors import ScenarioError


def shipped_scenarios() -> dict[str, Path]:
    """Scenarios that come with the package, by name."""
    folder = Path(str(resources.files("testbed.experiments"))) / "scenarios"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def purpose(path: Path) -> str:
    """What a scenario file says of itself in its first comment."""
    first = path.read_text(encoding="utf-8-sig", errors="replace").partition("\n")[0]
    return first.lstrip("# ").rstrip() if first.startswith("#") else ""


def find_scenario(name: str) -> Path:
    """A shipped scenario by its name, or the path of a .toml file.

    Raises
    ------
    ScenarioError
        If it is neither; the message lists the shipped ones.
    """
    known = shipped_scenarios()
    if name in known:
        return known[name]
    if name.endswith(".toml") or "/" in name:
        if Path(name).is_file():
            return Path(name)
        raise ScenarioError(f"{name}: no such scenario file. Shipped with the package: {', '.join(known)}")
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ScenarioError(f"{name}: no such scenario. Known: {', '.join(known)}; a path of a .toml file works too.{hint}")


def open_scenario(name: str, settings: list[str], seed: int | None, images: str | None) -> Scenario:
    """Load a scenario with all that the command line changes in it; paths in it become absolute."""
    scenario = load_scenario(find_scenario(name), settings, seed)
    edges = [
        msgspec.structs.replace(edge, images=absolute(images if images is not None else edge.images))
        for edge in scenario.edges
    ]
    codec = msgspec.structs.replace(scenario.codec, name=absolute_card(scenario.codec.name))
    switches = [msgspec.structs.replace(s, codec=absolute_card(s.codec)) for s in scenario.switches]
    return msgspec.structs.replace(scenario, edges=edges, codec=codec, switches=switches)


def absolute(path: str) -> str:
    """The path as any working directory would understand it; empty stays empty."""
    try:
        return str(Path(path).expanduser().absolute()) if path else ""
    except RuntimeError as error:
        raise ScenarioError(f"{path}: no such user's home on this machine") from error


def absolute_card(codec: str) -> str:
    """A name in the zoo as it is, the path of a card absolute."""
    return absolute(codec) if codec.endswith(".json") else codec
