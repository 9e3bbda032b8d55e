"""What stands for a Pluto or a Jetson behind a real sshd: files in a folder, and programs that keep them as its own do.

`fw_printenv` and `fw_setenv` keep u-boot's format (CRC-32, `name=value` with NUL between, padded), `reboot` does what
the boot script of a Pluto does with it; `nvpmodel`, `systemctl` and the rest keep what they are told. The shell, cat,
sed and what else is used there are this machine's.
"""

from __future__ import annotations

import os
import shutil
import sys
import zlib
from pathlib import Path

REV_C = "Analog Devices PlutoSDR Rev.C (Z7010/AD9363)"
REV_B = "Analog Devices PlutoSDR Rev.B (Z7010/AD9363)"
SIZE = 0x20000  # of /dev/mtd1
SOLD = {
    "bootcmd": "run $modeboot",
    "qspiboot": "run adi_loadvals; bootm",
    "adi_loadvals": "run adi_loadvals_pluto",
    "adi_loadvals_pluto": 'if test "${attr_val}" = "ad9361" ...; if test "${mode}" = "1r1t" ...',
    "mode": "1r1t",
    "maxcpus": "1",
    "hostname": "pluto",
}
PROGRAMS = ("sh", "cat", "tr", "sed", "grep", "mktemp", "rm", "mkdir", "mv", "chmod", "id", "base64", "sleep", "head")
# As sshd starts it: the device's own folders in place of this machine's, and nothing else on PATH.
COMMAND = """#!/bin/sh
export PATH={far}/bin FAR={far}
script=$(printf '%s' "$SSH_ORIGINAL_COMMAND" | {sed} 's#/sys/firmware#{far}/sys/firmware#g; s#/etc/#{far}/etc/#g;
    s#/opt/#{far}/opt/#g; s#/proc/cpuinfo#{far}/proc/cpuinfo#g; s#:/usr/local/sbin:/usr/sbin:/sbin##')
exec sh -c "$script"
"""
STAND_IN = """#!{python} -IS
import sys
sys.path.insert(0, {here!r})
import far_side
sys.exit(far_side.{name}(sys.argv[1:]))
"""


def read_environment(far: Path) -> dict[str, str] | None:
    """As `fw_printenv` reads the flash; None where its check fails."""
    flash = (far / "mtd1").read_bytes()
    if zlib.crc32(flash[4:]) != int.from_bytes(flash[:4], "little"):
        return None
    rows = flash[4:].partition(b"\0\0")[0].split(b"\0")
    return dict(row.decode().partition("=")[::2] for row in rows if row)


def write_environment(far: Path, values: dict[str, str]) -> None:
    """As `fw_setenv` writes it."""
    data = b"".join(f"{name}={value}".encode() + b"\0" for name, value in values.items()) + b"\0"
    data = data.ljust(SIZE - 4, b"\xff")
    (far / "mtd1").write_bytes(zlib.crc32(data).to_bytes(4, "little") + data)


def make_pluto(far: Path, model: str = REV_C) -> None:
    """As it is sold, on firmware v0.38."""
    shutil.rmtree(far, ignore_errors=True)
    for folder in ("bin", "etc", "opt", "proc", "sys/firmware/devicetree/base/axi/spi@e0006000/ad9361-phy@0"):
        (far / folder).mkdir(parents=True)
    (far / "sys/firmware/devicetree/base/model").write_bytes(model.encode() + b"\0")
    (far / "etc/serial").write_text("104473b04a060006ffff2600e9f3a35f12\n")
    (far / "opt/VERSIONS").write_text("device-fw v0.38\nhdl 1234\n")
    write_environment(far, SOLD)
    stand_in(far, "fw_printenv", "fw_setenv", "reboot")
    boot(far)


def boot(far: Path) -> None:
    """What adi_loadvals_pluto of v0.38 makes of the environment: the device tree, and values that it puts back."""
    values = read_environment(far)
    assert values is not None
    tree = far / "sys/firmware/devicetree/base"
    rev_c = (tree / "model").read_bytes() == REV_C.encode() + b"\0"
    if values.get("attr_val") == "ad9361" and not rev_c:
        values["attr_val"] = "ad9363a"
    chip = tree / "axi/spi@e0006000/ad9361-phy@0"
    named = values.get("attr_name") and values.get("attr_val")
    (chip / "compatible").write_bytes((values["attr_val"] if named else "adi,ad9363a").encode() + b"\0")
    two = chip / "adi,2rx-2tx-mode-enable"
    two.unlink(missing_ok=True)
    if rev_c and values.get("mode") == "2r2t":
        two.touch()
    cores = 1 if values.get("maxcpus") == "1" else 2
    (far / "proc/cpuinfo").write_text("".join(f"processor\t: {n}\n" for n in range(cores)))
    write_environment(far, values)


