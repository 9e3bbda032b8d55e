"""Each part that a machine may lack, hidden from a command that wants it: one line, the command that installs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.cli import caches, main, probes
from tests import requirements
from tests.hidden import sitecustomize as hiding

Semtb = Callable[..., subprocess.CompletedProcess[str]]
LIMIT_S = 50
TRAIN, PLUTO = "pip install 'semcom-testbed[train]'", "pip install 'semcom-testbed[pluto]'"
OVER_PLUTO = ("run", "one-pluto", "--radio", "server=pluto:ip:127.0.0.2", "--radio", "edge-1=pluto:ip:127.0.0.2")


@pytest.fixture
def without(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """The environment of a process from which parts are hidden."""

    def environment(*parts: str) -> dict[str, str]:
        environ = dict(os.environ)
        hiding.hide_in_environment({*parts, *hiding.wanted()}, tmp_path / "programs", environ)
        return environ

    return environment


@pytest.fixture
def semtb_without(without: Callable[..., dict[str, str]], tmp_path: Path) -> Semtb:
    """A command in an empty folder, where parts are hidden."""
    (tmp_path / "here").mkdir()

    def semtb(parts: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "testbed.cli.main", *arguments]
        environ = without(*parts.split(","))
        return subprocess.run(
            command, cwd=tmp_path / "here", env=environ, capture_output=True, text=True, timeout=LIMIT_S
        )

    return semtb


@pytest.mark.parametrize(
    ("part", "arguments", "says"),
    [
        ("libiio", ("radio", "list"), "sudo apt-get install libiio0"),
        ("libiio", OVER_PLUTO, "sudo apt-get install libiio0"),
        ("pluto", ("radio", "list"), PLUTO),
        ("pluto", OVER_PLUTO, PLUTO),
        ("torch", ("train", "deepjscc"), TRAIN),
        ("torch", ("train", "estimator"), TRAIN),
        ("torch", ("federate", "digits"), TRAIN),
        ("data", ("train", "deepjscc"), "SEMTB_DATA"),
        ("data", ("eval", "deepjscc"), "SEMTB_DATA"),
        ("sshd", ("deploy", "edge-1", "--to", "pi@10.0.0.7"), "sudo apt-get install openssh-client"),
        ("sshd", ("deploy", "status", "edge-1", "--to", "pi@10.0.0.7"), "sudo apt-get install openssh-client"),
        ("sshd", ("run", "two-users", "--remote", "edge-1=pi@10.0.0.7"), "sudo apt-get install openssh-client"),
    ],
)
def test_a_command_says_what_it_lacks(semtb_without: Semtb, part: str, arguments: tuple[str, ...], says: str, tmp_path):
    """Status 2, one line, before anything is started or written."""
    if part == "libiio" and requirements.why_missing("pluto"):
        says = PLUTO
    if part == "data" and arguments[0] == "train" and requirements.why_missing("torch"):
        says = TRAIN
    done = semtb_without(part, *arguments)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert says in done.stderr
    assert done.stdout == ""
    assert not list((tmp_path / "here").iterdir())


DOCTOR = {  # what is then in the list of what is missing, with the beginning of the command that installs it
    "libiio": {"libiio (Pluto radios): sudo apt-get install libiio0"},
    "pluto": {f"pylibiio (Pluto radios): {PLUTO}", f"pyadi-iio (Pluto radios): {PLUTO}"},
    "gnuradio": {"GNU Radio (tests): sudo apt-get install --no-install-recommends gnuradio"},
    "chromium": {"Chromium and driver (tests): sudo apt-get install chromium chromium-driver"},
    "sshd": {
        "sshd (tests): sudo apt-get install openssh-server",
        "ssh (semtb deploy, --remote): sudo apt-get install openssh-client",
    },
    "systemd": {"systemd (an edge that outlives a reboot): sudo apt-get install systemd"},
    "torch": {f"{name} (training, federation): {TRAIN}" for name in ("torch", "dp-accounting")},
    "data": {"data sets (training and evaluation): export SEMTB_DATA=DIR"},
    "compiler": set(),
    "home": set(),
}
BINDING = "pylibiio (Pluto radios): sudo apt-get install libiio0"


@pytest.mark.parametrize("part", hiding.PARTS)
def test_doctor_names_what_is_missing_and_nothing_else(semtb_without: Semtb, part: str):
    """What it names beyond what it names anyway on this machine is the part that is hidden."""
    before, after = (missing_of(semtb_without(hidden, "doctor")) for hidden in (",".join(hiding.wanted()), part))
    expected = {line for line in DOCTOR[part] if not named(before, line)}
    if part == "libiio" and not named(before, BINDING) and not requirements.why_missing("pluto"):
        expected.add(BINDING)  # installed by pip, and of no use without the library
    new = after - before
    assert len(new) == len(expected)
    assert all(named(new, line) for line in expected), new


def missing_of(done: subprocess.CompletedProcess[str]) -> set[str]:
    """Lines behind the table, save the last, which says what is possible; without the reasons in parentheses."""
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.rpartition("┘")[2].strip().splitlines()
    return {line.partition("  (")[0] for line in lines[:-1]} - {"nothing is missing"}


def named(lines: set[str], begins: str) -> bool:
    return any(line.startswith(begins) for line in lines)


def test_the_binding_fails_in_its_own_way_where_the_library_is_hidden(without: Callable[..., dict[str, str]]):
    """pylibiio without libiio: an AttributeError, as on a machine that never had the library."""
    if requirements.why_missing("pluto"):
        pytest.skip(f"needs pyadi-iio: {PLUTO}")
    done = subprocess.run(
        [sys.executable, "-c", "import iio"], env=without("libiio"), capture_output=True, text=True, timeout=LIMIT_S
    )
    assert "AttributeError" in done.stderr
    assert "iio_get_backends_count" in done.stderr


def test_everything_that_can_be_hidden_is_known_to_the_tests():
    assert set(hiding.PARTS) == set(requirements.PARTS) | requirements.NO_TEST_NEEDS


@pytest.mark.parametrize("module", ["torch", "adi", "yaml"])
def test_a_module_of_an_extra_is_one_line_wherever_it_is_missed(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Whatever else is not found is a fault of ours, and keeps its traceback."""

    def missing(**_: object) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(main, "app", missing)
    monkeypatch.setattr(sys, "argv", ["semtb", "edge", "edge.toml"])
    if module == "yaml":
        with pytest.raises(ModuleNotFoundError):
            main.main()
        return
    with pytest.raises(SystemExit, match="2"):
        main.main()
    message = capsys.readouterr().err
    assert message.startswith(f"MissingExtra: semtb edge needs {module}: pip install 'semcom-testbed[")


