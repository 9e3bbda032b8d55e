"""What a look at an address finds: whatever listens there, and whatever it sends."""

import socket
import struct
import threading

import pytest

from testbed.radio.probe import probe, properties


@pytest.mark.parametrize("cut", [0, 1, 5, 64, 65, 66, 80])
def test_a_greeting_that_is_cut_short_is_no_zeromq(cut):
    """Any server may send anything and close; nothing hangs."""
    ready = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 3) + b"PUB"
    text = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    text += bytes([4, len(ready)]) + ready
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            one, _ = listening.accept()
            with one:
                one.sendall(text[:cut] if cut < 80 else text)
                one.recv(64)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        message = probe(f"tcp://127.0.0.1:{listening.getsockname()[1]}")
        serving.join(5)
    assert ("a ZeroMQ PUB socket is there" in message) == (cut == 80)
    assert ("something listens there" in message) == (cut < 80)


def test_properties_survive_any_bytes(rng):
    for size in range(60):
        for _ in range(20):
            assert all(isinstance(v, str) for v in properties(rng.bytes(size)).values())