def make_jetson(far: Path) -> None:
    """An Orin Nano's modes; nothing of ours on it."""
    shutil.rmtree(far, ignore_errors=True)
    for folder in ("bin", "etc/systemd/system", "sys/firmware/devicetree/base", "services"):
        (far / folder).mkdir(parents=True)
    (far / "sys/firmware/devicetree/base/model").write_bytes(b"NVIDIA Jetson Orin Nano Developer Kit\0")
    (far / "sys/firmware/devicetree/base/serial-number").write_bytes(b"1421323001234\0")
    modes = ("15W", "25W", "MAXN_SUPER")
    conf = "".join(f"< POWER_MODEL ID={n} NAME={mode} >\nCPU_ONLINE CORE_0 1\n" for n, mode in enumerate(modes))
    (far / "etc/nvpmodel.conf").write_text(conf + "< PM_CONFIG DEFAULT=0 >\n")
    (far / "mode").write_text("0")
    stand_in(far, "nvpmodel", "systemctl", "systemd-tmpfiles", "udevadm", "sudo", "reboot")


def stand_in(far: Path, *names: str) -> None:
    """Put the named programs and those of this machine that a device has, too, on the far side's PATH."""
    for program in PROGRAMS:
        (far / "bin" / program).symlink_to(shutil.which(program) or program)
    for name in names:
        file = far / "bin" / name
        file.write_text(
            STAND_IN.format(python=sys.executable, here=str(Path(__file__).parent), name=name.replace("-", "_"))
        )
        file.chmod(0o755)


def forced_command(far: Path) -> str:
    """For sshd_config: every login is one to the device."""
    script = far.parent / "device.sh"
    script.write_text(COMMAND.format(far=far, sed=shutil.which("sed")))
    script.chmod(0o755)
    return f"ForceCommand {script}\n"


def here() -> Path:
    """The device's folder, in a program that stands in."""
    return Path(os.environ["FAR"])


def failing(what: str) -> bool:
    """Whether a test wants this program to fail."""
    return (here() / f"fail-{what}").exists()


def fw_printenv(_: list[str]) -> int:
    """All of it; without one that can be read, what is compiled in."""
    values = read_environment(here())
    if values is None:
        print("Warning: Bad CRC, using default environment", file=sys.stderr)
        values = {"bootcmd": "bootp; setenv bootargs"}
    print("\n".join(f"{name}={value}" for name, value in values.items()))
    return 0


def fw_setenv(arguments: list[str]) -> int:
    """``-s FILE``: a name and a value on each line, a name alone takes it out; all of them in one write."""
    flag, file = arguments
    assert flag == "-s"
    if failing("fw_setenv"):
        print("Can't open /dev/mtd1: Read-only file system", file=sys.stderr)
        return 1
    values = read_environment(here()) or {}
    for line in Path(file).read_text().splitlines():
        name, _, value = line.partition(" ")
        values.pop(name, None)
        if value:
            values[name] = value
    if not failing("flash"):
        write_environment(here(), values)
    return 0


def reboot(_: list[str]) -> int:
    """Done at once."""
    if (here() / "mtd1").exists():
        boot(here())
    (here() / "rebooted").touch()
    return 0


def nvpmodel(arguments: list[str]) -> int:
    """``-q`` and ``-m ID``."""
    modes = [line.split("NAME=")[1].split()[0] for line in (here() / "etc/nvpmodel.conf").open() if "NAME=" in line]
    if arguments[0] == "-m":
        (here() / "mode").write_text(str(int(arguments[1])))
    number = int((here() / "mode").read_text())
    print(f"NV Power Mode: {modes[number]}\n{number}")
    return 0


def systemctl(arguments: list[str]) -> int:
    """A service is a file of that name where it is enabled and runs."""
    words = [word for word in arguments if not word.startswith("-")]
    if words[0] == "daemon-reload":
        return 0
    known = here() / "etc/systemd/system" / words[1]
    runs = here() / "services" / words[1]
    if words[0] == "enable":
        if failing("systemctl") or not known.exists():
            print(f"Failed to enable unit: {words[1]}", file=sys.stderr)
            return 1
        runs.touch()
    elif words[0] == "disable":
        runs.unlink()
    return 0 if words[0] in ("enable", "disable") or runs.exists() else 1


def udevadm(_: list[str]) -> int:
    """Has nothing to read here."""
    return 0


def systemd_tmpfiles(arguments: list[str]) -> int:
    """What it is to read is there."""
    return 0 if Path(arguments[-1]).is_file() else 1


def sudo(arguments: list[str]) -> int:
    """Where the tests do not run as root."""
    words = [word for word in arguments if word != "-n"]
    os.execvp(words[0], words)
