"""The main job with a network for the channel estimate: chosen by one key, in four processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.record.folder import RunFolder
from testbed.record.schema import read_result

SMALL = ("--seed", "3", "--set", "max_pixels=12000")


def test_two_users_run_with_the_dnn_and_lose_nothing_by_it(start_run: Callable[..., Any]):
    """Same channel, same pictures: every frame read, and no user more than 0.1 dB below LMMSE."""
    found = []
    for estimator in ("dnn", "lmmse"):
        run = start_run(*SMALL, "--set", f"server.estimator={estimator}")
        assert run.finish() == 0, run.errors
        found.append(read_result(RunFolder(run.folder)).metrics.users)
    for dnn, lmmse in zip(*found, strict=True):
        assert dnn.frames_detected == dnn.frames_sent
        assert dnn.psnr_db > lmmse.psnr_db - 0.1
        assert dnn.psnr_db != lmmse.psnr_db, "the key was not heeded"
