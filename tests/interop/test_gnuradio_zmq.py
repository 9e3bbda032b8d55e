"""A real GNU Radio on both sides of the air: its rep_sink transmits, its req_source receives."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from skimage.io import imsave

from testbed.air.medium import Medium
from testbed.air.zmq_ports import AirServer
from testbed.config import Air, AirPort
from testbed.experiments.resolve import free_base
from testbed.phy.waveform import Waveform
from testbed.radio.base import RadioSettings
from testbed.radio.zmq import ZmqRadio
from testbed.record.folder import RunFolder
from testbed.record.schema import read_result
from tests.requirements import gnuradio_python

pytestmark = pytest.mark.needs("gnuradio")
RATE = Waveform().sample_rate_hz

FLOWGRAPH = """
import sys
from gnuradio import analog, blocks, gr, zeromq
role, endpoint, path, count = sys.argv[1:]
graph = gr.top_block()
if role == "channel":  # what one end sends reaches the other, half as strong and with noise
    asked = zeromq.req_source(gr.sizeof_gr_complex, 1, endpoint, 100, False, -1)
    noise = analog.noise_source_c(analog.GR_GAUSSIAN, 0.005, 7)
    add = blocks.add_cc()
    graph.connect(asked, blocks.multiply_const_cc(0.5), (add, 0))
    graph.connect(noise, (add, 1))
    graph.connect(add, zeromq.rep_sink(gr.sizeof_gr_complex, 1, path, 100, False, -1))
elif role == "transmit":
    source = blocks.file_source(gr.sizeof_gr_complex, path, True)
    graph.connect(source, zeromq.rep_sink(gr.sizeof_gr_complex, 1, endpoint, 100, False, -1))
else:
    head = blocks.head(gr.sizeof_gr_complex, int(count))
    sink = blocks.file_sink(gr.sizeof_gr_complex, path)
    sink.set_unbuffered(True)
    graph.connect(zeromq.req_source(gr.sizeof_gr_complex, 1, endpoint, 100, False, -1), head, sink)
graph.start()
print("running", flush=True)
if role != "receive":
    sys.stdin.read()
    graph.stop()
