"""GNU Radio's own Pluto source (gr-iio) on a virtual Pluto: what it sets by file name arrives, and samples come."""

from __future__ import annotations

import subprocess

import pytest

from testbed.air.iiod.air import present
from tests.addresses import own_address
from tests.requirements import gnuradio_python

pytestmark = pytest.mark.needs("gnuradio")
LIMIT_S = 30

FLOWGRAPH = """
import os, sys, time
from gnuradio import blocks, gr, iio

def work():
    graph = gr.top_block()
    source = iio.fmcomms2_source_fc32(sys.argv[1], [True, True], 4096)
    source.set_len_tag_key("")
    source.set_frequency(2_300_000_000)
    source.set_filter_params("Auto", "", 0, 0)
    source.set_samplerate(4_000_000)
    source.set_filter_params("Off", "", 0, 0)
    source.set_samplerate(3_000_000)
    source.set_gain_mode(0, "manual")
    source.set_gain(0, 30)
    source.set_quadrature(False)
    source.set_rfdc(False)
    source.set_bbdc(False)
    sink = blocks.vector_sink_c()
    graph.connect(source, blocks.head(gr.sizeof_gr_complex, 8192), sink)
    graph.start()
    end = time.monotonic() + 20
    while len(sink.data()) < 8192 and time.monotonic() < end:
        time.sleep(0.05)
    print("samples", len(sink.data()), flush=True)
    os._exit(0)  # a source that is taken apart waits for another block, without end

try:
    work()
except BaseException as error:
    print("error:", error, flush=True)
    os._exit(1)
"""


def test_gr_iio_finds_every_parameter_by_its_name():
    """Nothing is "not recognized"; rate, bandwidth, tracking, gain and filter are as it said, and samples arrive."""
    (server,) = present([own_address()])
    try:
        done = subprocess.run(
            [gnuradio_python(), "-c", FLOWGRAPH, f"ip:{server.pluto.address}"],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    finally:
        server.close()
    output = done.stdout + done.stderr
    assert "samples 8192" in output
    assert "not recognized" not in output
    assert "rror" not in output
    phy = server.pluto.phy
    assert (phy.clock.rate_hz, phy.clock.rx_enabled) == (3_000_000, False)
    assert phy.rx_lo.frequency_hz == 2_300_000_000
    assert phy.bandwidth_hz["rx"] != 18_000_000  # no longer what it comes with
    assert (phy.modes, phy.rx_gains_db) == (["manual"], [30])
    assert not any(phy.tracking.values())
