"""Fixtures for all tests."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

# Before NumPy is imported: BLAS threads spin where cores are few, and make small products a hundred times slower.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's own name: alike on every run and in every order of tests."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


def pytest_configure(config: pytest.Config) -> None:
    """Data sets lie beside the checkout unless SEMTB_DATA says otherwise."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    if "SEMTB_DATA" not in os.environ and beside.is_dir():
        os.environ["SEMTB_DATA"] = str(beside)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that needs data skips where there is none, and fails in CI, where there must be."""
    if (
        item.get_closest_marker("needs_data")
        and not Path(os.environ.get("SEMTB_DATA", "")).joinpath("cifar10").is_dir()
    ):
        if os.environ.get("CI"):
            pytest.fail("SEMTB_DATA must name the folder of data sets in CI")
        pytest.skip("needs CIFAR-10 in its original files: export SEMTB_DATA=/folder/that/holds/cifar10")


@pytest.fixture(scope="session")
def other_codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The card of a second codec, exactly as good as the shipped one, and garbage when mixed with it."""
    from testbed.codec.card import find_card, read_card
    from testbed.codec.train.twin import make_twin

    return make_twin(*read_card(find_card("deepjscc-cifar10")), tmp_path_factory.mktemp("twin"))
