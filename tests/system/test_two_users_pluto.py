"""Whole runs over virtual Plutos: unmodified pyadi-iio and libiio between the nodes and the same air."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from calibration.record import Conditions, Quantity, Record, utc
from calibration.store import save
from testbed.air.iiod.device import VirtualPluto
from testbed.record.folder import RunFolder
from testbed.record.schema import Result, read_result
from tests.addresses import own_address
from tests.replays import replayed

pytestmark = [pytest.mark.needs("pluto", "libiio"), pytest.mark.timeout(240)]
LIMIT_S = 110
BAR_DB = 0.5  # the issue's
SMALL = ("--set", "max_pixels=12000")


def semtb(folder: Path, scenario: str, *arguments: str) -> tuple[Result, str]:
    """`semtb run` to its end."""
    command = [sys.executable, "-m", "testbed.cli.main", "run", scenario, "--out", str(folder), *SMALL, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stderr.strip() == ""
    return read_result(RunFolder(folder)), done.stdout


def logs(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted((folder / "logs").iterdir()))


def test_two_users_over_plutos_are_within_half_a_db_of_zeromq(photographs: Path, tmp_path: Path):
    """One channel seed, three Plutos, the server's with two antennas: PSNR and SINR of each user within 0.5 dB.

    The air is the same realisation and sample 0 is common, so what differs is the rounding of 12-bit converters. What
    the Pluto received is recorded, with what it is, and replayed to the byte.
    """
    common = ("--images", str(photographs), "--seed", "5")
    sockets, _ = semtb(tmp_path / "zmq", "two-users", *common)
    server, first, second = (own_address() for _ in range(3))
    radios = (f"server=pluto:ip:{server}", f"edge-1=pluto:ip:{first}", f"edge-2=pluto:ip:{second}")
    plutos, output = semtb(
        tmp_path / "pluto", "two-users", *common, *(x for r in radios for x in ("--radio", r)), "--record"
    )
    assert f"air presents virtual Plutos at {first}, {second}, {server}" in output
    assert "ERROR" not in logs(tmp_path / "pluto")
    assert "could not mute" not in logs(tmp_path / "pluto")
    status, words = replayed(tmp_path / "pluto", tmp_path / "replay")
    assert (status, "byte for byte" in words) == (0, True), words
    tree = RunFolder(tmp_path / "pluto").read_json("recording/rx-1.sigmf-meta")
    assert "PlutoSDR" in tree["global"]["core:hw"]
    assert [(c["core:frequency"], c["semtb:rx_gain_db"]) for c in tree["captures"]] == [(2.4e9, 30.0)]
    assert [mark["core:label"][:5] for mark in tree["annotations"]] == ["frame"] * plutos.metrics.users[0].frames_sent
    assert plutos.metrics.air is not None
    assert sockets.metrics.air is not None
    assert plutos.metrics.air.common_cfo_hz == sockets.metrics.air.common_cfo_hz
    assert plutos.metrics.air.common_cfo_hz_estimated == pytest.approx(
        sockets.metrics.air.common_cfo_hz_estimated, abs=5
    )
    for one, other in zip(sockets.metrics.users, plutos.metrics.users, strict=True):
        assert other.frames_detected == other.frames_sent == one.frames_sent > 0
        assert other.psnr_db == pytest.approx(one.psnr_db, abs=BAR_DB)
        assert other.sinr_db_true == pytest.approx(one.sinr_db_true, abs=BAR_DB)
        assert other.single_user_psnr_db == one.single_user_psnr_db  # the same air, known exactly in both


def keep_record(folder: Path, address: str) -> str:
    """What a calibration would have found out of a receiver's DC; the name by which a run names it."""
    record = Record(
        procedure="receive-iq",
        serial=re.findall(r'name="hw_serial" value="(\w+)"', VirtualPluto(address, 1).xml())[0],
        date=utc(datetime.now(timezone.utc)),
        conditions=Conditions(1.92e6, 2.4e9),
        quantities=[Quantity("receive_dc", 2e-3, 1e-4, "full scale", at=0.0)],
        absolute=True,
        reference="full scale",
    )
    save(record, folder)
    return record.name


@pytest.mark.parametrize("scenario, nodes", [("one-pluto", (0, 0)), ("two-plutos", (0, 1))])
def test_runs_for_owners_of_plutos_go_over_virtual_ones(
    scenario: str, nodes: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Every frame found, and the pictures near what the same channel allows; what is known of the server's Pluto is
    used, and named in result and page; what a Pluto rounded is said."""
    where = [own_address(), own_address()]
    server, edge = where[nodes[0]], where[nodes[1]]
    monkeypatch.setenv("SEMTB_CALIBRATION", str(tmp_path / "calibration"))
    name = keep_record(tmp_path / "calibration", server)
    result, _ = semtb(
        tmp_path / "run",
        scenario,
        *("--radio", f"server=pluto:ip:{server}", "--radio", f"edge-1=pluto:ip:{edge},tx_gain_db=-10.1"),
    )
    (user,) = result.metrics.users
    assert user.frames_detected == user.frames_sent > 0
    assert user.psnr_db > user.single_user_psnr_db - 1.0
    assert result.calibrations == {"server": [name]}
    assert result.adjusted == {"edge-1": ["tx1 gain: wanted -10.1, the Pluto has -10"]}
    assert name in (tmp_path / "run" / "report.html").read_text()


def test_a_radio_that_cannot_be_is_refused_before_anything_starts(tmp_path: Path):
    """A node that is not there, some radios and not all, a value that no Pluto takes: status 2 and one line at once."""
    command = [sys.executable, "-m", "testbed.cli.main", "run", "two-users", "--out", str(tmp_path / "run")]
    for radio, output in (
        ("edge-9=pluto:ip:127.0.0.2", "nodes with a radio here: edge-1, edge-2, server"),
        ("edge-1=pluto:ip:127.0.0.2", "have radios of their own"),
        ("edge-1=pluto:ip:127.0.0.2,tx_gain_db=nan", "tx_gain_db = nan: allowed: -89.75..0"),
    ):
        done = subprocess.run(
            [*command, "--radio", radio], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert done.returncode == 2
        assert output in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not (tmp_path / "run").exists()
