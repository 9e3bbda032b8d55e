"""One request in, one answer out. Standard library alone."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable

from .install import install, probe
from .place import Failure, Place, Request
from .releases import activate, discard, remove, show_log, status
from .runs import place_run, run, settle
from .standing import start, stop

REFUSED = 44  # the status of `log` and `run`, whose output is the edge's, when they cannot be
QUESTIONS = (probe, install, activate, discard, start, stop, remove, status, place_run, settle)
DO: dict[str, Callable[[Place, Request], Request]] = {question.__name__: question for question in QUESTIONS}


def answer(request: Request) -> int:
    """Do what is asked and print what came of it; returns the exit status."""
    do = request["do"]
    try:
        place = Place(request["base"], request["name"])
        if do == "run":
            return run(place, request)
        if do == "log":
            show_log(place, request)
            return 0
        print(json.dumps({"done": DO[do](place, request)}), flush=True)
        return 0
    except Failure as error:
        reply = {"failed": error.kind, "words": str(error)}
    except OSError as error:
        kind = "disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "system"
        reply = {"failed": kind, "words": f"{error.filename or request['base']}: {error.strerror}"}
    if do in ("log", "run"):
        print(json.dumps(reply) if do == "log" else reply["words"], file=sys.stderr, flush=True)
        return REFUSED
    print(json.dumps(reply), flush=True)
    return 0
