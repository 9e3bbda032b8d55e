"""A Pluto's settings: variables of u-boot's environment in its flash, which its boot script and Linux read at boot."""

from __future__ import annotations

import re

from testbed.deploy.firmware.shell import Shell
from testbed.errors import FirmwareError
from testbed.firmware.profiles import VARIABLES, State

REV_C = "Analog Devices PlutoSDR Rev.C (Z7010/AD9363)"  # the one board on which the boot script leaves ad9361 and 2r2t
# Facts, then the environment as `fw_printenv` prints it. Rev. C's device tree has the chip below amba or, newer, axi.
READ = r"""
tree=/sys/firmware/devicetree/base
printf 'model=%s\n' "$(tr -d '\000' < $tree/model)"
printf 'serial=%s\n' "$(cat /etc/serial)"
printf 'firmware=%s\n' "$(sed -n 's/^device-fw //p' /opt/VERSIONS)"
for bus in amba axi; do
    chip="$tree/$bus/spi@e0006000/ad9361-phy@0"
    [ -e "$chip/compatible" ] && printf 'chip=%s\n' "$(tr '\000' ' ' < "$chip/compatible")"
    [ -e "$chip/adi,2rx-2tx-mode-enable" ] && echo two=yes
done 2>/dev/null
printf 'cores=%s\n' "$(grep -c ^processor /proc/cpuinfo)"
echo ---
fw_printenv 2>&1
"""
WRITE = 'file=$(mktemp) && cat > "$file" && fw_setenv -s "$file"; status=$?; rm -f "$file"; exit $status'
REBOOT = "(sleep 1; reboot) > /dev/null 2>&1 &"


class Pluto:
    """One Pluto, as it answered when this was made."""

    kind = "pluto"

    def __init__(self, shell: Shell, printed: str) -> None:
        self.shell = shell
        facts, mark, environment = printed.partition("\n---\n")
        self.facts = dict(line.partition("=")[::2] for line in facts.splitlines() if "=" in line)
        self.environment = dict(re.findall(r"^(\w+)=(.*)$", environment, re.MULTILINE))
        if not mark or "Bad CRC" in environment or not {"bootcmd", "qspiboot"} & set(self.environment):
            raise FirmwareError(
                f"{shell.name}: its flash holds no boot environment, and one written now would lack what boots it: "
                "write the maker's boot.frm or uboot-env.dfu to it first, as its manual says"
            )

    @property
    def serial(self) -> str:
        """By which backups are found, whatever address it has."""
        return self.facts.get("serial", "").strip()

    @property
    def described(self) -> str:
        """One line for a person."""
        facts = self.facts
        channels = "2R2T" if "two" in facts else "1R1T"
        chip = facts.get("chip", "no AD936x").strip()
        return f"{facts.get('model', '')}, {chip}, {channels}, {facts.get('cores')} cores, {facts.get('firmware', '')}"

    def known(self) -> list[str]:
        """The settings that a profile can name."""
        return [f"environment.{name}" for name in VARIABLES]

    def state(self, names: list[str]) -> State:
        """The settings ``names`` as they are."""
        return {name: self.environment.get(name.partition(".")[2]) for name in names}

    def resolve(self, modes: list[str]) -> State:
        """No power modes here."""
        return {}

    def write(self, changes: State) -> None:
        """All variables in one transaction of fw_setenv, which takes a name alone as `remove`."""
        lines = [f"{name.partition('.')[2]} {value or ''}".rstrip() for name, value in changes.items()]
        self.shell.run(WRITE, "\n".join(lines) + "\n")

    def reboot(self) -> None:
        """The new environment is read then."""
        self.shell.run(REBOOT)

    def warnings(self, wanted: State) -> list[str]:
        """What will not come of it on this board, known before."""
        script = self.environment.get("adi_loadvals_pluto", "") + self.environment.get("adi_loadvals", "")
        found = []
        two = wanted.get("environment.mode") == "2r2t"
        if two and "${mode}" not in script:
            found.append("its boot script knows no mode (older than v0.32): write the maker's boot.frm first")
        ad9361 = wanted.get("environment.attr_val") == "ad9361"
        if ad9361 and "ad9361" in script and self.facts.get("model") != REV_C:
            found.append(
                f"its boot script sets ad9361 back to ad9363a on everything but {REV_C}: 70 MHz to 6 GHz needs ad9364"
            )
        return found

    def effects(self, wanted: State) -> list[str]:
        """What is written, but not in force: before the next boot, or because the boot script did not take it."""
        found = []
        mode, two = wanted.get("environment.mode"), "two" in self.facts
        if mode and (mode == "2r2t") != two:
            found.append(f"mode = {mode}, but its device tree has {'two channels' if two else 'one channel'}")
        chip = (self.facts.get("chip", "").split() or [""])[0].removeprefix("adi,")
        if "environment.attr_val" in wanted and chip != (wanted["environment.attr_val"] or "ad9363a"):
            found.append(
                f"attr_val = {wanted['environment.attr_val'] or '(none)'}, but its device tree has {chip or 'none'}"
            )
        if wanted.get("environment.maxcpus", "1") != "1" and self.facts.get("cores") == "1":
            found.append(f"maxcpus = {wanted['environment.maxcpus'] or '(none)'}, but one core runs")
        return found
