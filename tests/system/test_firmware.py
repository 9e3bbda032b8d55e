"""`semtb firmware` over a real sshd, with a device behind it that stands in for a Pluto and for a Jetson."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from testbed.cli import probes
from testbed.cli.main import app
from testbed.deploy.firmware import shell
from testbed.errors import FirmwareError
from testbed.firmware.data import data_folder
from tests.sshd import SshServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.needs("sshd"), pytest.mark.timeout(120)]
SPEC = importlib.util.spec_from_file_location("far_side", Path(__file__).parent / "far_side.py")
assert SPEC and SPEC.loader
far_side: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(far_side)
CHANGED = {"attr_name": "compatible", "attr_val": "ad9361", "compatible": "ad9361", "mode": "2r2t"}


class Device(SshServer):
    """A login at this server is one at the device whose folder is ``far``."""

    def __init__(self, folder: Path, sshd: str) -> None:
        self.far = folder / "far"
        super().__init__(folder, sshd, far_side.forced_command(self.far))
        secret = ["ssh-keygen", "-q", "-t", "ed25519", "-N", shell.STOCK_PASSWORD, "-f", str(folder / "locked")]
        subprocess.run(secret, check=True)
        with (folder / "authorized_keys").open("a") as keys:
            keys.write((folder / "locked.pub").read_text())

    @property
    def environment(self) -> dict[str, str]:
        values = far_side.read_environment(self.far)
        assert values is not None
        return values

    def files(self) -> dict[str, bytes]:
        """All that a board keeps."""
        kept = [path for path in self.far.rglob("*") if path.is_file() and path.parent.name != "bin"]
        return {str(path.relative_to(self.far)): path.read_bytes() for path in kept}

    def semtb(self, command: str, *arguments: str, answer: str = "", options: list[str] | None = None) -> Any:
        """`semtb firmware COMMAND HOST …`, in this process."""
        reach = [word for one in options or self.ssh_options() for word in ("--ssh-option", one)]
        words = ["firmware", command, f"{self.host}:{self.port}", *arguments, *reach]
        if command in ("apply", "restore"):
            words += ["--backups", str(self.folder / "backups")]
        return CliRunner().invoke(app, words, input=answer)

    def backups(self) -> list[Path]:
        return sorted((self.folder / "backups").glob("*/*.json"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    made = Device(tmp_path_factory.mktemp("device"), probes.ssh_server())
    yield made
    made.stop()


@pytest.fixture
def pluto(server: Device) -> Device:
    far_side.make_pluto(server.far)
    subprocess.run(["rm", "-rf", str(server.folder / "backups")], check=True)
    return server


@pytest.fixture
def jetson(server: Device) -> Device:
    far_side.make_jetson(server.far)
    subprocess.run(["rm", "-rf", str(server.folder / "backups")], check=True)
    return server


def refused(result: Any) -> str:
    assert isinstance(result.exception, FirmwareError), (result.output, result.exception)
    return str(result.exception)


def test_show_and_diff_tell_and_change_nothing(pluto: Device):
    """What it is and has; then what a profile would change, with status 1."""
    before = pluto.files()
    done = pluto.semtb("show")
    assert done.exit_code == 0, done.exception
    assert far_side.REV_C in done.output
    assert "1R1T, 1 cores, v0.38, serial 104473b04a060006ffff2600e9f3a35f12" in done.output
    done = pluto.semtb("diff", "2r2t")
    assert done.exit_code == 1
    for name, value in CHANGED.items():
        assert f"environment.{name}" in done.output
        assert value in done.output
    assert pluto.semtb("diff", "1r1t").exit_code == 0
    assert pluto.files() == before
    assert not pluto.backups()


def test_a_profile_is_asked_for_applied_in_force_after_a_reboot_and_taken_back(pluto: Device):
    """No: nothing. Yes: exactly the profile's variables; verify sees that the device tree is still the old one, then
    the new one; restore gives back the very environment that was there."""
    before, sold = pluto.files(), pluto.environment
    done = pluto.semtb("apply", "2r2t", "unit-3", answer="n\n")
    assert done.exit_code == 1
    assert pluto.files() == before
    assert not pluto.backups()
    done = pluto.semtb("apply", "2r2t", "unit-3", answer="y\n")
    assert done.exit_code == 0, done.exception
    unit = {"hostname": "pluto-3", "ipaddr": "192.168.4.1", "ipaddr_host": "192.168.4.10", "netmask": "255.255.255.0"}
    assert pluto.environment == sold | CHANGED | unit
    assert "mode = 2r2t, but its device tree has one channel" in refused(pluto.semtb("verify", "2r2t", "unit-3"))
    far_side.boot(pluto.far)
    done = pluto.semtb("verify", "2r2t", "unit-3")
    assert done.exit_code == 0, done.exception
    assert "written and in force (8 settings)" in done.output
    (kept,) = pluto.backups()
    assert json.loads(kept.read_bytes())["before"]["environment.mode"] == "1r1t"
    assert "nothing to change" in pluto.semtb("apply", "2r2t").output
    assert pluto.backups() == [kept]
    done = pluto.semtb("restore", "--yes")
    assert done.exit_code == 0, done.exception
    assert pluto.environment == sold
    assert not pluto.backups()
    assert "nothing to take back" in refused(pluto.semtb("restore", "--yes"))


def test_restore_goes_back_one_application_each_time(pluto: Device):
    sold = pluto.environment
    assert pluto.semtb("apply", "full-range", "--yes").exit_code == 0
    between = pluto.environment
    assert pluto.semtb("apply", "2r2t", "usb", "--yes").exit_code == 0
    assert "maxcpus" not in pluto.environment
    assert pluto.semtb("restore", "--yes").exit_code == 0
    assert pluto.environment == between
    assert pluto.semtb("restore", "--yes").exit_code == 0
    assert pluto.environment == sold


def test_reboot_is_the_devices_own(pluto: Device):
    """It is told to, and verify then has nothing against it."""
    assert pluto.semtb("apply", "usb", "--yes", "--reboot").exit_code == 0
    wait_until((pluto.far / "rebooted").exists)
    assert pluto.semtb("verify", "usb").exit_code == 0


def test_what_a_board_will_not_do_is_said_before_and_after(pluto: Device):
    """Rev. B's boot script puts ad9361 back; a boot script from before v0.32 knows no mode."""
    far_side.make_pluto(pluto.far, far_side.REV_B)
    done = pluto.semtb("apply", "2r2t", "--yes")
    assert "note: its boot script sets ad9361 back to ad9363a on everything but" in " ".join(done.output.split())
    far_side.boot(pluto.far)
    assert "environment.attr_val = ad9363a, wanted ad9361" in refused(pluto.semtb("verify", "2r2t"))
    old = {name: value for name, value in far_side.SOLD.items() if "pluto" not in name} | {"adi_loadvals": "fdt set"}
    far_side.make_pluto(pluto.far)
    far_side.write_environment(pluto.far, old)
    assert "knows no mode" in pluto.semtb("diff", "2r2t").output


