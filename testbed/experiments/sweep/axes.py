"""What a sweep varies: axes, their values as they are typed, and the points of their product."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from testbed.errors import ScenarioError

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

MAX_POINTS = 100_000
HOW = "write it as key=first:last:step or key=value,value, for example air.snr_db=-10:25:5 or server.estimator=ls,lmmse"


class Axis(msgspec.Struct, frozen=True):
    """One quantity and the values that it takes, in the order in which they are shown."""

    key: str
    values: tuple[Any, ...]


class Point(msgspec.Struct, frozen=True):
    """One measurement of a sweep: a value of each axis.

    Attributes
    ----------
    at : dict
        Axis key to value.
    identity : str
        Names all that decides the outcome; equal identities mean equal figures. Empty: never taken from a journal.
    given : object
        What the task needs besides; picklable where the executor has processes.
    """

    at: dict[str, Any]
    identity: str = ""
    given: Any = None


def parse_axis(text: str) -> Axis:
    """``air.snr_db=-10:25:5`` (both ends included) or ``server.estimator=ls,lmmse``.

    Parameters
    ----------
    text : str

    Returns
    -------
    Axis
        Values are numbers, truth values or lists where they parse as TOML, else strings.

    Raises
    ------
    ScenarioError
        If there is no key, no value, a value twice, a step that does not lead from first to last, or too many values.
    """
    key, equals, listed = text.partition("=")
    key = key.strip()
    if not equals or not key or not listed.strip():
        raise ScenarioError(f"--over {text}: {HOW}")
    values = _range(text, listed) or _values(listed)
    if "" in values:
        raise ScenarioError(f"--over {text}: an empty value; {HOW}")
    seen = [toml(value) for value in values]
    twice = next((s for s in seen if seen.count(s) > 1), None) if len(set(seen)) < len(seen) else None
    if twice is not None:
        raise ScenarioError(f"--over {text}: {twice} stands there twice")
    return Axis(key, tuple(values))


def product(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Every combination of the axes' values, the last axis fastest.

    Parameters
    ----------
    axes : sequence of Axis

    Returns
    -------
    list of dict
        Key to value; one empty dict where there is no axis.

    Raises
    ------
    ScenarioError
        If a key stands on two axes, or there are more than ``MAX_POINTS`` combinations.
    """
    keys = [axis.key for axis in axes]
    twice = [key for key in dict.fromkeys(keys) if keys.count(key) > 1]
    if twice:
        raise ScenarioError(f"{', '.join(twice)}: given as two axes; one axis takes all values, separated by commas")
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count > MAX_POINTS:
        raise ScenarioError(f"{count} points in {' x '.join(keys)}: at most {MAX_POINTS}; take fewer values")
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]


def toml(value: Any) -> str:
    """A value of an axis as ``--set key=`` takes it."""
    return json.dumps(value, ensure_ascii=False)


def shown(value: Any) -> str:
    """A value of an axis for a table or a legend."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _range(text: str, listed: str) -> list[int] | list[float]:
    """Values of ``first:last:step``; empty if it is not written so."""
    parts = listed.split(":")
    if len(parts) != 3:
        return []
    try:
        first, last, step = (Decimal(part.strip()) for part in parts)
    except InvalidOperation:
        return []
    if not all(number.is_finite() for number in (first, last, step)) or not step or (last - first) / step < 0:
        raise ScenarioError(f"--over {text}: {listed} is no range; {HOW}")
    steps = (last - first) / step
    if steps >= MAX_POINTS:
        raise ScenarioError(f"--over {text}: more than {MAX_POINTS} values")
    numbers = [first + n * step for n in range(int(steps) + 1)]
    whole = all(number == number.to_integral_value() for number in (first, step))
    return [int(number) for number in numbers] if whole else [float(number) for number in numbers]


def _values(listed: str) -> list[Any]:
    """Values separated by commas; each is TOML where it parses as such, else a string."""
    try:
        return list(tomllib.loads(f"values = [{listed}]")["values"])
    except tomllib.TOMLDecodeError:
        return [_value(item.strip()) for item in listed.split(",")]


def _value(item: str) -> Any:
    try:
        return tomllib.loads(f"value = {item}")["value"]
    except tomllib.TOMLDecodeError:
        return item
