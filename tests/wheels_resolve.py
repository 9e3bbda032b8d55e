"""Wheels for Python 3.10 exist for all that the package needs, on x86-64 and aarch64 (JetPack 6); for `make lint`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GLIBC = range(17, 36)  # JetPack 6 is Ubuntu 22.04: glibc 2.35


def resolve(machine: str, requirements: list[str]) -> int:
    """Ask pip for a set of wheels that satisfies all requirements there, without installing any."""
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in reversed(GLIBC)] + [f"manylinux2014_{machine}"]
    # pip evaluates markers for the interpreter that runs it, so those of 3.10 are applied here.
    plain = [r.partition(";")[0].strip() for r in requirements]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--quiet",
        "--ignore-installed",
        "--target",
        "build/none",
    ]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", "3.10"]
    for platform in platforms:
        command += ["--platform", platform]
    done = subprocess.run([*command, *plain], capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)
    print(f"wheels for Python 3.10 on {machine}: {'resolved' if done.returncode == 0 else 'NOT resolved'}")
    return done.returncode


def main() -> int:
    """Both machines; 0 if both resolve."""
    return max(resolve(machine, PROJECT["dependencies"]) for machine in ("x86_64", "aarch64"))


if __name__ == "__main__":
    raise SystemExit(main())
