"""The listening socket of one virtual Pluto, and a thread for each connection; what is said there is in `client`."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading

from testbed.air.iiod.client import Client
from testbed.air.iiod.device import VirtualPluto
from testbed.air.iiod.opening import Passage
from testbed.errors import AddressInUse, RadioError

PORT = 30431
MAX_CONNECTIONS = 32  # of one device; a client has one, and one more for each open buffer
ACCEPT_S = 0.1

log = logging.getLogger(__name__)


class IiodServer:
    """Serves one Pluto at ``pluto.address``, from construction until `close`.

    Raises
    ------
    AddressInUse
        If somebody else listens there.
    RadioError
        If the address is none of this machine's.
    """

    def __init__(self, pluto: VirtualPluto, ether: Passage, port: int = PORT) -> None:
        self.pluto = pluto
        self.ether = ether
        self._attributes = threading.Lock()  # many clients, one device
        self._connections: set[socket.socket] = set()
        self._closing = threading.Event()
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind((pluto.address, port))
            self._listener.listen(MAX_CONNECTIONS)
        except OSError as error:
            self._listener.close()
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(
                    f"{pluto.address}:{port} is in use, perhaps by another `semtb air --pluto`: end it, or take "
                    "another address of 127.0.0.0/8"
                ) from None
            raise RadioError(f"--pluto {pluto.address}: {error.strerror}: write an address of this machine") from None
        self._listener.settimeout(ACCEPT_S)
        self._accepting = threading.Thread(target=self._accept, name=f"iiod-{pluto.address}", daemon=True)
        self._accepting.start()

    @property
    def clients(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def close(self) -> None:
        """Refuse and cut all connections; idempotent. The address is free afterwards."""
        self._closing.set()
        self._listener.close()
        if threading.current_thread() is not self._accepting:
            self._accepting.join(10 * ACCEPT_S)  # a listener lives on while a thread waits in it
        for connection in list(self._connections):
            cut(connection)
        self.ether.retire(self.pluto)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if len(self._connections) >= MAX_CONNECTIONS or self._closing.is_set():
                connection.close()
                continue
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), name="iiod-client", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(self.pluto, self.ether, connection, self._attributes)
        try:
            client.run()
        except OSError as error:
            log.debug("%s: a client went away: %s", self.pluto.address, error)
        finally:
            client.close()
            self._connections.discard(connection)
            connection.close()


def cut(connection: socket.socket) -> None:
    """End a connection that another thread may be waiting on."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
