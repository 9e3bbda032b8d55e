"""Fixtures for all tests."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Generator
from pathlib import Path

# Before NumPy is imported: BLAS threads spin where cores are few, and make small products a hundred times slower.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402

from testbed.cli.caches import keep_caches  # noqa: E402
from tests import requirements  # noqa: E402
from tests.hidden.sitecustomize import WITHOUT, hide  # noqa: E402
from tests.hidden.sitecustomize import wanted as hidden  # noqa: E402

HIDDEN = pytest.StashKey[object]()  # kept as long as the session


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's own name: alike on every run and in every order of tests."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


def pytest_configure(config: pytest.Config) -> None:
    """Data sets lie beside the checkout unless SEMTB_DATA says otherwise; SEMTB_TEST_WITHOUT hides parts.

    No test sees what this user knows of radios.
    """
    os.environ["SEMTB_CALIBRATION"] = os.devnull
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    if "SEMTB_DATA" not in os.environ and beside.is_dir():
        os.environ["SEMTB_DATA"] = str(beside)
    try:
        config.stash[HIDDEN] = hide(hidden())
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    keep_caches()
    if found := requirements.still_there():
        raise pytest.UsageError(f"{WITHOUT}: {', '.join(found)} can be used nevertheless")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that needs a part skips where it is missing, with the command that installs it; in CI it fails."""
    for marker in item.iter_markers("needs"):
        requirements.require(*marker.args)


def forbid_skip(report: pytest.CollectReport | pytest.TestReport) -> None:
    """In CI, where nothing is hidden, no test may skip for what could be installed: nobody would see it."""
    if not report.skipped or not os.environ.get("CI") or hidden() or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith(requirements.OF_THE_KERNEL):
        report.outcome = "failed"
        report.longrepr = f"in CI nothing may be skipped: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    forbid_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was left out, how much of it, and the command with which it would not be."""
    left_out = Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])
    )
    if not left_out:
        return
    terminalreporter.section("left out here")
    for reason, times in sorted(left_out.items()):
        terminalreporter.write_line(f"{times:4} {reason}")


@pytest.fixture(scope="session")
def other_codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The card of a second codec, exactly as good as the shipped one, and garbage when mixed with it."""
    requirements.require("torch")
    from testbed.codec.card import find_card, read_card
    from testbed.codec.train.twin import make_twin

    return make_twin(*read_card(find_card("deepjscc-cifar10")), tmp_path_factory.mktemp("twin"))
