"""Boards by the system's own `ssh`: one command at a time, never with host key checking switched off."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence

import msgspec

from testbed.errors import BoardError

BASE = "~/.local/share/semtb"
CONNECT_S = 10
ALIVE_S = 2  # between two looks whether the connection still carries; three in vain end it
SSH_FAILED = 255  # ssh's own status, whatever it was
OLD_PYTHON = 43
OLDEST = (3, 10)


class Target(msgspec.Struct, frozen=True):
    """A board and how to reach it: what the command line says, and for the rest ~/.ssh/config."""

    host: str  # user@host, or a Host of ~/.ssh/config
    port: int | None = None
    identity: str = ""
    options: tuple[str, ...] = ()  # KEY=VALUE, as ssh -o takes them
    python: str = "python3"
    base: str = BASE
    asks: bool = False  # a program answers what ssh asks, see SSH_ASKPASS in ssh(1)

    def command(self, remote: str, more: Sequence[str] = ()) -> list[str]:
        """The local command that runs ``remote`` in the board's shell."""
        # No shared connection: ours must end with its process, and take its forwardings with it.
        words = ["ssh", "-T", "-S", "none", "-o", f"BatchMode={'no' if self.asks else 'yes'}"]
        words += ["-o", f"ConnectTimeout={CONNECT_S}", "-o", f"ServerAliveInterval={ALIVE_S}", "-o", "LogLevel=ERROR"]
        words += [] if self.port is None else ["-p", str(self.port)]
        words += ["-i", os.path.expanduser(self.identity)] if self.identity else []
        for option in self.options:
            words += ["-o", option]
        return [*words, *more, "--", self.host, remote]

    @property
    def by_hand(self) -> str:
        """What to type to connect as this does."""
        words = ["ssh", *(["-p", str(self.port)] if self.port else [])]
        words += ["-i", self.identity] if self.identity else []
        return shlex.join([*words, *(word for option in self.options for word in ("-o", option)), self.host])


def parse_target(text: str, where: str = "--to") -> tuple[str, int | None]:
    """Host and port of ``user@host[:port]``; an IPv6 address stands in brackets.

    Raises
    ------
    BoardError
        If it is anything else.
    """
    match = re.fullmatch(r"((?:[^@\s]+@)?)(?:\[([^\]\s]+)\]|([^:\s\[\]]+))(?::(\d{1,5}))?", text)
    port = int(match[4]) if match and match[4] else None
    if not match or text.startswith("-") or (port is not None and not 1 <= port <= 65535):
        raise BoardError(f"{where} {text}: write it as user@host, user@host:port or a Host of ~/.ssh/config")
    return match[1] + (match[2] or match[3]), port


def require_ssh() -> None:
    """Raise BoardError where there is no ssh."""
    if shutil.which("ssh") is None:
        raise BoardError("ssh is not installed here: sudo apt-get install openssh-client")


def explain(target: Target, status: int, errors: Sequence[str], output: str) -> str:
    """Why ssh, or Python at its other end, did not do what was asked, and what to do, in one line."""
    text = "".join(errors)
    last = next((line.strip() for line in reversed(errors) if line.strip()), f"status {status}")
    host, by_hand = target.host, target.by_hand
    if status == OLD_PYTHON:
        return (
            f"{host}: {target.python} is Python {output.strip()}, an edge needs {OLDEST[0]}.{OLDEST[1]} or newer: "
            "install one there and name it with --python PATH"
        )
    if status in (126, 127):
        return (
            f"{host}: no {target.python} there ({last}): sudo apt-get install python3 python3-venv on the board, "
            "or name one with --python PATH"
        )
    if status == SSH_FAILED:
        if "REMOTE HOST IDENTIFICATION HAS CHANGED" in text:
            return (
                f"{host}: its host key is not the one known here. If the board was installed anew: "
                f"ssh-keygen -R {shlex.quote(host.rpartition('@')[2])}; if not, somebody else answers in its place"
            )
        if "Host key verification failed" in text or "host key is known" in text:
            return (
                f"{host}: its host key is not known here yet. Connect once with `{by_hand}`, compare the fingerprint "
                "that it shows with the board's, and try again"
            )
        if "Permission denied" in text:
            copy = by_hand.replace("ssh", "ssh-copy-id", 1)
            return f"{host}: it refuses this key. `{copy}` installs yours there; --identity FILE names another"
        return f"{host}: cannot be reached ({last}). Is it on, and does `{by_hand}` get there? --port N names a port"
    return f"{host}: {last}; look there with `{by_hand}`"


def run_command(
    target: Target,
    name: str,
    run: str,
    python: str,
    program: str,
    environment: Mapping[str, str],
    forwards: Sequence[str],
) -> list[str]:
    """The local command that stands for a remote edge: it forwards ports, and neither of the two outlives the other."""
    request = {"do": "run", "base": target.base, "name": name, "run": run, "environment": dict(environment)}
    remote = shlex.join([python, program, json.dumps(request)])
    return target.command(remote, ["-o", "ExitOnForwardFailure=yes", *forwards])
