"""The events of a run: what is written is read and published; a slow watcher harms nobody."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq

from testbed.errors import DataError
from testbed.record import events
from testbed.record.events import (
    AnyEvent,
    Bound,
    Event,
    EventLog,
    EventTail,
    FrameReceived,
    LinkChanged,
    Ordered,
    PictureDecoded,
    Progress,
    RoundDone,
    RunEnded,
    RunOpened,
    Started,
    Subscription,
    UserPart,
    Warned,
    end_events,
    in_words,
    read_events,
    recording,
    watch,
)
from testbed.record.folder import EVENTS, EVENTS_ADDRESS, RunFolder

PART = UserPart(user=0, header=True, picture=1, part=2, cfo_hz=3.5, delay_samples=1.25, mean_no_eff=0.1)
ALL: list[AnyEvent] = [
    RunOpened(run="x", nodes=["edge-1"]),
    Bound(control="tcp://127.0.0.1:1"),
    Started(samples=10),
    Progress(done=1, total=10, unit="samples", counted=0, counted_unit="frames"),
    FrameReceived(
        frame=0,
        first_sample=5,
        timing_samples=1.5,
        cfo_hz=2.0,
        statistic=0.9,
        no=1e-3,
        users=[PART],
        stage_s={"sync": 1.0},
    ),
    PictureDecoded(user=0, picture=1, file="received/edge-1-001.png", lost_share=0.0, codec="c 00", decode_s=0.2),
    RoundDone(round=1, uploads=9, refused={"edge-2": "spent"}),
    LinkChanged(at_sample=14_400, link="edge-1.server", key="path_loss_db", value=80.0),
    Ordered(user=1, sample=9_600, number=3, frames=True, delay_samples=-12.5, trim_hz=4.25),
    Warned(node="server", text="late"),
    RunEnded(complete=True),
]


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what must come; the limit only ends a broken test."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "what must come did not come"
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_every_kind_of_event_is_read_as_it_was_written(folder: RunFolder):
    """All kinds that there are, each on a line of its own with its name and its time."""
    assert {type(event) for event in ALL} == set(Event.__subclasses__())
    log = EventLog(folder)
    for event in ALL:
        log.emit(event)
    log.close()
    assert read_events(folder) == ALL
    lines = [json.loads(line) for line in folder.read_text(EVENTS).splitlines()]
    assert [line["event"] for line in lines] == [
        "opened", "bound", "started", "progress", "frame", "picture", "round", "link", "order", "warning", "ended",
    ]  # fmt: skip
    assert all(abs(line["time_s"] - time.time()) < 3600 for line in lines)
    assert all(in_words(event) and "\n" not in in_words(event) for event in ALL)


def test_what_is_not_finite_is_none_when_it_is_read(folder: RunFolder):
    """Over a port without noise, say: JSON has no infinity."""
    part = msgspec.structs.replace(PART, mean_no_eff=float("inf"), cfo_hz=np.float32(2.0))
    folder.append_line(EVENTS, msgspec.structs.replace(ALL[4], users=[part], no=float("nan")))
    (read,) = read_events(folder)
    assert isinstance(read, FrameReceived)
    assert (read.no, read.users[0].mean_no_eff, read.users[0].cfo_hz) == (None, None, 2.0)


def test_published_is_what_is_written_with_the_number_of_its_line(folder: RunFolder):
    """Also where the file had lines before; after the end the socket and its address are gone."""
    folder.append_line(EVENTS, ALL[0])
    log = EventLog(folder)
    subscription = Subscription(folder.read_text(EVENTS_ADDRESS).strip())
    heard: list[tuple[int, AnyEvent]] = []
    while not heard:  # a subscriber that has just come hears from some event on
        log.emit(ALL[3])
        if (got := subscription.get(0.05)) is not None:
            heard.append(got)
    for event in ALL:
        log.emit(event)
    while heard[-1][1] != ALL[-1]:
        got = subscription.get(20.0)
        assert got is not None
        heard.append(got)
    log.close()
    subscription.close()
    written = read_events(folder)
    assert [written[number] for number, _ in heard] == [event for _, event in heard]
    assert [number for number, _ in heard] == list(range(heard[0][0], len(written)))
    assert not folder.has(EVENTS_ADDRESS)


def test_a_watcher_that_is_slow_loses_the_oldest_and_the_run_does_not_wait(folder: RunFolder):
    """20,000 events, of which nobody takes one: written in full; kept for the watcher are the newest 50, in order."""
    log = EventLog(folder)
    subscription = Subscription(folder.read_text(EVENTS_ADDRESS).strip(), queued=50)

    def number_of_newest() -> int:
        return subscription._waiting[-1][0] if subscription._waiting else -1

    while number_of_newest() < 0:
        log.emit(Started())
        time.sleep(0.01)
    for _ in range(40):
        for _ in range(500):
            log.emit(Started())
        wait_until(lambda: number_of_newest() == log._number - 1)
    log.close()
    kept = [subscription.get(0.0) for _ in range(50)]
    subscription.close()
    assert [item[0] for item in kept if item is not None] == list(range(log._number - 50, log._number))
    assert len(read_events(folder)) == log._number


def test_a_watcher_that_never_reads_holds_nobody_up(folder: RunFolder, monkeypatch: pytest.MonkeyPatch):
    """Its queue in the socket is full; every event is written down, and emit returns."""
    monkeypatch.setattr(events, "QUEUED", 5)
    log = EventLog(folder)
    context = zmq.Context()
    mute = context.socket(zmq.SUB)
    mute.setsockopt(zmq.RCVHWM, 1)
    mute.setsockopt(zmq.RCVBUF, 4096)
    mute.setsockopt(zmq.SUBSCRIBE, b"")
    mute.connect(folder.read_text(EVENTS_ADDRESS).strip())
    time.sleep(0.2)
    for _ in range(300):
        log.emit(Warned(node="x", text="y" * 10_000))
    log.close()
    context.destroy(linger=0)
    assert len(read_events(folder)) == 300


def test_watching_gives_each_event_once_from_the_first_to_the_last(folder: RunFolder):
    """Begun in the middle of a run; several threads emit."""
    log = EventLog(folder)
    for _ in range(3):
        log.emit(Started())
    seen: list[AnyEvent] = []
    watcher = threading.Thread(target=lambda: seen.extend(watch(folder, lambda: False)), daemon=True)
    watcher.start()

    def talk(user: int) -> None:
        for k in range(200):
            log.emit(PictureDecoded(user=user, picture=k, file="", lost_share=0.0, codec=""))

    threads = [threading.Thread(target=talk, args=(user,)) for user in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.emit(RunEnded(complete=True))
    watcher.join(20)
    log.close()
    assert seen == read_events(folder)
    assert len(seen) == 604


def test_a_run_that_has_ended_is_watched_from_its_file_and_watching_can_be_stopped(folder: RunFolder):
    for event in ALL:
        folder.append_line(EVENTS, event)
    assert list(watch(folder, lambda: False)) == ALL
    folder.write_bytes(EVENTS, b"")
    assert list(watch(folder, lambda: True)) == []


def test_the_tail_waits_for_the_rest_of_a_line(folder: RunFolder):
    tail = EventTail(folder)
    assert tail.new() == []
    line = events.encode(ALL[0]) + b"\n"
    for cut in (5, len(line) - 1):
        folder.write_bytes(EVENTS, line + line[:cut])
        tail = EventTail(folder)
        assert tail.new() == [ALL[0]]
        assert tail.new() == []
        folder.write_bytes(EVENTS, line + line)
        assert tail.new() == [ALL[0]]


def test_later_kinds_are_passed_over_and_what_is_no_event_is_named(folder: RunFolder):
    folder.write_text(EVENTS, '{"event":"launched","at":1}\n{"event":"started","samples":3,"colour":1}\n')
    (read,) = read_events(folder)
    assert isinstance(read, Started) and read.samples == 3
    for line in ('{"event":"started","samples":"x"}', "[]", "x", '{"event":3}'):
        folder.write_text(EVENTS, line + "\n")
        with pytest.raises(DataError, match=r"events\.jsonl: not an event"):
            read_events(folder)


def test_a_run_is_opened_and_ended_however_it_goes_and_its_warnings_are_told(folder: RunFolder):
    with pytest.raises(RuntimeError), recording(folder, "server", ["edge-1"]):
        logging.getLogger("server.x").warning("%d samples late", 3)
        logging.getLogger("server.x").info("not this")
        raise RuntimeError("the radio fell over")
    opened, warned, ended = read_events(folder)
    assert isinstance(opened, RunOpened) and opened.nodes == ["edge-1"]
    assert isinstance(warned, Warned) and (warned.node, warned.text) == ("server", "3 samples late")
    assert isinstance(ended, RunEnded) and (ended.complete, ended.reason) == (False, "the radio fell over")
    logging.getLogger("server.x").warning("after the end")
    end_events(folder, "killed")
    assert len(read_events(folder)) == 3, "it has ended already"


def test_a_server_that_was_killed_gets_its_end_from_who_started_it(folder: RunFolder):
    folder.append_line(EVENTS, ALL[0])
    end_events(folder, "server was ended by SIGKILL")
    last = read_events(folder)[-1]
    assert isinstance(last, RunEnded) and (last.complete, last.reason) == (False, "server was ended by SIGKILL")