def test_a_flash_without_an_environment_is_left_alone(pluto: Device):
    """A first write would make one that lacks all that boots the device."""
    (pluto.far / "mtd1").write_bytes(b"\xff" * far_side.SIZE)
    before = pluto.files()
    assert "holds no boot environment" in refused(pluto.semtb("apply", "2r2t", "--yes"))
    assert pluto.files() == before


@pytest.mark.parametrize(
    ("what", "says"),
    [("fw_setenv", "Read-only file system; it is as it was; what it had is in"), ("flash", "written, but read back")],
)
def test_a_device_that_does_not_take_it_is_found_out(pluto: Device, what: str, says: str):
    (pluto.far / f"fail-{what}").touch()
    before = pluto.environment
    assert says in refused(pluto.semtb("apply", "2r2t", "--yes"))
    assert pluto.environment == before
    assert len(pluto.backups()) == 1


def test_a_backup_goes_to_no_other_device(pluto: Device):
    assert pluto.semtb("apply", "2r2t", "--yes").exit_code == 0
    (kept,) = pluto.backups()
    (pluto.far / "etc/serial").write_text("another\n")
    before = pluto.files()
    assert "104473b04a060006ffff2600e9f3a35f12" in refused(pluto.semtb("restore", "--yes", "--backup", str(kept)))
    content = json.loads(kept.read_bytes())
    for name, value in (
        ("environment.bootcmd", "x"),
        ("environment.mode", "1r1t\nbootcmd x"),
        ("file./etc/passwd", ""),
    ):
        kept.write_text(json.dumps(content | {"before": {name: value}, "serial": "another"}))
        assert "no setting that" in refused(pluto.semtb("restore", "--yes", "--backup", str(kept)))
    kept.write_text("{}")
    assert "no backup of" in refused(pluto.semtb("restore", "--yes", "--backup", str(kept)))
    assert pluto.files() == before


