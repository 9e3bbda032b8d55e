"""The driver on a virtual Pluto: two threads at once, what the device changed, its filter."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from testbed.air.iiod.air import present
from testbed.air.iiod.server import IiodServer
from testbed.errors import RadioError
from testbed.firmware.fir import read_taps, shipped_filters
from testbed.radio.base import RadioSettings, Tuning
from testbed.radio.pluto import PlutoRadio
from testbed.radio.registry import open_radio
from tests.addresses import own_address

pytestmark = pytest.mark.needs("pluto", "libiio")

RATE = 1.92e6


@pytest.fixture
def pluto() -> Iterator[IiodServer]:
    """One that hears itself."""
    (server,) = present([own_address()])
    yield server
    server.close()


def in_thread(work) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_one_radio_sends_in_one_thread_and_receives_in_another(pluto: IiodServer, rng):
    """Through digital loopback, a second of samples in odd pieces: all of it arrives once, in order, bit for bit; the
    transmit gain changes in between and disturbs nothing."""
    pluto.pluto.loopback = 1
    codes = rng.integers(-1000, 1001, (2, 1_920_000))
    x = ((codes[0] + 1j * codes[1]) / 1024).astype(np.complex64)[None]
    got: list[np.ndarray] = []
    with open_radio(f"pluto:ip:{pluto.pluto.address}", RadioSettings(RATE, tx_channels=1, rx_channels=1)) as radio:

        def send() -> None:
            for begin in range(0, x.shape[1], 77_777):
                radio.send(x[:, begin : begin + 77_777])
            radio.finish()

        sending = in_thread(send)
        while sum(part.shape[1] for part in got) < x.shape[1] + 200_000:
            block = radio.receive(33_333)
            assert block.events == ()
            got.append(block.samples)
            if len(got) == 20:
                assert radio.retune(Tuning(tx_gain_db=-12.5)).tx_gain_db == -12.5
        sending.join(20)
        assert not sending.is_alive()
        assert radio.sent_events() == ()
        assert float(pluto.pluto.phy.tx_gains_db[0]) == -12.5
    y = np.concatenate(got, axis=1)[0]
    start = int(np.flatnonzero(y)[0])
    first = int(np.flatnonzero(x[0])[0])
    assert np.array_equal(y[start : start + x.shape[1] - first], x[0, first:] / 2)
    assert not y[start + x.shape[1] - first :].any()


def test_both_threads_end_when_the_radio_closes(pluto: IiodServer):
    """Both are at work without end; close comes from a third, and the transmitter is mute."""
    radio = open_radio(f"pluto:ip:{pluto.pluto.address}", RadioSettings(RATE, tx_channels=1, rx_channels=1))
    ended: list[str] = []

    def until_closed(call) -> None:
        try:
            while True:
                call()
        except RadioError as error:
            ended.append(str(error))

    threads = [in_thread(lambda: until_closed(lambda: radio.send(np.zeros((1, 96_000), np.complex64))))]
    threads.append(in_thread(lambda: until_closed(lambda: radio.receive(96_000))))
    threads[0].join(0.3)
    radio.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert len(ended) == 2 and all("closed" in text for text in ended)
    assert pluto.pluto.phy.tx_lo.off


def test_a_radio_that_nobody_closes_is_closed_when_the_interpreter_ends(pluto: IiodServer):
    """With its threads at work in libiio: no crash, and the transmitter is mute before the process is gone."""
    code = """
import sys
import numpy as np
from testbed.radio.base import RadioSettings
from testbed.radio.registry import open_radio
radio = open_radio(sys.argv[1], RadioSettings(1.92e6, tx_channels=1, rx_channels=1))
radio.send(np.zeros((1, 20_000), np.complex64))
radio.receive(10)
kept = [radio]
"""
    done = subprocess.run([sys.executable, "-c", code, f"pluto:ip:{pluto.pluto.address}"], timeout=50, check=False)
    assert done.returncode == 0
    assert pluto.pluto.phy.tx_lo.off


def test_what_the_device_rounds_or_clamps_is_said(pluto: IiodServer, caplog):
    """An odd hertz is lost, a quarter of a decibel is the step, and the AD9363's filter ends at 20 MHz."""
    uri = f"pluto:ip:{pluto.pluto.address},lo_hz=2450000001,tx_gain_db=-20.1"
    with caplog.at_level(logging.INFO), open_radio(uri, RadioSettings(30.72e6, tx_channels=1)) as radio:
        assert isinstance(radio, PlutoRadio)
        assert sorted(radio.adjusted) == [
            "tx LO: wanted 2450000001, the Pluto has 2450000000",
            "tx rf_bandwidth: wanted 30720000, the Pluto has 20000000",
            "tx1 gain: wanted -20.1, the Pluto has -20",
        ]
        said = [record.getMessage() for record in caplog.records if "the Pluto has" in record.getMessage()]
        assert sorted(said) == [f"{uri}: {words}" for words in sorted(radio.adjusted)]
        radio.retune(Tuning(lo_hz=2.45e9, tx_gain_db=-20.25))
        assert radio.adjusted == ("tx rf_bandwidth: wanted 30720000, the Pluto has 20000000",)


def test_a_filter_of_ones_own_is_loaded_and_the_rate_kept(pluto: IiodServer, tmp_path: Path):
    """128 taps that decimate by 4, in force at 1.92 MS/s: those that the file has, not pyadi-iio's."""
    taps = [*range(1, 65), *range(64, 0, -1)]
    file = tmp_path / "own.ftr"
    file.write_text("RX 3 GAIN -6 DEC 4\nTX 3 GAIN 0 INT 4\n" + "".join(f"{tap},{tap}\n" for tap in taps) + "\n")
    where, settings = f"pluto:ip:{pluto.pluto.address}", RadioSettings(RATE, rx_channels=1)
    with open_radio(f"{where},fir={file}", settings) as radio:
        assert radio.receive(100).samples.shape == (1, 100)
    clock = pluto.pluto.phy.clock
    assert (clock.rate_hz, clock.enabled, clock.fir.decimation) == (RATE, True, 4)
    assert clock.fir.rx == clock.fir.tx == tuple(taps)
    with pytest.raises(RadioError, match=r"fir = .*none\.ftr: no such file"):
        open_radio(f"{where},fir={tmp_path}/none.ftr", settings)


@pytest.mark.parametrize("name", shipped_filters())
def test_at_the_rates_of_the_profiles_the_filter_that_ships_is_in_force(pluto: IiodServer, name: str):
    """Its very taps, without being asked for; asked for by name also where the device has the rate already."""
    wanted = shipped_filters()[name]
    where, settings = f"pluto:ip:{pluto.pluto.address}", RadioSettings(wanted.rate_hz, rx_channels=1)
    clock = pluto.pluto.phy.clock
    for option in ("", f",fir={name}"):
        with open_radio(where + option, settings) as radio:
            assert radio.receive(100).samples.shape == (1, 100)
        assert (clock.rate_hz, clock.enabled) == (wanted.rate_hz, True)
        assert list(clock.fir.rx) == list(clock.fir.tx) == read_taps(wanted.file)[0].tolist()


def test_below_2_083_ms_s_a_filter_is_in_force_that_decimates_by_4(pluto: IiodServer):
    with open_radio(f"pluto:ip:{pluto.pluto.address}", RadioSettings(0.96e6, rx_channels=1)) as radio:
        assert radio.receive(100).samples.shape == (1, 100)
        clock = pluto.pluto.phy.clock
        assert (clock.rate_hz, clock.enabled, clock.fir.decimation) == (960_000, True, 4)
