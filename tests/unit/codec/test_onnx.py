"""Execution providers: chosen by what is asked for and what is there, never silently another."""

from __future__ import annotations

import pytest

from testbed.codec.onnx import PROVIDERS, choose
from testbed.codec.registry import open_codec
from testbed.errors import CodecError

CPU, CUDA, TENSORRT = PROVIDERS["cpu"], PROVIDERS["cuda"], PROVIDERS["tensorrt"]


@pytest.mark.parametrize(
    ("asked", "there", "chosen"),
    [
        ("auto", [CPU], [CPU]),
        ("auto", ["AzureExecutionProvider", CPU, CUDA], [CUDA, CPU]),
        ("auto", [CUDA, CPU, TENSORRT], [TENSORRT, CUDA, CPU]),
        ("cpu", [TENSORRT, CUDA, CPU], [CPU]),
        ("cuda", [TENSORRT, CUDA, CPU], [CUDA, CPU]),
        ("tensorrt", [TENSORRT, CUDA, CPU], [TENSORRT, CPU]),
    ],
)
def test_a_provider_is_chosen_by_request_or_by_what_is_available(asked: str, there: list[str], chosen: list[str]):
    assert choose(asked, there) == chosen


@pytest.mark.parametrize(
    ("asked", "says"), [("cuda", "has cpu here.*onnxruntime-gpu"), ("npu", "allowed: auto, tensorrt, cuda, cpu")]
)
def test_what_is_not_there_is_refused_with_what_is(asked: str, says: str):
    with pytest.raises(CodecError, match=says):
        choose(asked, [CPU])


def test_a_codec_says_what_executes_it():
    """The CPU, unless asked otherwise."""
    assert open_codec("deepjscc-cifar10-small").provider == "cpu"
