"""What is done between two blocks of an air that runs: orders are taken, and once a second its ports are looked at."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from testbed.air.commands import Applied, CommandSocket, Ports, SetLink
from testbed.air.port_status import PortStatus
from testbed.config import Change
from testbed.errors import DataError, ScenarioError

EVERY_S = 1.0
KEYS = ("path_loss_db", "gain_db")

log = logging.getLogger(__name__)


class Changeable(Protocol):
    """An air whose links can change while it runs."""

    def set_link(self, order: SetLink) -> Change:
        """Another gain of a link, from the next sample on; what then holds, and since which."""
        ...

    def status(self, now_s: float) -> list[PortStatus]:
        """Every port."""
        ...


class Serving:
    """Call `look` between blocks, in the thread that mixes.

    Parameters
    ----------
    name : str
        Of the air.
    air : Changeable
    report : callable
        Told of each change that was ordered.
    """

    def __init__(self, name: str, air: Changeable, report: Callable[[Change], None] = lambda change: None) -> None:
        self.ports: list[PortStatus] = []
        self.changes: list[Change] = []
        self._air = air
        self._report = report
        self._begun_s = self._next_s = time.monotonic()
        self._socket: CommandSocket | None = None
        try:
            self._socket = CommandSocket(name, self._apply, self._status)
        except DataError as error:
            log.warning("this air takes no orders while it runs: %s", error)

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def look(self) -> None:
        """Take orders; look at the ports if it is time."""
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + EVERY_S
            self.ports = self._air.status(now_s)
        if self._socket is not None:
            self._socket.serve()

    def _status(self) -> Ports:
        return Ports(time.monotonic() - self._begun_s, self.ports)

    def _apply(self, order: SetLink) -> Applied:
        change = self._air.set_link(order)
        self.changes.append(change)
        log.info("%s.%s = %g from sample %d on", order.link, order.key, order.value, change.at_sample)
        self._report(change)
        return Applied(change.at_sample, order.link, order.key, order.value)


def change_of(order: SetLink, at_sample: int, links: Sequence[str]) -> Change:
    """What an order asks for, checked.

    Raises
    ------
    ScenarioError
        If there is no such link or key, or no link can have the value.
    """
    if order.link not in links:
        raise ScenarioError(f"{order.link}: no such link in this air; links: {', '.join(links)}")
    if order.key not in KEYS:
        raise ScenarioError(
            f"{order.link}.{order.key}: no key that changes while an air runs; those that do: {', '.join(KEYS)}"
        )
    return Change(at_sample=at_sample, link=order.link, **{order.key: order.value})
