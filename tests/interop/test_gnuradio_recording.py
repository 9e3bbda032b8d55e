"""GNU Radio reads what was recorded: its File Source takes each antenna's samples as they are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from testbed.radio.base import RadioEvent, RxBlock
from testbed.record.captures import Description
from testbed.record.recorder import Recorder
from tests.requirements import gnuradio_python

pytestmark = pytest.mark.needs("gnuradio")

FLOWGRAPH = """
import sys
from gnuradio import blocks, gr
source, sink = sys.argv[1:]
graph = gr.top_block()
double = blocks.multiply_const_cc(2)
graph.connect(blocks.file_source(gr.sizeof_gr_complex, source, False), double)
graph.connect(double, blocks.file_sink(gr.sizeof_gr_complex, sink))
graph.run()
"""


def test_a_file_source_plays_each_antenna(tmp_path: Path, rng: np.random.Generator):
    """Every sample of both antennas, in order, twice as strong; what was lost is not there."""
    samples = rng.standard_normal((2, 20_000, 2), dtype=np.float32).view(np.complex64)[..., 0]
    samples[:, 5000:6000] = 0
    recorder = Recorder(tmp_path, Description(rate_hz=1.92e6, antennas=2), waits=True)
    recorder.put(RxBlock(samples, 0, (RadioEvent("overflow", 5000, 1000),)))
    recorder.close()
    wanted = np.delete(samples, slice(5000, 6000), axis=1)
    for antenna in range(2):
        played = tmp_path / "played"
        words = [gnuradio_python(), "-c", FLOWGRAPH, str(tmp_path / f"rx-{antenna}.sigmf-data"), str(played)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert np.array_equal(np.fromfile(played, np.complex64), 2 * wanted[antenna])
