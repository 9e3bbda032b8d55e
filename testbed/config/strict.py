"""Structs that refuse what they do not know, and the one form of an error about a value."""

from __future__ import annotations

import msgspec

from testbed.errors import ScenarioError

NODE_NAME = r"[a-z0-9][a-z0-9-]{0,31}"


def check(ok: bool, key: str, value: object, allowed: str) -> None:
    """Raise ScenarioError unless ``ok``; one form for all value errors."""
    if not ok:
        raise ScenarioError(f"{key} = {value}: allowed: {allowed}")


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A struct whose loader refuses what it does not know."""
