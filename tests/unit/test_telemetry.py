"""Nothing here reports to anybody: ONNX Runtime is told so before it is loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

WATCH = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print(os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Watch())
import {module}
"""


@pytest.mark.parametrize("module", ["testbed.codec.onnx", "server.estimation", "edge.selfcheck", "testbed.cli.doctor"])
def test_every_way_to_onnx_runtime_has_its_telemetry_off(module):
    """Seen at the moment of its import, in a fresh process; a user's own choice is kept."""
    without = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    for environment, expected in ((without, "1"), (without | {"ORT_DISABLE_TELEMETRY": "0"}, "0")):
        code = WATCH.format(module=module)
        if module.endswith("doctor"):
            code += "\nimport testbed.cli.doctor; testbed.cli.doctor.onnx_runtime()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, env=environment)
        assert done.stdout.split() == [expected], done.stderr
