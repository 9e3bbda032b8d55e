"""All benchmarks: `python -m tests.benchmarks [NAME ...]` writes build/bench.json. One thread, CPU time, medians."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
from pathlib import Path

OUT = Path("build/bench.json")
NO_BENCHMARKS = ("__main__", "measure")
SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def main(names: list[str]) -> None:
    """Run every module beside this one that has ``rows() -> list[dict]``, or those named."""
    os.environ.update(dict.fromkeys(SINGLE_THREADED, "1"))  # read once, when the modules below import NumPy
    modules = [m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]) if m.name not in NO_BENCHMARKS]
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise SystemExit(f"no benchmark {', '.join(unknown)}; there are {', '.join(modules)}")
    rows = []
    for name in names or modules:
        for row in importlib.import_module(f"tests.benchmarks.{name}").rows():
            ratio = f"{row['ratio']:8.2f} x {row['peer']}"
            print(f"{row['name']:16} {row['value']:12.4g} {row['unit']:34} {ratio}", flush=True)
            rows.append(row)
    OUT.parent.mkdir(exist_ok=True)
    aside = OUT.with_suffix(".tmp")
    aside.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    aside.replace(OUT)
    print(OUT)


if __name__ == "__main__":
    main(sys.argv[1:])
