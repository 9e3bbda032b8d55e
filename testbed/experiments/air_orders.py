"""`semtb air set` and `semtb air status`: an air that runs on this machine is found, told and asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from testbed.air.commands import Applied, AskStatus, Ports, Refused, SetLink, ask, running_airs
from testbed.air.port_status import json_line, text_lines
from testbed.air.serving import KEYS
from testbed.errors import PeerUnreachable, ScenarioError


def find_air(name: str | None) -> Path:
    """The socket of the air of that name, or of the one that runs.

    Raises
    ------
    PeerUnreachable
        If none runs, or none of that name.
    ScenarioError
        If several run and none is named.
    """
    airs = running_airs()
    known = ", ".join(airs)
    if name is not None:
        if name not in airs:
            raise PeerUnreachable(f"no air {name} runs here; those that run: {known or 'none'}")
        return airs[name]
    if not airs:
        raise PeerUnreachable("no air of yours runs on this machine: start one by `semtb run` or `semtb air`")
    if len(airs) > 1:
        raise ScenarioError(f"several airs run here: name one by --air: {known}")
    return next(iter(airs.values()))


def parse_key(text: str, value: float) -> SetLink:
    """``edge-1.server.path_loss_db`` and its value as an order.

    Raises
    ------
    ScenarioError
        If it is written otherwise.
    """
    link, _, key = text.rpartition(".")
    if link.count(".") != 1 or key not in KEYS:
        raise ScenarioError(
            f"{text}: write it as EDGE.SERVER.KEY, for example edge-1.server.path_loss_db; "
            f"keys that can change: {', '.join(KEYS)}"
        )
    if not math.isfinite(value):
        raise ScenarioError(f"{text} = {value}: allowed: a finite number")
    return SetLink(link, key, value)


def set_link(text: str, value: float, name: str | None, tell: Callable[[str], None]) -> None:
    """Change a link of an air that runs, and say from which sample on.

    Raises
    ------
    ScenarioError, PeerUnreachable
        If it cannot be.
    """
    order = parse_key(text, value)
    answer = ask(find_air(name), order)
    if isinstance(answer, Refused):
        raise ScenarioError(answer.reason)
    assert isinstance(answer, Applied)
    tell(f"{answer.link}.{answer.key} = {answer.value:g} from sample {answer.at_sample} on")


def show_status(name: str | None, as_json: bool, tell: Callable[[str], None]) -> None:
    """Tell how the ports of an air stand."""
    answer = ask(find_air(name), AskStatus())
    if isinstance(answer, Refused):
        raise ScenarioError(answer.reason)
    assert isinstance(answer, Ports)
    if as_json:
        tell(json_line(answer.time_s, answer.ports))
    else:
        for line in text_lines(answer.ports):
            tell(line)
