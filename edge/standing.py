"""An edge that stays: it takes part in one run after another and waits in between, as a service on a board does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from edge.node import run_edge
from testbed.config import EdgeConfig
from testbed.control.bus import await_server
from testbed.errors import CodecError, DataError, PeerUnreachable, ScenarioError, SemtbError

PAUSE_S = 1.0  # between two looks whether a server is there
LOOK_S = 0.05

log = logging.getLogger(__name__)


def stand_by(config: EdgeConfig, should_stop: Callable[[], bool]) -> None:
    """Wait for a server as long as it takes, take part in its run, and wait for the next; ends when told to.

    What befalls a run (a server that goes away, a radio that is unplugged) is logged once and tried again.

    Raises
    ------
    DataError, CodecError, ScenarioError
        What trying again does not put right.
    """
    last = ""
    while not should_stop():
        try:
            await_server(config.control, config.edge.name, should_stop)
            if not should_stop():
                run_edge(config, should_stop)
                last = "the run is done; waiting for the next"
                log.info("%s", last)
        except (DataError, CodecError, ScenarioError):
            raise
        except SemtbError as error:
            words = f"waiting for a server at {config.control}" if isinstance(error, PeerUnreachable) else str(error)
            if words != last and not should_stop():
                last = words
                log.info("%s", words)
        end = time.monotonic() + PAUSE_S
        while time.monotonic() < end and not should_stop():
            time.sleep(LOOK_S)
