"""The control bus: a Hub at the server, a Member at every other node. It carries messages and notices who is gone."""

from testbed.control.bus.hub import Hub, Lost, hosting
from testbed.control.bus.member import Member, await_server

__all__ = ["Hub", "Lost", "Member", "await_server", "hosting"]
