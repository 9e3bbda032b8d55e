"""Read, change and write scenarios and node configurations as TOML. Unknown keys and wrong values are errors."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from testbed.config.scenario import Scenario
from testbed.errors import ScenarioError
from testbed.phy.waveform import PROFILES
from testbed.text import without_mark

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

T = TypeVar("T")


def load_scenario(path: Path, settings: list[str] | None = None, seed: int | None = None) -> Scenario:
    """Read a scenario TOML, apply ``key=value`` settings in order, check everything.

    Raises
    ------
    ScenarioError
        One line: file, key, value, what is allowed.
    """
    try:
        tree = read_toml(path)
    except OSError as error:
        raise ScenarioError(f"{path}: no scenario file that can be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path.name}: not a TOML file: {error}") from error
    try:
        for setting in settings or []:
            apply_setting(tree, setting)
        if seed is not None:
            tree["seed"] = seed
        waveform = tree.get("waveform", {})
        if isinstance(waveform, dict):
            profile = waveform.get("profile", "ota")
            if not isinstance(profile, str) or profile not in PROFILES:
                raise ScenarioError(f"waveform.profile = {profile!r}: allowed: {', '.join(PROFILES)}")
        return convert(tree, Scenario)
    except ScenarioError as error:
        raise ScenarioError(f"{path.name}: {error}") from error


def load_node(path: Path, kind: type[T]) -> T:
    """Read one node's own configuration, as ``semtb run`` or ``semtb resolve`` wrote it."""
    try:
        return convert(read_toml(path), kind)
    except OSError as error:
        raise ScenarioError(
            f"{path}: {error.strerror}; `semtb resolve SCENARIO --out DIR` writes a file for each node"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path.name}: not a TOML file: {error}") from error
    except ScenarioError as error:
        raise ScenarioError(f"{path.name}: {error}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's tables; a byte-order mark is passed over, and names of files may hold bytes that are not UTF-8."""
    return tomllib.loads(without_mark(path.read_bytes()).decode("utf-8", "surrogateescape"))


def dump(config: msgspec.Struct) -> bytes:
    """The TOML of a scenario or node configuration; keys that are None are left out."""
    import tomli_w

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if v is not None}
        if isinstance(value, list):
            return [strip(v) for v in value]
        return value

    return tomli_w.dumps(strip(msgspec.to_builtins(config))).encode("utf-8", "surrogateescape")


def apply_setting(tree: dict[str, Any], setting: str) -> None:
    """Apply one ``a.b.c=value`` to a tree. The value is TOML where it parses as such, else a string.

    A list's element is named by its index or by its ``name``: ``edges.edge-1.images=/data/kodak``.
    """
    path, equals, text = setting.partition("=")
    if not equals or not path.strip():
        raise ScenarioError(f"--set {setting}: write it as key=value, for example air.snr_db=10")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    keys = path.strip().split(".")
    node: Any = tree
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(node, list):
            position = find_element(node, key, ".".join(keys[:depth]))
            if last:
                node[position] = value
            else:
                node = node[position]
        elif isinstance(node, dict):
            if last:
                node[key] = value
            else:
                node = node.setdefault(key, {})
        else:
            raise ScenarioError(f"--set {setting}: {'.'.join(keys[:depth])} is a value, not a table")


def find_element(items: list[Any], key: str, where: str) -> int:
    """Index of a list's element by number or by its ``name``."""
    names = [str(item.get("name", "")) if isinstance(item, dict) else "" for item in items]
    if key in names:
        return names.index(key)
    if key.isdigit() and int(key) < len(items):
        return int(key)
    raise ScenarioError(f"{where}.{key}: no such element; known here: {', '.join(names)} or 0..{len(items) - 1}")


def convert(tree: Any, kind: type[T]) -> T:
    """Convert and say in our words what msgspec finds wrong."""
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise ScenarioError(explain(error, tree, kind)) from error


def explain(error: msgspec.ValidationError, tree: Any, kind: type) -> str:
    """msgspec's message as ``key: what is wrong``, with the known keys and the nearest one where a key is unknown."""
    message, _, path = str(error).partition(" - at `$")
    where = re.sub(r"\[(\d+)\]", r".\1", path.rstrip("`")).strip(".")
    unknown = re.match(r"Object contains unknown field `(.*)`", message)
    if not unknown:
        return f"{where}: {message}" if where else message
    key = unknown.group(1)
    struct = struct_at(kind, where)
    known = [f.encode_name for f in msgspec.structs.fields(struct)] if struct else []
    near = difflib.get_close_matches(key, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{where + '.' if where else ''}{key}: unknown key. Known here: {', '.join(known)}.{hint}"


def struct_at(kind: Any, where: str) -> type[msgspec.Struct] | None:
    """The struct type that stands at a dotted path below ``kind``."""
    for key in [k for k in where.split(".") if k and k != "..."]:
        if key.isdigit():
            kind = next((a for a in getattr(kind, "__args__", ()) if isinstance(a, type)), None)
            continue
        hints = {f.encode_name: f.type for f in msgspec.structs.fields(kind)} if isinstance(kind, type) else {}
        kind = hints.get(key)
    if getattr(kind, "__origin__", None) is list:
        kind = kind.__args__[0]
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None
