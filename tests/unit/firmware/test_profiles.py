"""Every file of `firmware_configs/`, and what profiles may not say."""

from __future__ import annotations

import ipaddress
import re
import subprocess
from pathlib import Path

import pytest

from testbed.errors import FirmwareError
from testbed.firmware.data import data_folder
from testbed.firmware.profiles import load_profile, open_profiles, profile_files

FILES = profile_files()
ROOT = Path(__file__).parents[3]


def test_nothing_lies_there_that_no_test_looks_at():
    """Each file is a profile, named by one, a filter, or the unit of `semtb deploy`."""
    named = {source for path in FILES.values() for source in load_profile(path).files.values()}
    known = {str(path.relative_to(data_folder())) for path in FILES.values()} | named
    known |= {"systemd/semtb-edge.service", "pluto/fir/filters.toml", "pluto/fir/ota.ftr", "pluto/fir/wide.ftr"}
    there = {str(path.relative_to(data_folder())) for path in data_folder().rglob("*") if path.is_file()}
    assert there == known


@pytest.mark.parametrize("name", FILES)
def test_a_profile_that_ships_is_valid(name: str):
    profile = load_profile(FILES[name])
    assert profile.kind == ("pluto" if FILES[name].parent.name == "pluto" else "linux")
    assert profile.wanted
    assert profile.purpose


def test_units_on_one_host_share_neither_address_nor_network():
    """As the maker's manual asks for several on one host; the first has the address that a Pluto is sold with."""
    units = [load_profile(FILES[name]).environment for name in sorted(FILES) if name.startswith("unit-")]
    assert len(units) == 4
    assert units[0]["ipaddr"] == "192.168.2.1"
    networks = {ipaddress.IPv4Interface(f"{unit['ipaddr']}/{unit['netmask']}").network for unit in units}
    assert len(networks) == len({unit["hostname"] for unit in units}) == 4


def test_two_channels_are_asked_for_as_the_boot_script_wants_them():
    """All four variables: attr_name without attr_val does nothing, and v0.32 reads compatible, too."""
    wanted = {"attr_name": "compatible", "attr_val": "ad9361", "compatible": "ad9361", "mode": "2r2t"}
    assert load_profile(FILES["2r2t"]).environment == wanted
    cleared = {"attr_name": "", "attr_val": "", "compatible": "", "mode": "1r1t"}
    assert load_profile(FILES["1r1t"]).environment == cleared


ADDRESSES = 'ipaddr = "10.0.2.1"\nipaddr_host = "10.0.3.1"\nnetmask = "255.255.255.0"'
WRONG = {
    'kind = "toaster"\npurpose = ""': "kind",
    'kind = "pluto"\npurpose = ""\nmode = "2r2t"': "mode",
    'kind = "pluto"\npurpose = ""\n[environment]\nbootcmd = "run evil"': "environment = bootcmd",
    'kind = "pluto"\npurpose = ""\n[environment]\nmode = "2R2T"': "environment.mode = 2R2T",
    'kind = "pluto"\npurpose = ""\n[environment]\nusb_ethernet_mode = ""': "usb_ethernet_mode",
    'kind = "pluto"\npurpose = ""\n[environment]\nhostname = "a\\nbootcmd x"': "hostname",
    'kind = "pluto"\npurpose = ""\n[environment]\nattr_val = "ad9364"\nmode = "2r2t"': "1r1t with an AD9364",
    'kind = "pluto"\npurpose = ""\n[environment]\nipaddr = "192.168.2.1"': "belong together",
    f'kind = "pluto"\npurpose = ""\n[environment]\n{ADDRESSES}': "another address of 10.0.2.0/24",
    'kind = "linux"\npurpose = ""\n[environment]\nmode = "2r2t"': "kind = linux",
    'kind = "pluto"\npurpose = ""\n[services]\n"x.service" = true': "kind = pluto",
    'kind = "linux"\npurpose = ""\n[files]\n"/etc/passwd" = "host/semtb-usb.conf"': "files = /etc/passwd",
    'kind = "linux"\npurpose = ""\n[files]\n"/etc/udev/rules.d/../../x.rules" = "host/semtb-usb.conf"': "files = ",
    'kind = "linux"\npurpose = ""\n[files]\n"/etc/udev/rules.d/x.rules" = "host/none"': "No such file",
    'kind = "linux"\npurpose = ""\n[services]\n"x;reboot" = true': "services",
    "kind = [": "profile.toml",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_profile_is_one_line_that_says_what(text: str, tmp_path: Path):
    path = tmp_path / "profile.toml"
    path.write_text(text)
    with pytest.raises(FirmwareError) as refused:
        open_profiles([str(path)])
    assert WRONG[text] in str(refused.value)
    assert str(path) in str(refused.value)


def test_profiles_that_contradict_each_other_are_refused():
    with pytest.raises(FirmwareError, match=r"1r1t: environment\.\w+ = '', and a profile before it has"):
        open_profiles(["2r2t", "1r1t"])
    with pytest.raises(FirmwareError, match="a Pluto and a Linux machine"):
        open_profiles(["1r1t", "host"])
    with pytest.raises(FirmwareError, match="names: 1r1t, 2r2t"):
        open_profiles(["3r3t"])
    both = open_profiles(["2r2t", "unit-3"]).wanted
    assert both["environment.mode"] == "2r2t"
    assert both["environment.ipaddr"] == "192.168.4.1"


RULE = re.compile(r'[A-Z]+(\{[\w/]+\})?(==|!=|\+=|=)"[^"]*"')


def test_the_udev_rules_are_of_udev_and_name_both_of_a_plutos_identities():
    """Each term is a key, an operator and a quoted value; what is matched is Analog Devices' b673 and b674."""
    rules = [line for line in (data_folder() / "host/60-semtb-pluto.rules").read_text().splitlines() if line[0] != "#"]
    for rule in rules:
        assert all(RULE.fullmatch(term) for term in rule.split(", ")), rule
        assert 'ATTR{idVendor}=="0456"' in rule
    assert [re.findall(r'idProduct\}=="(\w+)"', rule) for rule in rules] == [["b673"], ["b674"]]


@pytest.mark.needs("systemd")
def test_systemd_takes_the_service_and_the_temporary_files(tmp_path: Path):
    """systemd-analyze has nothing to say of the unit, with a program in it that is here; tmpfiles takes its line."""
    unit = tmp_path / "semtb-jetson-clocks.service"
    text = (data_folder() / "systemd" / unit.name).read_text()
    unit.write_text(text.replace("/usr/bin/jetson_clocks", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=50)
    assert str(unit) not in done.stderr
    assert done.returncode == 0, done.stderr
    command = ["systemd-tmpfiles", "--create", f"--root={tmp_path}", str(data_folder() / "host/semtb-usb.conf")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert "semtb-usb.conf" not in done.stderr, done.stderr
