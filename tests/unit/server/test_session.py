"""What the server keeps of a run, and what it refuses to write."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from server.decoder import ReceivedPicture
from server.node import samples_to_carry
from server.session import Session
from testbed.codec.base import CodecIdentity
from testbed.config import ServerConfig, ServerPart
from testbed.control.messages import Result, ResultFile
from testbed.phy.frame import build_frame
from testbed.phy.header import Header
from testbed.phy.waveform import Waveform
from testbed.radio.base import RadioEvent, RxBlock
from testbed.record.folder import EVENTS, RunFolder


class NoCodec:
    """A codec that nothing is decoded with."""

    identity, kind, provider, sides = CodecIdentity("none", 0, 0), "picture", "cpu", range(16, 65_536)

    def symbol_count(self, height: int, width: int) -> int:
        return height * width // 2

    def encode(self, picture: np.ndarray) -> np.ndarray:
        raise AssertionError

    def decode(self, symbols: np.ndarray, no_eff: np.ndarray, height: int, width: int) -> np.ndarray:
        raise AssertionError


@pytest.fixture
def session(tmp_path: Path) -> Session:
    (tmp_path / "run").mkdir()
    config = ServerConfig(
        seed=1,
        control="tcp://127.0.0.1:1",
        waveform=Waveform(),
        server=ServerPart(),
        radio="",
        codec="none",
        expects=["edge-1"],
        users={"edge-1": 0},
    )
    folder = RunFolder(tmp_path / "run")
    return Session(config, folder, NoCodec(), lambda event: folder.append_line(EVENTS, event))


def summary(session: Session) -> dict:
    return json.loads((session.folder.path / "received" / "server.json").read_text())


@pytest.mark.parametrize(
    "name",
    [
        "../escaped.png",
        "sent/edge-1/../../../escaped.png",
        "/tmp/escaped.png",
        "scenario.toml",
        "result.json",
        "sent/edge-2/000.png",
        "received/edge-1-000.png",
        "sent/edge-1/000.png.tmp",
        "sent/edge-1/",
        "",
    ],
)
def test_a_node_writes_only_where_its_files_belong(session: Session, tmp_path: Path, name: str):
    """Its values and its proper files are kept; the other one is counted and leaves no trace."""
    session.take_file(ResultFile(node="edge-1", name=name, data=b"bad"))
    session.take_file(ResultFile(node="edge-1", name="sent/edge-1/001.png", data=b"good"))
    session.take_result(Result(node="edge-1", values={"user": 0}, files=2))
    assert session.files_refused == 1
    assert session.results == {"edge-1": {"user": 0}}
    files = [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()]
    assert files == ["run/sent/edge-1/001.png"]


def test_pictures_bear_the_name_of_the_edge_and_strangers_their_number(session: Session):
    header = Header(user=0, frame=0, picture=3, part=0, codec=0, codec_hash=0, height=4, width=4, k=8, scale=1.0)
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    for user in (0, 1):
        session.keep(ReceivedPicture(user, 3, pixels, header, 0.25, 0.01))
    for name in ("received/edge-1-003.png", "received/user-1-003.png"):
        assert np.array_equal(session.folder.read_png(name), pixels)
    assert [line["lost_share"] for line in session.folder.read_lines(EVENTS)] == [0.25, 0.25]


def test_silence_is_received_as_nothing_and_its_events_are_kept(session: Session):
    event = RadioEvent("overflow", 10, 5, "x")
    session.take(RxBlock(np.zeros((2, 30_000), np.complex64), 0, (event,)))
    session.finish()
    session.write_summary(complete=True)
    summed_up = summary(session)
    assert (summed_up["samples"], summed_up["frames"], summed_up["complete"]) == (30_000, 0, True)
    assert summed_up["events"] == [{"kind": "overflow", "sample": 10, "count": 5}]
    assert session.folder.read_npz("received/iq.npz")["samples"].shape == (2, 30_000)


def test_the_air_carries_the_longest_plan_and_two_frames_more():
    waveform = Waveform()
    assert samples_to_carry(waveform, [1000, 5000, 0]) == 5000 + 2 * waveform.frame_samples


def test_reception_does_not_wait_for_the_decoder(tmp_path: Path):
    """The first picture's decoder stands still: the server receives all frames of the stream, and decodes the
    pictures when it may."""
    waveform, go = Waveform(), threading.Event()

    class Slow(NoCodec):
        def symbol_count(self, height: int, width: int) -> int:
            return waveform.data_elements

        def decode(self, symbols: np.ndarray, no_eff: np.ndarray, height: int, width: int) -> np.ndarray:
            assert go.wait(20.0)
            return np.zeros((height, width, 3), np.uint8)

    (tmp_path / "run").mkdir()
    config = ServerConfig(
        seed=1,
        control="tcp://127.0.0.1:1",
        waveform=waveform,
        server=ServerPart(antennas=1),
        radio="",
        codec="none",
        expects=[],
    )
    session = Session(config, RunFolder(tmp_path / "run"), Slow(), lambda event: None)
    rng, stream = np.random.default_rng(1), [np.zeros(2000, np.complex64)]
    for number in range(4):
        header = Header(
            user=0, frame=number, picture=number, part=0, codec=0, codec_hash=0, height=4, width=4, k=5616, scale=1.0
        )
        data = (rng.standard_normal((waveform.data_elements, 2)) @ [1, 1j]).astype(np.complex64) / np.sqrt(2)
        stream += [build_frame(header, data, waveform)[0], np.zeros(waveform.gap_samples, np.complex64)]
    samples = np.concatenate([*stream, np.zeros(20_000, np.complex64)])[None]
    noise = 1e-3 * (rng.standard_normal((*samples.shape, 2)) @ [1, 1j])
    session.take(RxBlock((samples + noise).astype(np.complex64), 0, ()))
    assert session.samples == samples.shape[1]
    assert session.pictures == []
    go.set()
    session.finish()
    assert sorted(p["picture"] for p in session.pictures) == [0, 1, 2, 3]
    assert len(session.folder.names("received", "frame-*.npz")) == session.frames == 4
