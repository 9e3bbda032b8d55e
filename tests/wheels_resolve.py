"""Wheels for Python 3.10 exist for the package, and for what a deployed edge needs of it, on x86-64 and aarch64.

JetPack 6 is the second. For `make lint`; nothing is installed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from testbed.deploy.bundle import edge_requirements
from testbed.deploy.wheelhouse import applying, platforms

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GLIBC = "2.35"  # JetPack 6 is Ubuntu 22.04
PYTHON = "3.10"
NEVER = ("torch", "matplotlib", "scikit-learn", "scikit-image", "jinja2")  # on a board


def resolve(machine: str, requirements: list[str], who: str) -> int:
    """Ask pip for a set of wheels that satisfies all requirements there, without installing any."""
    environment = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.12", "platform_machine": machine}
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
    command += ["--target", "build/none", "--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON]
    for platform in platforms(machine, GLIBC):
        command += ["--platform", platform]
    # pip evaluates markers for the interpreter that runs it, so those of 3.10 are applied here.
    command += applying(requirements, environment)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)
    result = "resolved" if done.returncode == 0 else "NOT resolved"
    print(f"wheels for Python {PYTHON} on {machine}, {who} ({len(requirements)} requirements): {result}")
    return done.returncode


def main() -> int:
    """Both machines; 0 if both resolve. An edge with a Pluto on aarch64 needs the most that a board may ask for."""
    everything = PROJECT["dependencies"]
    extras = [f"{need}; extra == 'pluto'" for need in PROJECT["optional-dependencies"]["pluto"]]
    edge = edge_requirements([*everything, *extras], "pluto:ip:192.168.2.1")
    assert not [need for need in edge if need.startswith(NEVER)], edge
    machines = ("x86_64", "aarch64")
    return max(
        *(resolve(machine, everything, "the package") for machine in machines),
        resolve("aarch64", edge, "a deployed edge with a Pluto"),
    )


if __name__ == "__main__":
    raise SystemExit(main())
