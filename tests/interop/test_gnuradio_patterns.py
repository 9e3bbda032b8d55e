"""GNU Radio on both sides of the air, by the flowgraphs of docs/gnuradio, in all three patterns."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from testbed.air.medium import Medium
from testbed.air.zmq_ports import AirServer
from testbed.config import Air, AirPort
from testbed.phy.waveform import Waveform
from tests.interop.flowgraphs import Flowgraph, compile_all
from tests.unit.air.zmq_bench import endpoint, until

pytestmark = pytest.mark.needs("gnuradio")
COUNT = 200_000
PERIOD = 50_000


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flowgraphs")
    compile_all(folder)
    return folder


def where(sent: np.ndarray, heard: np.ndarray) -> int:
    """At which sample of ``sent``, which repeats, the other begins: the peak of their circular correlation."""
    spectrum = np.fft.fft(heard[: len(sent)]) * np.conj(np.fft.fft(sent))
    return -int(np.argmax(np.abs(np.fft.ifft(spectrum)))) % len(sent)


@pytest.mark.parametrize("pattern", ["req-rep", "push-pull", "pub-sub"])
def test_what_gnuradio_receives_is_what_the_medium_makes_of_what_gnuradio_sends(programs, tmp_path, rng, pattern):
    """200,000 samples of a file that repeats, bit for bit, through noise: from its first sample on, but for a
    publisher, whose stream is joined anywhere. Then another receiver, in the place of the one that ended."""
    x = (0.2 * (rng.standard_normal(PERIOD) + 1j * rng.standard_normal(PERIOD))).astype(np.complex64)
    x.tofile(tmp_path / "sent.cf32")
    tx, rx = endpoint(), endpoint()
    ports = [
        AirPort(name="edge-1", user=0, tx=[tx], pattern=pattern, external=True),
        AirPort(name="server", user=None, rx=[rx], pattern=pattern, external=True),
    ]
    air = Air(snr_db=20.0, channel="AWGN", user_delay_samples=[0.0], user_cfo_hz=[0.0], common_cfo_hz=0.0)

    def medium() -> Medium:
        return Medium(Waveform(), air, [0], 1, 1)

    words = pattern.replace("-", "_")
    ending = threading.Event()
    with AirServer(medium(), ports, 14_400, timeout_s=30.0) as server:
        serving = threading.Thread(target=lambda: server.run(ending.is_set), daemon=True)
        serving.start()
        try:
            with Flowgraph(programs, f"transmit_{words}", endpoint=tx, file=tmp_path / "sent.cf32"):
                for name in ("got", "again"):
                    receiving = Flowgraph(programs, f"receive_{words}", endpoint=rx, file=tmp_path / name, count=COUNT)
                    with receiving:
                        assert receiving.process.wait(45) == 0
                until(lambda: server.served > 2 * COUNT)
        finally:
            ending.set()
            serving.join(5)
        assert not serving.is_alive()
    got = np.fromfile(tmp_path / "got.sigmf-data", np.complex64)
    again = np.fromfile(tmp_path / "again.sigmf-data", np.complex64)
    latency = medium().truth.latency_samples
    begin = (where(x, got) + latency) % PERIOD if pattern == "pub-sub" else 0
    sent = np.tile(np.roll(x, -begin), -(-server.served // PERIOD))[: server.served]
    whole = medium().mix(sent[None], 0)[0]
    assert np.array_equal(got, whole[:COUNT])
    first = next(i for i in range(len(whole) - COUNT) if whole[i] == again[0])
    assert first >= COUNT
    assert np.array_equal(again, whole[first : first + COUNT])
