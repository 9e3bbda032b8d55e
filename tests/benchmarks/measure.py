"""How benchmarks measure: ours and the peer in turn, CPU time of this process, medians. Not a benchmark itself."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np


def medians(*calls: Callable[[], object], rounds: int = 15) -> list[float]:
    """Median CPU seconds of each call. They take turns, so that a machine that slows down slows all of them.

    CPU time, because that is what one core gives; on a machine that does something else too, wall time is not.
    """
    for call in calls:
        call()  # compiles, allocates, fills caches
    spent = np.zeros((rounds, len(calls)))
    for row in spent:
        for column, call in enumerate(calls):
            begun = time.process_time()
            call()
            row[column] = time.process_time() - begun
    return [float(s) for s in np.median(spent, axis=0)]
