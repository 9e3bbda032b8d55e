"""The shell of a radio or board, one command at a time: over the system's own `ssh`, or of this machine."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.deploy.ssh import SSH_FAILED, Target, explain, parse_target, require_ssh
from testbed.errors import FirmwareError

LOCAL = "local:"
ANSWER_S = 60.0  # for one command; writing a Pluto's flash takes two seconds
STOCK_PASSWORD = "analog"  # printed in the maker's manual: keeps nobody out
PASSWORD = "SEMTB_SSH_PASSWORD"
ANSWERS = f'#!/bin/sh\nprintf "%s\\n" "${PASSWORD}"\n'
# A stock Pluto makes a host key at each boot; there is none to know.
ANY_KEY = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "GlobalKnownHostsFile=/dev/null")
PATHS = 'export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"\n'  # of fw_setenv and nvpmodel


def parse_host(text: str) -> tuple[str, int | None]:
    """Host and port: ``192.168.2.1``, ``ip:192.168.2.1`` or ``pluto:ip:192.168.2.1`` is root's, as a Pluto has no other
    user; anything else is as `semtb deploy --to` takes it; ``local:`` is this machine.

    Raises
    ------
    FirmwareError
        If it is a USB address: SSH goes over the network that a Pluto makes on its USB cable.
    """
    if text == LOCAL:
        return text, None
    plain = text.removeprefix("pluto:").partition(",")[0]
    if plain.startswith("usb:"):
        raise FirmwareError(f"{text}: a Pluto's settings are changed over its network: name it as ip:192.168.2.1")
    plain = plain.removeprefix("ip:")
    host, port = parse_target(plain, "HOST")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host, port
    return f"root@{host}", port


class Shell:
    """Runs commands on one machine.

    Parameters
    ----------
    target : Target
    password : str
        Answers every question of ssh; empty: ssh asks nobody.
    """

    def __init__(self, target: Target, password: str = "") -> None:
        self.target = target
        self._password = password
        self.name = "this machine" if target.host == LOCAL else target.host
        if target.host != LOCAL:
            require_ssh()

    def run(self, script: str, given: str = "") -> str:
        """What a script of sh prints.

        Parameters
        ----------
        script : str
        given : str
            Its standard input.

        Raises
        ------
        FirmwareError
            If the machine cannot be reached or the script fails; with the last line of what it complains about.
        """
        command = ["sh", "-c", PATHS + script]
        if self.target.host != LOCAL:
            command = self.target.command(PATHS + script)
        try:
            with self._environment() as environment:
                done = subprocess.run(
                    command, input=given, capture_output=True, text=True, timeout=ANSWER_S, env=environment
                )
        except subprocess.TimeoutExpired:
            raise FirmwareError(f"{self.name}: no answer within {ANSWER_S:.0f} s; try again") from None
        except UnicodeDecodeError:
            raise FirmwareError(f"{self.name}: what it prints is no text") from None
        if done.returncode:
            raise FirmwareError(self._why(done.returncode, done.stderr))
        return done.stdout

    def _why(self, status: int, errors: str) -> str:
        lines = errors.splitlines(keepends=True)
        if status != SSH_FAILED or self.target.host == LOCAL:
            last = next((line.strip() for line in reversed(lines) if line.strip()), f"status {status}")
            return f"{self.name}: {last}"
        denied = any(words in errors for words in ("Permission denied", "REMOTE HOST IDENTIFICATION", "Host key"))
        hint = (
            ". A Pluto with the password and keys that it is sold with: --stock"
            if denied and not self._password
            else ""
        )
        return explain(self.target, status, lines, "") + hint

    @contextmanager
    def _environment(self) -> Iterator[dict[str, str] | None]:
        """Of ssh: with a password it asks a program for it, which only this user can read or run."""
        if not self._password or self.target.host == LOCAL:
            yield None
            return
        with tempfile.TemporaryDirectory(prefix="semtb-ssh-") as folder:
            program = Path(folder) / "answers"
            program.write_text(ANSWERS, encoding="utf-8")
            program.chmod(0o700)
            asking = {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
            yield {**os.environ, **asking, PASSWORD: self._password}
