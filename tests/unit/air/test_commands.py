"""Orders to an air that runs: what they change and from which sample on, who may give them, what is refused."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq

from testbed.air.commands import (
    FOLDER,
    Applied,
    AskStatus,
    CommandSocket,
    Ports,
    Refused,
    SetLink,
    ask,
    command_folder,
    running_airs,
)
from testbed.air.serving import Serving
from testbed.errors import DataError, PeerUnreachable, ScenarioError
from testbed.experiments.air_orders import find_air, parse_key, set_link
from tests.unit.air.zmq_bench import benches, fetch, gaussian, serve, until


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path / "s"))
    return command_folder()


class Running:
    """A bench's air with orders, in a thread."""

    def __init__(self, make) -> None:
        self.bench = make(block=100, users=1, external=True, snr_db=60.0, user_delay_samples=[0.0], channel="AWGN")
        self.reported: list = []
        self.bench.thread = threading.Thread(target=self._run, daemon=True)
        self.bench.thread.start()

    def _run(self) -> None:
        with Serving("air", self.bench.server, self.reported.append) as serving:
            self.serving = serving

            def stop() -> bool:
                serving.look()
                return self.bench.stop.is_set()

            self.bench.server.run(stop)

    def pass_block(self, one: zmq.Socket, receiver: zmq.Socket, samples: np.ndarray) -> np.ndarray:
        serve(one, [[samples.tobytes()]])
        return fetch(receiver, struct.pack("<I", len(samples)))


@pytest.fixture
def running(folder: Path) -> Iterator[Running]:
    with benches() as make:
        air = Running(make)
        until(running_airs)
        yield air


def socket_of() -> Path:
    return next(iter(running_airs().values()))


def test_a_link_changes_at_the_sample_that_is_named(running, rng):
    """80 dB of path loss are 50 dB less than a link has by itself: the medium with the same change at the same sample
    gives the same bits, the change is reported, and everything before it is as it was."""
    b = running.bench
    one, receiver = b.peer(zmq.REP, b.tx[0]), b.peer(zmq.REQ, b.rx[0])
    x = gaussian(rng, 300)
    got = [running.pass_block(one, receiver, x[:100])]
    answer = ask(socket_of(), SetLink("edge-1.server", "path_loss_db", 80.0))
    assert isinstance(answer, Applied)
    assert (answer.at_sample, answer.value) == (100, 80.0)
    got.append(running.pass_block(one, receiver, x[100:200]))
    assert ask(socket_of(), SetLink("edge-1.server", "gain_db", 3.0)).at_sample == 200
    got.append(running.pass_block(one, receiver, x[200:]))
    expected = b.medium()
    expected.set_gain(0, -50.0, 100)
    expected.set_gain(0, 3.0, 200)
    assert np.array_equal(np.concatenate(got), expected.mix(x[None], 0)[0])
    assert [(c.at_sample, c.path_loss_db, c.gain_db) for c in running.reported] == [(100, 80.0, None), (200, None, 3.0)]
    assert running.serving.changes == running.reported


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (
            SetLink("edge-2.server", "path_loss_db", 80.0),
            "no such link in this air; links: edge-1.server",
        ),
        (SetLink("edge-1.server", "snr_db", 3.0), "those that do: path_loss_db, gain_db"),
        (SetLink("edge-1.server", "gain_db", float("nan")), "allowed"),
        (SetLink("edge-1.server", "gain_db", 1e9), "allowed"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(running, order, says):
    answer = ask(socket_of(), order)
    assert isinstance(answer, Refused)
    assert says in answer.reason
    assert not running.serving.changes


def test_noise_on_the_socket_is_answered_or_dropped_and_the_air_goes_on(running):
    path = socket_of()
    with zmq.Context() as context:
        for body in (b"", b"\xc1", msgspec.msgpack.encode({"type": "set"}), msgspec.msgpack.encode([1] * 100)):
            with context.socket(zmq.REQ) as socket:
                socket.setsockopt(zmq.LINGER, 0)
                socket.connect(f"ipc://{path}")
                socket.send(body)
                assert socket.poll(5000)
                assert b"no order to an air" in socket.recv()
        with context.socket(zmq.REQ) as socket:  # far too long: libzmq cuts it off
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(f"ipc://{path}")
            socket.send(bytes(1 << 20))
            assert not socket.poll(200)
    assert isinstance(ask(path, AskStatus()), Ports)


def test_status_names_every_port(running):
    answer = ask(socket_of(), AskStatus())
    assert isinstance(answer, Ports)
    assert [(port.port, port.direction) for port in answer.ports] == [("edge-1", "tx"), ("server.rx0", "rx")]


def test_the_air_is_found_by_itself_or_by_its_name(folder):
    """None, one, two, and one that was killed, whose socket is taken away."""
    with pytest.raises(PeerUnreachable, match="no air of yours runs"):
        find_air(None)
    dead = folder / "air-99999999.sock"
    dead.touch()

    def nothing(*_: object) -> Applied:
        raise AssertionError

    with CommandSocket("air", nothing, nothing) as first:
        assert find_air(None) == first.path
        assert not dead.exists()
        with CommandSocket("other", nothing, nothing) as second:
            with pytest.raises(ScenarioError, match=rf"name one by --air: air-{os.getpid()}, other-{os.getpid()}"):
                find_air(None)
            assert find_air(f"other-{os.getpid()}") == second.path
            with pytest.raises(PeerUnreachable, match="no air third runs here"):
                find_air("third")
    assert not list(folder.iterdir())


def test_a_folder_that_others_may_enter_is_refused(folder):
    folder.chmod(0o755)
    with pytest.raises(DataError, match="nobody else may enter"):
        command_folder()
    folder.rmdir()
    folder.symlink_to("/tmp")
    with pytest.raises(DataError, match="a folder of yours"):
        command_folder()


def test_an_air_that_can_take_no_orders_runs_nevertheless(folder, caplog):
    """Its user's folder is open to others: that is said, and nothing fails."""
    folder.chmod(0o777)
    with benches() as make, Serving("air", make().server) as serving:
        serving.look()
        assert serving.ports
    assert "takes no orders while it runs" in caplog.text
    assert not list(folder.iterdir())


def test_an_air_that_does_not_answer_is_named(folder):
    def nothing(*_: object) -> Applied:
        raise AssertionError

    with CommandSocket("air", nothing, nothing) as mute, pytest.raises(PeerUnreachable, match="does not answer within"):
        ask(mute.path, AskStatus(), 0.1)


@pytest.mark.parametrize("text", ["path_loss_db", "edge-1.path_loss_db", "edge-1.server.snr_db", "a.b.c.gain_db"])
def test_a_key_is_written_link_and_key(text):
    with pytest.raises(ScenarioError, match=r"write it as EDGE.SERVER.KEY"):
        parse_key(text, 1.0)


def test_the_command_says_from_which_sample_on(running):
    said: list[str] = []
    set_link("edge-1.server.gain_db", -3.0, None, said.append)
    assert said == ["edge-1.server.gain_db = -3 from sample 0 on"]
    with pytest.raises(ScenarioError, match="no such link"):
        set_link("edge-9.server.gain_db", -3.0, None, said.append)
