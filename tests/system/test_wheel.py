"""The built wheel, in an environment without the checkout: it carries all it needs, and no tests."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=50, capture_output=True)
    (built,) = folder.glob("semcom_testbed-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A new environment with the wheel, and the dependencies of this one, but not this one's checkout."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(command, check=True, timeout=50, capture_output=True)
    site = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    # A path added by a .pth file is searched, but its own .pth files, the editable checkout's among them, are not read.
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


def run(installed: Path, program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    command = [str(installed / "bin" / program), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=140)


def test_the_wheel_holds_the_packages_and_nothing_of_the_tests(wheel):
    """Only the four packages and the metadata; the codec, the scenarios and the report's template are among them."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"testbed", "edge", "server", "calibration"}
    for needed in (
        ".encoder.onnx",
        ".decoder.onnx",
        "deepjscc-cifar10.json",
        "zoo/dnn.onnx",
        "two-users.toml",
        ".html.j2",
        "firmware_configs/pluto/2r2t.toml",
        "firmware_configs/pluto/fir/ota.ftr",
        "firmware_configs/systemd/semtb-edge.service",
    ):
        assert any(name.endswith(needed) for name in names), needed
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.timeout(180)  # the first run compiles the kernels; some 20 s on an idle machine
def test_the_wheel_runs_the_main_job(installed, tmp_path):
    """`semtb run two-users` from the wheel, in a folder that has nothing to do with the checkout."""
    where = run(installed, "python", "-c", "import testbed; print(testbed.__file__)", cwd=tmp_path)
    assert str(installed) in where.stdout
    done = run(installed, "semtb", "run", "two-users", "--set", "max_pixels=20000", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (report,) = tmp_path.glob("runs/*-two-users-*/report.html")
    assert report.stat().st_size > 10_000


def test_the_wheel_brings_profiles_and_filters_that_are_read_where_it_is_installed(installed, tmp_path):
    done = run(installed, "semtb", "firmware", "list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    words = "".join(word for word in done.stdout.split() if word != "│")
    assert "jetson-max" in words
    assert f"{installed}/lib" in words
