"""The flowgraphs of docs/gnuradio, compiled by grcc and run by the Python that has GNU Radio."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.requirements import gnuradio_python

GRAPHS = Path(__file__).parents[2] / "docs" / "gnuradio"


def plain_environment() -> dict[str, str]:
    """Without what leads another Python to this project's packages."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}


def compile_all(folder: Path) -> None:
    """Generate a program of each .grc file."""
    files = sorted(str(path) for path in GRAPHS.glob("*.grc"))
    done = subprocess.run(
        ["grcc", "-o", str(folder), *files], capture_output=True, text=True, env=plain_environment(), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(folder.glob("*.py"))) == len(files) == 6, done.stdout


class Flowgraph:
    """A generated program that runs; it is ended with the context."""

    def __init__(self, folder: Path, name: str, **options: object) -> None:
        given = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        self.process = subprocess.Popen(
            [gnuradio_python(), str(folder / f"{name}.py"), *given],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            env=plain_environment(),
        )

    def __enter__(self) -> Flowgraph:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
