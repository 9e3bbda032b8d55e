"""Who takes part in a federated run: who is there, who answered, who is gone. A quorum goes on without the rest."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Union

from testbed.control.bus import Hub, Lost
from testbed.control.messages import Installed, Ready, Refusal, Upload
from testbed.errors import PeerLost, RunIncomplete

LOOK_S = 0.1
REASON_CHARS = 300  # of what an edge says of itself

Answer = Union[Installed, Upload, Refusal]  # noqa: UP007 - a runtime union on 3.10
log = logging.getLogger(__name__)


class Attendance:
    """Edges of one run. A round closes when all that are left answered, or at its deadline with at least the quorum.

    Parameters
    ----------
    hub : Hub
    expects : sequence of str
        Names of edges; what others say is passed over.
    quorum : int
        With fewer answers a round ends the run.
    deadline_s : float
        How long a round waits for an edge that is there and does not answer.
    should_stop : callable
    """

    def __init__(
        self, hub: Hub, expects: Sequence[str], quorum: int, deadline_s: float, should_stop: Callable[[], bool]
    ) -> None:
        self._hub, self._expects, self._quorum, self._deadline_s = hub, list(expects), quorum, deadline_s
        self._should_stop = should_stop
        self.lost: dict[str, str] = {}  # who is gone for the rest of the run, and why

    def left(self) -> list[str]:
        """Who is not gone."""
        return [node for node in self._expects if node not in self.lost]

    def give_up(self, node: str, reason: str) -> None:
        """Go on without an edge, for the rest of the run."""
        if node in self._expects and node not in self.lost:
            self.lost[node] = reason[:REASON_CHARS]
            log.warning("%s is gone: %s", node, reason)

    def wait_ready(self) -> None:
        """Wait until every edge that is left is ready; who is not at the deadline is given up.

        Raises
        ------
        PeerLost
            If fewer than the quorum are.
        RunIncomplete
            If ``should_stop`` says so.
        """
        ready = self._collect("before round 0", lambda node, message: isinstance(message, Ready))
        for node in self.left():
            if node not in ready:
                self.give_up(node, f"not ready within {self._deadline_s:g} s")

    def gather(self, kinds: tuple[type[Answer], ...], number: int) -> dict[str, Answer]:
        """One answer of every edge that is left; what comes twice or belongs to another round is passed over.

        Parameters
        ----------
        kinds : tuple of types
            Of the messages that count as an answer.
        number : int
            Of the round.

        Returns
        -------
        dict of str to message
            Of at least the quorum.

        Raises
        ------
        PeerLost
            If fewer than the quorum answered, or are left; the message names who is missing and why.
        RunIncomplete
            If ``should_stop`` says so.
        """

        def answers(node: str, message: object) -> bool:
            return isinstance(message, kinds) and message.round == number

        return self._collect(f"in round {number}", answers)  # type: ignore[return-value]

    def missing(self, answered: Iterable[str], number: int) -> dict[str, str]:
        """Who of all did not answer round ``number``, and why."""
        late = f"no answer in round {number} within {self._deadline_s:g} s"
        return {node: self.lost.get(node, late) for node in self._expects if node not in set(answered)}

    def require_quorum(self, number: int) -> None:
        """Raise PeerLost, naming who is missing, where fewer than the quorum are left."""
        if len(self.left()) < self._quorum:
            raise PeerLost(self._too_few(f"in round {number}", self.lost))

    def _collect(self, when: str, wanted: Callable[[str, object], bool]) -> dict[str, object]:
        found: dict[str, object] = {}
        end = time.monotonic() + self._deadline_s
        while waiting := [node for node in self.left() if node not in found]:
            if self._should_stop():
                raise RunIncomplete("stopped before all rounds were done")
            # Whoever answered and went away since has answered.
            if len(found) + len(waiting) < self._quorum:
                raise PeerLost(self._too_few(when, self.lost))
            if time.monotonic() > end:
                if len(found) >= self._quorum:
                    break
                late = dict.fromkeys(waiting, f"no answer within {self._deadline_s:g} s")
                raise PeerLost(self._too_few(when, self.lost | late))
            event = self._hub.poll(LOOK_S)
            if event is None:
                continue
            node, message = event
            if isinstance(message, Lost):
                if node == self._hub.name:
                    raise PeerLost(f"{node} is gone: {message.reason}")
                self.give_up(node, message.reason)
            elif node in waiting and wanted(node, message):
                found[node] = message
        if len(found) < self._quorum:
            raise PeerLost(self._too_few(when, self.lost))
        return found

    def _too_few(self, when: str, missing: Mapping[str, str]) -> str:
        named = "; ".join(f"{node} ({missing[node]})" for node in self._expects if node in missing)
        return f"fewer than {self._quorum} of {len(self._expects)} edges are left {when}: missing {named}"
