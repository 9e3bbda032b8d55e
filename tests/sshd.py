"""A real SSH server of the test's own on this machine, with keys of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import textwrap
import time
from pathlib import Path


class SshServer:
    """Runs until `stop`; ``more`` is added to its configuration."""

    def __init__(self, folder: Path, sshd: str, more: str = "") -> None:
        self.folder = folder
        self.host = f"{getpass.getuser()}@127.0.0.1"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for key in ("host-key", "key", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
        shutil.copyfile(folder / "key.pub", folder / "authorized_keys")
        kind, key = (folder / "host-key.pub").read_text().split()[:2]
        (folder / "known").write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")
        config = f"""\
            Port {self.port}
            ListenAddress 127.0.0.1
            HostKey {folder}/host-key
            AuthorizedKeysFile {folder}/authorized_keys
            PidFile none
            PermitRootLogin yes
            StrictModes no
            UsePAM no
            PasswordAuthentication no
            KbdInteractiveAuthentication no
            """
        (folder / "sshd_config").write_text(textwrap.dedent(config) + more)
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # which the service's own start would make
        with (folder / "sshd.log").open("wb") as log:
            command = [sshd, "-D", "-e", "-f", str(folder / "sshd_config")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + 20
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            assert self.process.poll() is None and time.monotonic() < end, (folder / "sshd.log").read_text()
            time.sleep(0.05)

    def ssh_options(self, key: str = "key", known: str = "known") -> list[str]:
        """As a person who knows this board's host key has them, whatever else is in this user's own files."""
        known_hosts = [f"UserKnownHostsFile={self.folder / known}", "GlobalKnownHostsFile=/dev/null"]
        return [*known_hosts, f"IdentityFile={self.folder / key}", "IdentitiesOnly=yes"]

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(10)
