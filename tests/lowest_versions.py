"""The lowest versions that `pyproject.toml` declares work: the demo and the tests run on them in a fresh environment.

For `make test-lowest`; needs uv, which resolves to them. What they need in turn is the newest, as a user gets it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PLACE = CHECKOUT / "build" / "lowest"
TESTS = ("tests/unit",)
COMMANDS = (
    [],
    *(
        [name]
        for name in ("run", "scenarios", "resolve", "server", "air", "edge", "switch", "report", "sweep", "doctor")
    ),
    *([name] for name in ("plot", "deploy", "radio", "record", "replay", "train", "eval", "federate")),
    ["radio", "list"],
    *(["train", name] for name in ("deepjscc", "estimator", "twin")),
    *(["eval", name] for name in ("deepjscc", "estimator")),
    ["federate", "digits"],
)
FAST = (["--version"], ["scenarios"], ["doctor"])


def step(what: str, command: list[str], environment: dict[str, str], quiet: bool = True) -> None:
    """Run one command; on failure show all that it printed and end with its status."""
    began = time.monotonic()
    done = subprocess.run(command, env=environment, cwd=CHECKOUT, text=True, capture_output=quiet, check=False)
    if done.returncode:
        print(f"{done.stdout or ''}{done.stderr or ''}\n{what}: failed: {' '.join(command)}", file=sys.stderr)
        raise SystemExit(1)
    print(f"{what}: {time.monotonic() - began:.0f} s", flush=True)


def main() -> int:
    """A fresh environment; every command's help; the demo; all tests that need no torch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the interpreter (3.10 is the lowest)")
    parser.add_argument("--no-tests", action="store_true", help="commands and demo alone")
    arguments = parser.parse_args()
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise SystemExit("uv is missing: pip install uv")
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "CI")}
    environment["NUMBA_CACHE_DIR"] = str(PLACE / "numba")  # compiled by these versions, for these versions
    python, semtb = str(PLACE / "bin" / "python"), str(PLACE / "bin" / "semtb")
    shutil.rmtree(PLACE, ignore_errors=True)
    install = [uv, "pip", "install", "--quiet", "--python", python]
    step("environment", [uv, "venv", "--quiet", "--python", arguments.python, str(PLACE)], environment)
    wheels = ["--only-binary", ":all:", "--no-binary", "semcom-testbed"]
    step("lowest versions", [*install, "--resolution", "lowest-direct", *wheels, "-e", "."], environment)
    step("helpers of the tests", [*install, "--group", "test"], environment)
    began = time.monotonic()
    for words in COMMANDS:
        subprocess.run([semtb, *words, "--help"], env=environment, stdout=subprocess.DEVNULL, check=True)
    for words in FAST:
        subprocess.run([semtb, *words], env=environment, stdout=subprocess.DEVNULL, check=True)
    print(f"every command's help: {time.monotonic() - began:.0f} s", flush=True)
    run = [semtb, "run", "two-users", "--out", str(PLACE / "run")]
    step("demo", run, environment)
    if not arguments.no_tests:
        step("tests", [python, "-m", "pytest", *TESTS], environment, quiet=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
