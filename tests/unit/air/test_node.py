"""The air's node between a real hub and real radios, in threads of one process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from testbed.air.commands import FOLDER, SetLink, ask, running_airs
from testbed.air.medium import Medium
from testbed.air.node import run_air
from testbed.config import Air, AirConfig, AirPort
from testbed.control.bus import Hub
from testbed.control.messages import Changed, Heartbeat, Result, Start, Stop
from testbed.errors import PeerUnreachable, RunIncomplete
from testbed.phy.waveform import Waveform
from testbed.radio.base import RadioSettings
from testbed.radio.zmq import ZmqRadio
from tests.waiting import wait_until

WAVEFORM = Waveform()
TOTAL = 20_000


def endpoint() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{s.getsockname()[1]}"


class Node:
    """`run_air` in a thread, with its configuration and how it ended."""

    def __init__(self) -> None:
        ports = [
            AirPort(name="edge-1", user=0, tx=[endpoint()]),
            AirPort(name="server", user=None, rx=[endpoint(), endpoint()]),
        ]
        air = Air(user_delay_samples=[12.0, 0.0], delay_spread_s=2e-6, common_cfo_hz=10.0)
        self.config = AirConfig(seed=3, control=endpoint(), waveform=WAVEFORM, air=air, ports=ports)
        self.stop = threading.Event()
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            run_air(self.config, self.stop.is_set)
        except Exception as error:
            self.error = error

    def ended(self) -> Exception | None:
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.error


@pytest.fixture
def node() -> Iterator[Node]:
    one = Node()
    yield one
    one.stop.set()
    if one.thread.is_alive():
        one.thread.join(5)


def result_of(hub: Hub) -> Result:
    """The node's result, behind whatever heartbeats come first."""
    for _ in range(100):
        event = hub.poll(10.0)
        assert event is not None, "no event came"
        if isinstance(event[1], Result):
            return event[1]
        assert isinstance(event[1], Heartbeat), event
    raise AssertionError("only heartbeats came")


def test_it_carries_what_start_says_and_hands_in_the_truth(node, rng):
    x = (0.1 * rng.uniform(-1, 1, (1, TOTAL)) + 0j).astype(np.complex64)
    level_dbfs = 10 * np.log10(np.mean(np.abs(x) ** 2))
    edge_port, server_port = node.config.ports
    with (
        Hub(node.config.control) as hub,
        ZmqRadio(f"zmq:tx_port={edge_port.tx[0]}", RadioSettings(1.92e6, tx_channels=1)) as edge,
        ZmqRadio(
            f"zmq:rx_port={server_port.rx[0]},rx_port1={server_port.rx[1]}", RadioSettings(1.92e6, rx_channels=2)
        ) as server,
    ):
        node.thread.start()
        hub.wait_ready(["air"])
        assert hub._peers["air"].role == "air"
        edge.send(x)
        hub.broadcast(Start(samples=TOTAL))
        received = server.receive(TOTAL).samples
        values = result_of(hub).values
        hub.broadcast(Stop())
        assert node.ended() is None
    medium = Medium(WAVEFORM, node.config.air, [0], 2, 3)
    assert np.array_equal(received, medium.mix(x, 0))
    assert values["samples"] == TOTAL
    assert values["events"] == {}
    assert values["levels_dbfs"] == {"0": pytest.approx(level_dbfs, abs=1e-4)}
    assert values["warnings"] == medium.warnings()
    assert len(medium.warnings()) == 1
    truth = values["truth"]
    assert truth["user_cfo_hz"] == medium.truth.user_cfo_hz
    assert truth["common_cfo_hz"] == 10.0
    assert truth["noise_variance"] == medium.truth.noise_variance


@pytest.mark.parametrize("how", ["stop from the server", "told to end"])
def test_it_ends_before_its_time_when_told(node, how):
    """No radio is there yet; the reason is kept."""
    with Hub(node.config.control) as hub:
        node.thread.start()
        hub.wait_ready(["air"])
        hub.broadcast(Start(samples=TOTAL))
        if how == "told to end":
            node.stop.set()
            assert isinstance(node.ended(), RunIncomplete)
        else:
            hub.broadcast(Stop(reason="edge-1 went away"))
            error = node.ended()
            assert isinstance(error, RunIncomplete)
            assert str(error) == "edge-1 went away"


def test_an_edge_that_is_not_there_is_named(node):
    with Hub(node.config.control) as hub:
        node.thread.start()
        hub.wait_ready(["air"])
        hub.broadcast(Start(samples=TOTAL))
        error = node.ended()
    assert isinstance(error, PeerUnreachable)
    assert str(error).startswith(f"transmitter edge-1 does not answer at {node.config.ports[0].tx[0]} within 4 s")


def test_a_change_that_is_ordered_is_told_to_the_server_and_handed_in(node, rng, tmp_path, monkeypatch):
    """Before anything is sent: from sample 0 on, and the medium with that change gives the same bits."""
    monkeypatch.setenv(FOLDER, str(tmp_path / "s"))
    x = (0.1 * rng.uniform(-1, 1, (1, TOTAL)) + 0j).astype(np.complex64)
    edge_port, server_port = node.config.ports
    with (
        Hub(node.config.control) as hub,
        ZmqRadio(f"zmq:tx_port={edge_port.tx[0]}", RadioSettings(1.92e6, tx_channels=1)) as edge,
        ZmqRadio(
            f"zmq:rx_port={server_port.rx[0]},rx_port1={server_port.rx[1]}", RadioSettings(1.92e6, rx_channels=2)
        ) as server,
    ):
        node.thread.start()
        hub.wait_ready(["air"])
        hub.broadcast(Start(samples=TOTAL))
        wait_until(running_airs)
        (path,) = running_airs().values()
        assert ask(path, SetLink("edge-1.server", "path_loss_db", 36.0)).at_sample == 0
        while not isinstance(message := hub.poll(10.0)[1], Changed):
            assert isinstance(message, Heartbeat), message
        assert (message.at_sample, message.link, message.key, message.value) == (
            0,
            "edge-1.server",
            "path_loss_db",
            36.0,
        )
        edge.send(x)
        received = server.receive(TOTAL).samples
        values = result_of(hub).values
        hub.broadcast(Stop())
        assert node.ended() is None
    medium = Medium(WAVEFORM, node.config.air, [0], 2, 3)
    medium.set_gain(0, -6.0, 0)
    assert np.array_equal(received, medium.mix(x, 0))
    (change,) = values["changes"]
    assert (change["at_sample"], change["link"], change["path_loss_db"]) == (0, "edge-1.server", 36.0)
    assert not list((tmp_path / "s").iterdir())
