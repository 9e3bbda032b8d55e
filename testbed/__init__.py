"""semcom-testbed: semantic communication over real and emulated radios. What every node shares."""

import os

# ONNX Runtime from 1.29 on reports its use to its maker and keeps an identifier of the machine at home, unless this is
# set before it is loaded. What runs here concerns nobody else; who wants to report sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
