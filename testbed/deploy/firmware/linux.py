"""A Linux machine's settings: a Jetson's power mode, files below /etc, services of systemd."""

from __future__ import annotations

import base64
import shlex

from testbed.deploy.firmware.shell import Shell
from testbed.errors import FirmwareError
from testbed.firmware.profiles import State, load_profile, profile_files

READ = r"""
echo "user=$(id -u)"
echo "model=$(tr -d '\000' < /sys/firmware/devicetree/base/model 2>/dev/null)"
echo "serial=$(tr -d '\000' < /sys/firmware/devicetree/base/serial-number 2>/dev/null || cat /etc/machine-id)"
sed -n 's/^< *POWER_MODEL *ID=\([0-9]*\) *NAME=\([A-Za-z0-9_]*\).*/mode.\2=\1/p' /etc/nvpmodel.conf 2>/dev/null
true
"""
# After a file in such a folder has changed.
RELOADS = {
    "/etc/udev/rules.d": "udevadm control --reload && udevadm trigger --subsystem-match=usb",
    "/etc/tmpfiles.d": "systemd-tmpfiles --create {path}",
    "/etc/systemd/system": "systemctl daemon-reload",
}
# Written beside and renamed: whoever reads it sees the old file or the new one.
PUT = "echo {text} | base64 -d > {path}.semtb && chmod 644 {path}.semtb && mv {path}.semtb {path}"


class Linux:
    """One machine, as it answered when this was made."""

    kind = "linux"

    def __init__(self, shell: Shell, printed: str) -> None:
        self.shell = shell
        self._state: State = {}
        self.facts = dict(line.partition("=")[::2] for line in printed.splitlines() if "=" in line)
        self.modes = {k.removeprefix("mode."): v for k, v in self.facts.items() if k.startswith("mode.")}

    @property
    def serial(self) -> str:
        """Of the board; of the installation where it has none."""
        return self.facts.get("serial", "").strip()

    @property
    def described(self) -> str:
        """One line for a person."""
        return self.facts.get("model", "").strip() or "Linux machine"

    def resolve(self, modes: list[str]) -> State:
        """Which of the power modes this board has.

        Raises
        ------
        FirmwareError
            If it has none of them.
        """
        if not modes:
            return {}
        chosen = next((mode for mode in modes if mode in self.modes), None)
        if chosen is None:
            has = ", ".join(self.modes) or "none: no /etc/nvpmodel.conf, so it is no Jetson"
            raise FirmwareError(f"{self.shell.name}: power mode {' or '.join(modes)}: it has {has}")
        return {"power_mode": chosen}

    def known(self) -> list[str]:
        """The settings of the profiles that ship."""
        shipped = [load_profile(path) for path in profile_files().values()]
        names = [name for one in shipped if one.kind == self.kind for name in one.wanted]
        return [*(["power_mode"] if self.modes else []), *dict.fromkeys(names)]

    def state(self, names: list[str]) -> State:
        """The settings ``names`` as they are."""
        missing = [name for name in names if name not in self._state]
        if missing:
            questions = map(self._question, missing)
            script = "\n".join(f'{question} && echo "{i} $answer"' for i, question in enumerate(questions))
            printed = dict(line.partition(" ")[::2] for line in self.shell.run(f"{script}\ntrue").splitlines())
            for i, name in enumerate(missing):
                answer = printed.get(str(i))
                self._state[name] = None if answer is None else base64.b64decode(answer).decode(errors="replace")
        return {name: self._state[name] for name in names}

    @staticmethod
    def _question(name: str) -> str:
        """A command of sh that leaves the setting in ``answer``, in base64; fails where there is none."""
        kind, _, rest = name.partition(".")
        what = shlex.quote(rest)
        if kind == "power_mode":
            return "answer=$(nvpmodel -q 2>/dev/null | sed -n 's/^NV Power Mode: *//p' | tr -d '\\n' | base64 -w0)"
        if kind == "file":
            return f"[ -e {what} ] && answer=$(base64 -w0 < {what})"
        runs = f"systemctl is-enabled -q {what} 2>/dev/null && systemctl is-active -q {what}"
        return f"answer=$( ({runs}) && printf on | base64 || printf off | base64)"

    def write(self, changes: State) -> None:
        """Services that are to end, files, power mode, services that are to run: one script, up to its first error.

        A board sets its power mode at once, or says that it wants a reboot for it, which is not done here.
        """
        services = {name.partition(".")[2]: value for name, value in changes.items() if name.startswith("service.")}
        steps = [f"systemctl disable --now {shlex.quote(s)}" for s, value in services.items() if value != "on"]
        for name, content in changes.items():
            if name.startswith("file."):
                steps += self._put(name.partition(".")[2], content)
        if mode := changes.get("power_mode"):
            steps.append(f"echo no | nvpmodel -m {self._number(mode)}")
        steps += [f"systemctl enable --now {shlex.quote(s)}" for s, value in services.items() if value == "on"]
        self._run("\n".join(steps))

    def _number(self, mode: str) -> str:
        """Of a power mode, on this board.

        Raises
        ------
        FirmwareError
            If it has no such mode any more.
        """
        if mode not in self.modes:
            raise FirmwareError(f"{self.shell.name}: power mode {mode}: it has {', '.join(self.modes) or 'none'}")
        return self.modes[mode]

    @staticmethod
    def _put(path: str, content: str | None) -> list[str]:
        """Commands that write or remove one file, and have it read."""
        folder = path.rpartition("/")[0]
        place, reload = shlex.quote(path), RELOADS[folder].format(path=shlex.quote(path))
        if content is None:
            return [f"rm -f {place}", *([] if "{path}" in RELOADS[folder] else [reload])]
        text = base64.b64encode(content.encode()).decode()
        return [f"mkdir -p {shlex.quote(folder)}", PUT.format(path=place, text=text), reload]

    def _run(self, script: str) -> None:
        """As root: by `sudo` where another user logs in, which must not ask for a password."""
        self._state.clear()
        try:
            self.shell.run(f"{'' if self.facts.get('user') == '0' else 'sudo -n '}sh -ec {shlex.quote(script)}")
        except FirmwareError as error:
            if "sudo:" in str(error):
                raise FirmwareError(f"{error}. Log in as root, or allow `sudo` there without a password") from None
            raise

    def reboot(self) -> None:
        """For settings that are read at boot alone."""
        self._run("(sleep 1; reboot) > /dev/null 2>&1 &")

    def warnings(self, wanted: State) -> list[str]:
        """Nothing is known beforehand."""
        return []

    def effects(self, wanted: State) -> list[str]:
        """What is read back is in force."""
        return []
