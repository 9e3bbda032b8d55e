"""A release beside the others: what it needs of the board, unpacked, installed, tried. Standard library alone."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tarfile
from pathlib import Path

from .lifeline import Processes
from .place import Failure, Place, Request, say
from .standing import systemd

SITES = (
    "import json, site, sys, sysconfig as s; "
    "p = [s.get_path('purelib'), s.get_path('platlib'), *site.getsitepackages(), site.getusersitepackages()]; "
    "print(json.dumps([list(sys.version_info[:2]), list(dict.fromkeys(p))]))"
)
HAS_RUNTIME = "import importlib.util as u; print(u.find_spec('onnxruntime') is not None)"


def probe(place: Place, request: Request) -> Request:
    """What this board is; Failure if it cannot take another release just now."""
    place.require_idle()
    nearest = place.base
    while not nearest.exists():
        nearest = nearest.parent
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401

        has_venv = True
    except ImportError:
        has_venv = False
    return {
        "base": str(place.base),
        "free_bytes": shutil.disk_usage(nearest).free,
        "writable": nearest.is_dir() and os.access(nearest, os.W_OK),
        "nearest": str(nearest),
        "venv": has_venv,
        "systemd": systemd(),
        "host": platform.node(),
        "glibc": platform.libc_ver()[1],
        "environment": {
            "implementation_name": sys.implementation.name,
            "implementation_version": platform.python_version(),
            "os_name": os.name,
            "platform_machine": platform.machine(),
            "platform_python_implementation": platform.python_implementation(),
            "platform_release": platform.release(),
            "platform_system": platform.system(),
            "platform_version": platform.version(),
            "python_full_version": platform.python_version(),
            "python_version": ".".join(platform.python_version_tuple()[:2]),
            "sys_platform": sys.platform,
        },
    }


def receive(request: Request, folder: Path) -> None:
    """Unpack the archive that follows on standard input into ``folder``, once it is known to be whole."""
    archive = folder.with_name(folder.name + ".tar")
    digest, left = hashlib.sha256(), request["payload"]
    try:
        with archive.open("wb") as stream:
            while left:
                block = sys.stdin.buffer.read(min(left, 1 << 20))
                if not block:
                    break
                digest.update(block)
                stream.write(block)
                left -= len(block)
        if left or digest.hexdigest() != request["sha256"]:
            raise Failure("copy", f"{left} of {request['payload']} bytes are missing" if left else "its hash is wrong")
        with tarfile.open(archive) as files:
            if sys.version_info >= (3, 12) or hasattr(tarfile, "data_filter"):
                files.extractall(folder, filter="data")
            else:
                files.extractall(folder)
    finally:
        archive.unlink(missing_ok=True)


def install(place: Place, request: Request) -> Request:
    """Make a release beside the others: unpack, an environment of its own, and what its encoder makes of a picture."""
    place.require_idle()
    release = place.releases / request["release"]
    processes = Processes()
    processes.begun, processes.tidy = release, place.tidy
    try:
        place.releases.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(release, ignore_errors=True)
        release.mkdir()
        receive(request, release)
        processes.watch()
        sites = sites_of(request["reuse"], processes) if request["reuse"] else []
        say("making its environment")
        python = release / "venv" / "bin" / "python"
        processes.run([sys.executable, "-m", "venv", str(release / "venv")], "venv", "python3 -m venv")
        drop = share_packages(sites, python, processes) if sites else []
        pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-compile"]
        wheels = release / "wheels"
        if request["wheelhouse"]:
            pip += ["--no-index", "--find-links", str(wheels)]
        wanted = [line for line in request["requires"] if re.split(r"[^\w.-]", line)[0] not in drop]
        if wanted:
            say(f"installing what it needs: {', '.join(wanted)}")
            processes.run([*pip, *wanted], "pip", "pip")
        project = str(wheels / request["wheel"])
        processes.run([*pip, "--no-deps", "--ignore-installed", project], "pip", "pip")
        shutil.rmtree(wheels)
        say("encoding the picture that is compared")
        output = processes.run(
            [str(python), "-m", "edge.selfcheck", str(release / "edge.toml")], "check", "the installed edge"
        )
        return json.loads(output.splitlines()[-1])
    except BaseException:
        processes.begun = None
        shutil.rmtree(release, ignore_errors=True)
        place.tidy()
        raise


def sites_of(other: str, processes: Processes) -> list[str]:
    """Where another Python of the same version has its packages."""
    try:
        version, sites = json.loads(processes.run([other, "-c", SITES], "reuse", f"--reuse-packages {other}"))
    except OSError as error:
        raise Failure("reuse", f"--reuse-packages {other}: {error.strerror}") from error
    if tuple(version) != sys.version_info[:2]:
        own = ".".join(map(str, sys.version_info[:2]))
        raise Failure("reuse", f"--reuse-packages {other} is Python {version[0]}.{version[1]}, the edge's is {own}")
    return [site for site in sites if Path(site).is_dir()]


def share_packages(sites: list[str], python: Path, processes: Processes) -> list[str]:
    """Let the environment see these packages; returns requirements that pip need not know of then.

    JetPack's ONNX Runtime is called onnxruntime-gpu: pip would take onnxruntime to be missing.
    """
    where = processes.run([str(python), "-c", "import sysconfig;print(sysconfig.get_path('purelib'))"], "venv", "venv")
    # The folders are searched behind the environment's own, and their .pth files are not read.
    Path(where.strip(), "reused.pth").write_text("".join(f"{site}\n" for site in sites))
    known = processes.run([str(python), "-c", HAS_RUNTIME], "venv", "venv")
    return ["onnxruntime"] if known.strip() == "True" else []