graph.wait()
"""


def endpoint() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{s.getsockname()[1]}"


class Flowgraph:
    """A GNU Radio process; a transmitting one repeats its file until the context ends."""

    def __init__(self, role: str, where: str, path: Path | str, count: int = 0) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
        self.process = subprocess.Popen(
            [gnuradio_python(), "-c", FLOWGRAPH, role, where, str(path), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Flowgraph:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == "running"
        return self

    def __exit__(self, *exc: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def noise(rng: np.random.Generator, count: int) -> np.ndarray:
    return (rng.uniform(-1, 1, count) + 1j * rng.uniform(-1, 1, count)).astype(np.complex64)


def samples_file(path: Path, rng: np.random.Generator, count: int) -> np.ndarray:
    x = noise(rng, count)
    x.tofile(path)
    return x


def test_gnuradio_transmits_and_receives_through_the_air(tmp_path, rng):
    """Two users, one of them GNU Radio, one receiver, GNU Radio: 200,000 samples, bit for bit what the medium gives."""
    count = 200_000
    foreign = samples_file(tmp_path / "sent", rng, count)
    own = noise(rng, count)
    ports = [
        AirPort(name="edge-1", user=0, tx=[endpoint()]),
        AirPort(name="edge-2", user=1, tx=[endpoint()]),
        AirPort(name="server", user=None, rx=[endpoint()]),
    ]

    def medium() -> Medium:
        return Medium(Waveform(), Air(snr_db=20.0), [0, 1], 1, 1)

    edge = ZmqRadio(f"zmq:tx_port={ports[1].tx[0]}", RadioSettings(RATE, tx_channels=1, timeout_s=30.0))
    feeder = threading.Thread(target=lambda: (edge.send(own[None]), edge.finish()), daemon=True)
    with (
        edge,
        AirServer(medium(), ports, 14_400, timeout_s=30.0) as air,
        Flowgraph("transmit", ports[0].tx[0], tmp_path / "sent"),
        Flowgraph("receive", ports[2].rx[0], tmp_path / "got", count) as receiving,
    ):
        feeder.start()
        ending = threading.Event()
        serving = threading.Thread(target=lambda: air.run(ending.is_set, None), daemon=True)
        serving.start()
        try:
            assert receiving.process.wait(40) == 0
        finally:
            ending.set()
            serving.join(5)
        assert not serving.is_alive()
        assert not air.events
    got = np.fromfile(tmp_path / "got", np.complex64)
    assert np.array_equal(got, medium().mix(np.stack([foreign, own]), 0)[0])


def test_our_radio_talks_to_gnuradio_directly(tmp_path, rng):
    """Without an air between: rep_sink to rx_port, tx_port to req_source, bit for bit."""
    count = 50_000
    x = samples_file(tmp_path / "sent", rng, count)
    where = endpoint()
    settings = RadioSettings(RATE, rx_channels=1, timeout_s=30.0)
    with Flowgraph("transmit", where, tmp_path / "sent"), ZmqRadio(f"zmq:rx_port={where}", settings) as radio:
        block = radio.receive(count + 1000)
    assert np.array_equal(block.samples[0], np.concatenate([x, x[:1000]]))
    assert block.events == ()

    where = endpoint()
    settings = RadioSettings(RATE, tx_channels=1, timeout_s=30.0)
    radio = ZmqRadio(f"zmq:tx_port={where}", settings)
    with radio, Flowgraph("receive", where, tmp_path / "got", count) as receiving:
        radio.send(x[None])
        radio.finish()
        assert receiving.process.wait(30) == 0
    assert np.array_equal(np.fromfile(tmp_path / "got", np.complex64), x)


SCENARIO = """
name = "beside-gnuradio"
max_pixels = 4096
[net]
port_base = {base}
[server]
antennas = 1
tail_s = 0.2
radio = "{rx}"
[[edges]]
name = "edge-1"
user = 0
images = "{images}"
radio = "{tx}"
"""


@pytest.mark.parametrize("how", ["radios", "external"])
def test_a_run_through_gnuradio_has_no_bound_and_says_why(tmp_path, rng, how):
    """GNU Radio in place of the air, whole processes: the picture arrives, nothing is said of an air. Either the nodes
    have radios of their own, or the air of their scenario is left out."""
    images = tmp_path / "images"
    images.mkdir()
    coarse = rng.integers(60, 190, (4, 4, 3)).astype(np.uint8)
    imsave(images / "one.png", np.kron(coarse, np.ones((16, 16, 1), np.uint8)), check_contrast=False)
    base = free_base("127.0.0.1", 3)
    tx, rx = f"tcp://127.0.0.1:{base + 1}", f"tcp://127.0.0.1:{base + 2}"
    radios = {"tx": f"zmq:tx_port={tx}", "rx": f"zmq:rx_port={rx}"} if how == "radios" else {"tx": "", "rx": ""}
    scenario = tmp_path / "beside.toml"
    scenario.write_text(SCENARIO.format(**radios, base=base, images=images), encoding="utf-8")
    command = [sys.executable, "-m", "testbed.cli.main", "run", str(scenario), "--out", str(tmp_path / "run")]
    command += ["--external", "air"] if how == "external" else []
    with Flowgraph("channel", tx, rx):
        done = subprocess.run(command, capture_output=True, text=True, timeout=55, check=False)
    assert done.returncode == 0, done.stderr
    result = read_result(RunFolder(tmp_path / "run"))
    (user,) = result.metrics.users
    assert user.psnr_db > 20
    assert user.single_user_psnr_db is None
    assert result.metrics.air is None
    absent = "the scenario's air took no part in this run, and " if how == "external" else ""
    assert f"no bound: {absent}what lay between the radios is not known" in result.metrics.warnings
    assert "no bound" in done.stdout
    assert (f"  edge-1: {tx}" in done.stdout and f"  antenna 0: {rx}" in done.stdout) == (how == "external")
