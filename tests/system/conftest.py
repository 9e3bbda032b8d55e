"""What whole runs need: small photographs, and a way to start `semtb run` and see all of its processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

LIMIT_S = 120.0  # only ends a broken test; a loaded machine stays far below


class Run:
    """One `semtb run` in its own process, as typed in a terminal."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "testbed.cli.main", "run", "two-users", "--out", str(folder), *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.output, self.errors = "", ""

    def nodes(self) -> dict[str, psutil.Process]:
        """The processes of the nodes, by name."""
        found = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            line = child.cmdline()
            files = [Path(part).stem for part in line if part.endswith(".toml")]
            if files:
                found[files[0]] = child
        return found

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for what must come while the run goes on."""
        end = time.monotonic() + LIMIT_S
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, "what must come did not come"
            time.sleep(0.02)

    def lines(self) -> list[str]:
        """Events of frames and pictures so far."""
        log = self.folder / "events.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if '"event":"frame"' in line or '"event":"picture"' in line]

    def finish(self) -> int:
        """Wait for the end; its status."""
        self.output, self.errors = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode

    def destroy(self) -> None:
        """Leave nothing behind, however the test went."""
        if self.process.poll() is None:
            everything = [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]
            for process in everything:
                process.send_signal(signal.SIGKILL)
            self.process.communicate(timeout=LIMIT_S)


@pytest.fixture
def start_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Start `semtb run two-users` with more arguments; ends it after the test."""
    runs: list[Run] = []

    def start(*arguments: str, name: str = "") -> Run:
        runs.append(Run(tmp_path / (name or f"run-{len(runs)}"), *arguments))
        return runs[-1]

    yield start
    for run in runs:
        run.destroy()


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures of 192 x 256 pixels: a few frames each, smooth as photographs are, quick to encode."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(20)
    for number in range(8):
        small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        small.resize((256, 192), Image.Resampling.BICUBIC).save(folder / f"picture-{number}.png")
    return folder