def test_what_a_device_says_of_itself_is_neither_path_nor_control_sequence(pluto: Device):
    (pluto.far / "etc/serial").write_text("../../../evil\n")
    (pluto.far / "sys/firmware/devicetree/base/model").write_bytes(b"\x1b[2Jmodel\0")
    done = pluto.semtb("apply", "usb", "--yes")
    assert done.exit_code == 0, done.exception
    assert "\x1b" not in done.output
    assert [path.parent.name for path in pluto.backups()] == ["_________evil"]


def test_a_stock_plutos_password_and_new_host_key_need_one_word(pluto: Device):
    """ssh asks for a passphrase, which is the stock password here, and meets a key that it does not know: both pass
    with --stock and neither without it."""
    options = pluto.ssh_options("locked", "nobody")
    without = refused(pluto.semtb("show", options=options))
    assert "--stock" in without
    assert pluto.semtb("show", "--stock", options=pluto.ssh_options("locked", "nobody")[2:]).exit_code == 0
    assert "ssh-copy-id" in refused(pluto.semtb("show", "--stock", options=pluto.ssh_options("stranger")[2:]))


@pytest.mark.parametrize(
    ("host", "says"),
    [("usb:1.4.5", "over its network"), ("127.0.0.1:1", "cannot be reached"), ("a b", "user@host:port")],
)
def test_a_host_that_cannot_be_is_one_line(host: str, says: str):
    command = [sys.executable, "-m", "testbed.cli.main", "firmware", "show", host]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert says in line


def test_a_jetson_takes_files_power_mode_and_service_and_gives_them_back(jetson: Device):
    """The first mode that the board has; every file of the profile, byte for byte; restored, nothing of it is left."""
    before = jetson.files()
    done = jetson.semtb("apply", "jetson-max", "--yes")
    assert done.exit_code == 0, done.exception
    assert (jetson.far / "mode").read_text() == "2"
    for path, source in (
        ("etc/systemd/system/semtb-jetson-clocks.service", "systemd/semtb-jetson-clocks.service"),
        ("etc/udev/rules.d/60-semtb-pluto.rules", "host/60-semtb-pluto.rules"),
    ):
        assert jetson.files()[path] == (data_folder() / source).read_bytes()
    assert (jetson.far / "services/semtb-jetson-clocks.service").exists()
    assert jetson.semtb("verify", "jetson-max").exit_code == 0
    assert "power_mode = MAXN_SUPER, wanted 15W" in refused(jetson.semtb("verify", "jetson-saving"))
    assert jetson.semtb("apply", "jetson-saving", "--yes").exit_code == 0
    assert not (jetson.far / "services/semtb-jetson-clocks.service").exists()
    assert jetson.semtb("restore", "--yes").exit_code == 0
    assert jetson.semtb("verify", "jetson-max").exit_code == 0
    assert jetson.semtb("restore", "--yes").exit_code == 0
    assert jetson.files() == before


def test_a_step_that_fails_takes_the_steps_before_it_back(jetson: Device):
    """The service does not start: files and power mode, which were changed by then, are what they were."""
    before = jetson.files()
    (jetson.far / "fail-systemctl").touch()
    assert "it is as it was" in refused(jetson.semtb("apply", "jetson-max", "--yes"))
    (jetson.far / "fail-systemctl").unlink()
    assert jetson.files() == before


def test_profiles_of_another_kind_of_device_are_refused(jetson: Device):
    assert "is a Linux machine; the profile is for a Pluto" in refused(jetson.semtb("apply", "2r2t", "--yes"))
    modes = jetson.far / "etc/nvpmodel.conf"
    modes.unlink()
    assert "so it is no Jetson" in refused(jetson.semtb("apply", "jetson-max", "--yes"))
