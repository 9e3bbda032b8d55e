"""GNU Radio's channel models, for `tests.benchmarks.air`: for each line `NAME SAMPLES` the CPU seconds that they took.

Run by the Python that has GNU Radio. All threads of the flowgraph count.
"""

from __future__ import annotations

import sys
import time

from gnuradio import blocks, channels, gr

BLOCK = [complex(0.1, 0.2)] * 65_536


def siso():
    """One tap, a carrier offset, and noise from its pool."""
    return channels.channel_model(0.1, 0.01, 1.0, [1.0], 1)


def tdl():
    """Eight Rayleigh taps of eight sinusoids each, 5 Hz Doppler at 1.92 MS/s."""
    return channels.selective_fading_model(8, 5.0 / 1.92e6, False, 4.0, 1, list(range(8)), [8**-0.5] * 8, 8)


def seconds(model, samples):
    graph = gr.top_block()
    graph.connect(blocks.vector_source_c(BLOCK, True), blocks.head(8, samples), model, blocks.null_sink(8))
    begun = time.process_time()
    graph.run()
    return time.process_time() - begun


for line in sys.stdin:
    name, count = line.split()
    print(seconds({"air-siso": siso, "air-tdl": tdl}[name](), int(count)), flush=True)
