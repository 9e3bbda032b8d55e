"""result.json: what is written can be read, what is not a number is refused, equal results give equal bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from testbed.errors import DataError
from testbed.record.folder import RunFolder
from testbed.record.schema import Metrics, Result, Stage, mean_psnr_db, metrics_bytes, read_result, result_bytes
from tests.unit.report.synthetic_run import make_run

FIELDS = {  # the names that issue 2 fixes; others read result.json by them
    "user node images psnr_db ssim evm_percent sinr_db_estimated sinr_db_true frames_sent frames_detected channel_uses "
    "single_user_psnr_db single_user_sinr_db pictures": ("metrics", "users", 0),
    "name psnr_db ssim single_user_psnr_db lost_share height width": ("metrics", "users", 0, "pictures", 0),
    "snr_db common_cfo_hz common_cfo_hz_estimated user_cfo_hz user_delay_samples": ("metrics", "air"),
    "air_time_s wall_time_s stages": ("timing",),
    "count p50_ms p95_ms p99_ms total_s": ("timing", "stages", "sync"),
    "scenario seed complete reason versions git_commit command machine metrics timing": (),
}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A finished synthetic run, small pictures."""
    return make_run(tmp_path, scale=8)


@pytest.mark.parametrize("names", FIELDS)
def test_result_has_the_promised_fields(run: RunFolder, names: str):
    """By name, at its place, in the JSON itself."""
    node = run.read_json("result.json")
    for key in FIELDS[names]:
        node = node[key]
    assert set(names.split()) <= set(node)


def test_result_comes_back_equal(run: RunFolder):
    """Written, read, written: the same bytes."""
    result = read_result(run)
    assert result_bytes(result) == run.read_bytes("result.json")


def test_metrics_of_equal_runs_are_equal_bytes_and_of_others_are_not(tmp_path: Path):
    """Timing, command and machine may differ; metrics may not."""
    first, again, other = (read_result(make_run(tmp_path, seed=s, scale=8)) for s in (1, 1, 2))
    again.timing.wall_time_s = 99.0
    again.machine = "another"
    assert metrics_bytes(first) == metrics_bytes(again)
    assert metrics_bytes(first) != metrics_bytes(other)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), np.float32("-inf")])
def test_number_that_is_none_is_refused_with_its_place(run: RunFolder, wrong: float):
    """NaN would silently become null, and null means: not defined."""
    result = read_result(run)
    result.metrics.users[1].pictures[0].psnr_db = wrong
    with pytest.raises(DataError, match=r"metrics\.users\.1\.pictures\.0\.psnr_db"):
        result_bytes(result)


def test_wrong_type_is_refused_with_its_place(run: RunFolder):
    """Structs do not check what they are given; writing does."""
    result = read_result(run)
    result.metrics.users[0].images = "one"  # type: ignore[assignment]
    with pytest.raises(DataError, match=r"metrics\.users\[0\]\.images"):
        result_bytes(result)


def test_numpy_numbers_are_written_as_numbers():
    """Of every width."""
    result = Result(scenario="x", seed=np.int64(3), complete=True)  # type: ignore[arg-type]
    one = np.float32(1.5)
    result.timing.stages["sync"] = Stage(count=np.uint8(2), p50_ms=one, p95_ms=one, p99_ms=one, total_s=one)  # type: ignore[arg-type]
    plain = json.loads(result_bytes(result))
    assert plain["seed"] == 3
    assert plain["timing"]["stages"]["sync"] == {
        "count": 2,
        "p50_ms": 1.5,
        "p95_ms": 1.5,
        "p99_ms": 1.5,
        "total_s": 1.5,
    }


def test_later_fields_are_passed_over_and_damage_is_named(run: RunFolder):
    """An old reader reads a newer file; half a file is an error that names it."""
    tree = run.read_json("result.json")
    tree["metrics"]["privacy"] = {"epsilon": 1}
    run.write_json("result.json", tree)
    assert read_result(run).metrics.users
    run.write_bytes("result.json", run.read_bytes("result.json")[:200])
    with pytest.raises(DataError, match=r"result\.json"):
        read_result(run)


def test_mean_psnr_is_of_the_mean_error(run: RunFolder):
    """Two users at 20 and 30 dB: mean MSE (0.01 + 0.001) / 2, so 22.596 dB, not 25. Closed form."""
    users = read_result(run).metrics.users
    users[0].psnr_db, users[1].psnr_db = 20.0, 30.0
    assert mean_psnr_db(users) == pytest.approx(22.596, abs=1e-3)
    users[0].images = 3
    assert mean_psnr_db(users) == pytest.approx(-10 * np.log10((3 * 0.01 + 0.001) / 4), abs=1e-9)
    users[1].psnr_db = None
    assert mean_psnr_db(users) is None
    assert mean_psnr_db(Metrics().users) is None
