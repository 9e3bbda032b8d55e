"""The watch over calls to libiio: a device that does not answer is given up, a slow one that answers is not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from testbed.radio import pluto_watch
from testbed.radio.pluto_watch import Watch, silence


class Buffer:
    """Of libiio: a call that waits until it is cancelled."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pluto_watch, "QUIET_S", 0.05)
    monkeypatch.setattr(pluto_watch, "LOOK_S", 0.01)


def noted(asked: threading.Event, answer: str) -> str:
    asked.set()
    return answer


def wait_under(watch: Watch, buffer: Buffer, limit_s: float) -> bool:
    """Whether a call that waits was cancelled."""
    with watch.over(buffer):
        return buffer.cancelled.wait(limit_s)


def test_a_call_to_a_device_that_does_not_answer_is_cancelled():
    watch = Watch("ip:192.0.2.1", 1.0, ask=lambda host, timeout_s: f"{host}: no answer")
    assert wait_under(watch, Buffer(), 10)
    assert watch.reason == "192.0.2.1: no answer"
    assert not watch.answers()


def test_a_device_that_answers_may_be_slow():
    asked = threading.Event()
    watch = Watch("ip:192.0.2.1", 1.0, ask=lambda host, timeout_s: noted(asked, ""))
    assert not wait_under(watch, Buffer(), 0.3)
    assert asked.is_set()
    assert watch.answers()
    watch.close()


def test_nothing_is_asked_while_nothing_waits():
    asked = threading.Event()
    watch = Watch("ip:192.0.2.1", 1.0, ask=lambda host, timeout_s: noted(asked, "no"))
    time.sleep(0.2)
    assert not asked.is_set()
    watch.close()


def test_a_device_on_usb_is_not_asked():
    watch = Watch("usb:1.4.5", 1.0, ask=lambda host, timeout_s: "no")
    assert not wait_under(watch, Buffer(), 0.2)
    assert watch.answers()


@pytest.mark.parametrize(
    "talk, message",
    [
        (lambda peer: peer.sendall(b"0.25.v0.25  \n"), ""),
        (lambda peer: None, "it closed the connection"),
        (lambda peer: peer.sendall(b"SSH-2.0\r\n"), "what answers there does not speak libiio's protocol"),
        (lambda peer: time.sleep(0.5), "no answer"),
    ],
)
def test_only_an_answer_tells(talk: Callable[[socket.socket], object], message: str):
    """A process that was stopped is connected to all the same."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(64)
                talk(peer)

        threading.Thread(target=serve, daemon=True).start()
        assert silence("127.0.0.1", 0.2, listener.getsockname()[1]) == message


def test_who_is_not_there_is_said():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert silence("127.0.0.1", 0.2, closed.getsockname()[1]) == "connection refused"