CHECK = """
import os
from testbed.cli.caches import keep_caches
print(keep_caches())
import testbed.phy._kernels
print(os.environ["NUMBA_CACHE_DIR"])
from matplotlib import font_manager
"""


@pytest.mark.parametrize("named", [False, True])
def test_where_nothing_can_be_kept_kernels_are_compiled_for_one_command(tmp_path: Path, named: bool):
    """Said in one line, with a folder that ends with the command; where a folder is named, all is as always.

    A copy of the code whose folders of caches cannot be made, by root neither: files lie where they would be.
    """
    code, temporary, chosen = (tmp_path / name for name in ("code", "temporary", "chosen"))
    temporary.mkdir()
    for package in caches.PACKAGES:
        shutil.copytree(caches.TOP / package, code / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in list(code.rglob("_*kernels.py")):
        (file.parent / "__pycache__").touch()
    environ = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR")}
    environ = {k: v for k, v in environ.items() if not k.startswith("XDG_")}
    environ |= {"HOME": hiding.NO_HOME, "PYTHONPATH": str(code), "TMPDIR": str(temporary)}
    environ |= {"NUMBA_CACHE_DIR": str(chosen)} if named else {}
    done = subprocess.run(
        [sys.executable, "-c", CHECK], env=environ, cwd=code, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    line, where = done.stdout.splitlines()
    assert Path(where).is_relative_to(chosen if named else temporary)
    assert ("NUMBA_CACHE_DIR=DIR keeps them" in line) != named
    assert not list(temporary.iterdir())


def test_a_folder_that_could_be_made_is_one_that_can_be_written(tmp_path: Path):
    assert probes.can_write_below(tmp_path / "new" / "deeper")
    (tmp_path / "file").write_text("")
    assert not probes.can_write_below(tmp_path / "file" / "deeper")
    assert not probes.can_write_below(Path(hiding.NO_HOME))
