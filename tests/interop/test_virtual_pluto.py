"""A virtual Pluto in the hands of strangers: libiio's own tools and unmodified pyadi-iio."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from testbed.air.iiod.air import present
from testbed.air.iiod.device import RX, TX
from testbed.air.iiod.protocol import Request
from testbed.air.iiod.server import IiodServer
from testbed.errors import PeerLost, RadioError, RadioNotFound
from testbed.radio.base import RadioSettings
from testbed.radio.registry import open_radio
from tests.addresses import own_address

RATE = 1.92e6
LIMIT_S = 50


pytestmark = pytest.mark.needs("pluto", "libiio")


@pytest.fixture(params=[1, 2])
def pluto(request) -> Iterator[IiodServer]:
    """One Pluto that hears itself, 1R1T and 2R2T."""
    (server,) = present([own_address()], channels=request.param)
    yield server
    server.close()


@pytest.fixture
def single() -> Iterator[IiodServer]:
    """One Pluto, 1R1T."""
    (server,) = present([own_address()])
    yield server
    server.close()


@pytest.fixture
def sdr(single: IiodServer) -> Iterator:
    """pyadi-iio's Pluto. Its buffers go before its context however the test ends, or libiio crashes the interpreter."""
    import adi

    one = adi.Pluto(uri=f"ip:{single.pluto.address}")
    yield one
    one.tx_destroy_buffer()
    one.rx_destroy_buffer()


def run(*command: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False, **more)


def attribute(uri: str, *words: str) -> str:
    """iio_attr's answer; its complaint where it has one."""
    done = run("iio_attr", "-u", uri, *words, text=True)
    return (done.stdout + done.stderr).strip()


def test_iio_info_reads_every_attribute(pluto: IiodServer):
    """The whole context, no attribute in error, and the channels of 1R1T or 2R2T."""
    done = run("iio_info", "-u", f"ip:{pluto.pluto.address}", text=True)
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stdout
    for device in ("ad9361-phy", "xadc", "cf-ad9361-dds-core-lpc", "cf-ad9361-lpc"):
        assert f": {device}" in done.stdout
    assert done.stdout.count("format: le:S12/16>>0") == 2 * pluto.pluto.channels
    assert done.stdout.count("format: le:S16/16>>0") == 2 * pluto.pluto.channels


def test_iio_attr_writes_what_is_allowed_and_hears_of_what_is_not(single: IiodServer):
    uri = f"ip:{single.pluto.address}"
    assert attribute(uri, "-o", "-c", "ad9361-phy", "altvoltage0", "frequency", "2450000001") == "2450000000"
    assert attribute(uri, "-o", "-c", "ad9361-phy", "altvoltage0", "frequency") == "2450000000"
    assert single.pluto.phy.rx_lo.frequency_hz == 2_450_000_000
    done = run("iio_attr", "-u", uri, "-o", "-c", "ad9361-phy", "altvoltage0", "frequency", "6000000000", text=True)
    assert "Invalid argument" in done.stdout + done.stderr
    assert attribute(uri, "-D", "ad9361-phy", "loopback", "1").endswith("1")
    assert single.pluto.loopback == 1


@pytest.mark.parametrize(
    "words",
    [
        ("-i", "-c", "ad9361-phy", "voltage0", "rf_port_select", "B_BALANCED"),
        ("-o", "-c", "ad9361-phy", "voltage0", "rf_port_select", "B"),
        ("-i", "-c", "ad9361-phy", "voltage0", "quadrature_tracking_en", "0"),
        ("-i", "-c", "ad9361-phy", "voltage0", "rf_dc_offset_tracking_en", "0"),
        ("-i", "-c", "ad9361-phy", "voltage0", "bb_dc_offset_tracking_en", "0"),
        ("-d", "ad9361-phy", "ensm_mode", "alert"),
        ("-d", "ad9361-phy", "calib_mode", "manual"),
        ("-d", "ad9361-phy", "trx_rate_governor", "highest_osr"),
        ("-D", "ad9361-phy", "bist_prbs", "1"),
        ("-D", "ad9361-phy", "bist_tone", "2 500000 6 0"),
    ],
)
def test_iio_attr_writes_what_the_driver_takes(single: IiodServer, words: tuple[str, ...]):
    """Accepted, and read back as written; of bist_tone the mode."""
    uri = f"ip:{single.pluto.address}"
    done = run("iio_attr", "-u", uri, *words, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "denied" not in done.stdout + done.stderr
    assert attribute(uri, *words[:-1]).split()[-1] == words[-1].split()[0]


def test_iio_readdev_gets_samples(pluto: IiodServer):
    """Through digital loopback of the tone generator: a known tone, on all channels or on Q of the first alone."""
    uri, device = f"ip:{pluto.pluto.address}", pluto.pluto
    device.loopback = 1
    for index, phase in ((0, 90_000), (2, 0)):
        tone = device.dds.tones[index]
        tone.scale, tone.step, tone.phase_mdeg = 0.5, 1024, phase  # a period of 64 samples
    done = run("iio_readdev", "-u", uri, "-b", "512", "-s", "2048", "cf-ad9361-lpc")
    assert done.returncode == 0, done.stderr
    samples = np.frombuffer(done.stdout, "<i2").reshape(2048, 2 * device.channels)
    n = np.arange(2048)
    for column, wave in ((0, np.cos), (1, np.sin)):
        exact = np.round(0.5 * 32_767 * wave(2 * np.pi * n / 64)).astype(np.int16) >> 4
        assert np.max(np.abs(samples[:, column] - exact)) <= 1  # the last bit of cos and of a shifted sine
    assert not samples[:, 2:].any()
    done = run("iio_readdev", "-u", uri, "-b", "512", "-s", "512", "cf-ad9361-lpc", "voltage1")
    assert np.array_equal(np.frombuffer(done.stdout, "<i2"), samples[:512, 1])


def test_pyadi_sends_and_receives_exactly_through_digital_loopback(sdr, rng):
    """Random 16-bit samples, cyclic, one period of 4096: found at one lag and equal there, in every later period."""
    sdr.sample_rate = int(RATE)
    assert sdr.sample_rate == int(RATE)
    sdr.loopback = 1
    sdr.tx_cyclic_buffer = True
    x = rng.integers(-32_768, 32_768, 4096) + 1j * rng.integers(-32_768, 32_768, 4096)
    sdr.tx(x)
    sdr.rx_buffer_size = 8192
    got = [sdr.rx() for _ in range(3)]
    exact = np.floor(x.real / 16) + 1j * np.floor(x.imag / 16)
    for block in got:
        assert np.array_equal(block, np.tile(exact, 2))  # the first sample received is the first sent: no rotation


def test_pyadi_hears_the_gain_and_the_offset_that_it_sets(sdr):
    """Over the cable: 20 dB less gain is 20 dB less power to 0.2 dB, and 50 kHz between the LOs are 50 kHz to 10 Hz."""
    sdr.sample_rate = 2_500_000
    sdr.gain_control_mode_chan0 = "manual"
    sdr.rx_lo, sdr.tx_lo = 2_400_000_000, 2_400_050_000
    sdr.tx_hardwaregain_chan0 = -10.0
    sdr.tx_cyclic_buffer = True
    sdr.tx(np.full(1024, 2.0**13 + 0j))
    sdr.rx_buffer_size = 1 << 15
    power = []
    for gain in (40.0, 20.0):
        sdr.rx_hardwaregain_chan0 = gain
        x = sdr.rx()
        power.append(10 * np.log10(np.mean(np.abs(x) ** 2)))
        offset_hz = np.angle(np.vdot(x[:-1], x[1:])) / (2 * np.pi) * 2_500_000
        assert offset_hz == pytest.approx(50_000, abs=10)
    assert power[0] == pytest.approx(10 * np.log10(1024**2), abs=0.2)
    assert power[0] - power[1] == pytest.approx(20, abs=0.2)
    sdr.tx_hardwaregain_chan0 = -30.0
    assert power[1] - 10 * np.log10(np.mean(np.abs(sdr.rx()) ** 2)) == pytest.approx(20, abs=0.4)


def test_a_time_out_of_zero_is_none(sdr, single: IiodServer):
    """While a transmitter has nothing to send, time stands still, here for 2.5 s: too long for a client that waits for
    one, of which half is the device's, and not for one that waits without limit."""
    single.ether.patience_s = 2.5
    sdr.rx_buffer_size = 4096
    sdr.rx()  # the medium's kernels are compiled
    sdr.rx_destroy_buffer()
    sdr.tx_cyclic_buffer = False
    sdr.tx(np.full(1024, 2.0**13 + 0j))
    sdr._ctx.set_timeout(2000)
    with pytest.raises(OSError, match="timed out"):
        sdr.rx()
    sdr.rx_destroy_buffer()
    sdr._ctx.set_timeout(0)
    assert len(sdr.rx()) == 4096


def test_our_radio_mutes_its_transmitter_when_it_closes(pluto: IiodServer):
    """On all channels: the carrier is on while it is open, with the gain that was asked for, and off afterwards."""
    phy, channels = pluto.pluto.phy, pluto.pluto.channels
    settings = RadioSettings(RATE, tx_channels=channels)
    with open_radio(f"pluto:ip:{pluto.pluto.address},tx_gain_db=-20", settings):
        assert not phy.tx_lo.off
        assert phy.tx_gains_db == [-20] * channels
        assert phy.clock.rate_hz == RATE
        assert phy.tx_lo.frequency_hz == 2_400_000_000
        assert phy.bandwidth_hz["tx"] == RATE
    assert phy.tx_lo.off
    assert [float(gain_db) for gain_db in phy.tx_gains_db] == [-89.75] * channels


def test_our_radio_is_mute_while_it_is_set_up(pluto: IiodServer, monkeypatch: pytest.MonkeyPatch):
    """Whoever used it before left a carrier and a tone: neither is on the air while rate and frequency change."""
    phy, dds = pluto.pluto.phy, pluto.pluto.dds
    dds.tones[0].scale, dds.tones[0].step = 0.5, 1024
    assert not phy.tx_lo.off
    changes: list[tuple[str, bool, float]] = []

    def watched(name: str, change):
        def call(*arguments) -> None:
            changes.append((name, phy.tx_lo.off, float(max(phy.tx_gains_db))))
            change(*arguments)

        return call

    monkeypatch.setattr(phy.clock, "set_rate", watched("rate", phy.clock.set_rate))
    monkeypatch.setattr(phy, "write_bandwidth", watched("bandwidth", phy.write_bandwidth))
    with open_radio(f"pluto:ip:{pluto.pluto.address}", RadioSettings(RATE, tx_channels=1)):
        pass
    assert {name for name, _, _ in changes} == {"rate", "bandwidth"}
    assert all((off, gain_db) == (True, -89.75) for _, off, gain_db in changes)
    assert dds.codes(0, 64) is None


def test_our_radio_counts_the_samples_that_were_lost(single: IiodServer):
    """Every sample says which it is (a counter through digital loopback). While the radio is not read, time goes on
    for another client: what is lost then comes as zeros, so that every later sample still stands at its index."""
    period = 1 << 16
    ether, pluto = single.ether, single.pluto
    ether.patience_s, pluto.loopback = 0.2, 1
    counter = np.arange(1, period + 1)
    codes = (np.stack([counter % 256, counter // 256], axis=1) * 16).astype("<i2")
    whole = Request("OPEN", number=period, mask=3, mask_digits=8, cyclic=True)
    ether.push(pluto, ether.open(pluto, TX, whole), codes.tobytes(), lambda: False)
    stop = threading.Event()

    def go_on() -> None:
        other = ether.open(pluto, RX, Request("OPEN", number=8192, mask=3, mask_digits=8))
        while not stop.is_set():
            ether.pull(pluto, other, 8192, lambda: False)
        ether.close(pluto, other)

    going = threading.Thread(target=go_on, daemon=True)
    events, got = [], []
    try:
        with open_radio(f"pluto:ip:{pluto.address}", RadioSettings(RATE, rx_channels=1)) as radio:
            got.append(radio.receive(9600))
            going.start()
            end = time.monotonic() + 30
            while not (pluto.rx_buffers and pluto.rx_buffers[0].gaps) and time.monotonic() < end:
                time.sleep(0.02)  # it reads two seconds ahead, then it is passed over
            while not events or sum(b.samples.shape[1] for b in got) < events[0].sample + events[0].count + 96_000:
                got.append(radio.receive(9600))
                events += got[-1].events
    finally:
        stop.set()
        going.join(10)
    assert {event.kind for event in events} == {"overflow"}
    x = np.concatenate([block.samples[0] for block in got]) * 2048
    assert [block.first_sample for block in got] == list(range(0, len(x), 9600))
    lost = np.zeros(len(x), dtype=bool)
    for event in events:
        lost[event.sample : event.sample + event.count] = True
    assert lost.any()
    assert not x[lost].any()
    number = np.round(x.real + 256 * x.imag).astype(int)[~lost]
    assert not ((number - number[0] - np.flatnonzero(~lost)) % period).any()


@pytest.mark.parametrize("side", ["tx", "rx"])
def test_a_pluto_that_stops_is_named_and_closed_within_seconds(side: str):
    """Its process is stopped, so connections stay. Whoever waits for it is told, and closing does not wait; libiio by
    itself would wait a minute for each."""
    where = own_address()
    command = [sys.executable, "-m", "testbed.cli.main", "air", "--pluto", where]
    air = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert air.stdout is not None
    try:
        while where not in air.stdout.readline():
            assert air.poll() is None
        settings = RadioSettings(RATE, **{f"{side}_channels": 1}, timeout_s=2.0)
        radio = open_radio(f"pluto:ip:{where}", settings)
        assert not radio.paced  # nobody holds up time for its clients for ever
        radio.receive(100) if side == "rx" else radio.send(np.zeros((1, 100), np.complex64))
        air.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(PeerLost, match=rf"ip:{where}: the Pluto no longer answers \(no answer\)"):
            while True:
                radio.receive(960_000) if side == "rx" else radio.send(np.zeros((1, 96_000), np.complex64))
        assert time.monotonic() - begin < 20
        begin = time.monotonic()
        radio.close()
        assert time.monotonic() - begin < 10
        with pytest.raises(RadioNotFound, match=r"no answer"):
            open_radio(f"pluto:ip:{where}", settings)
    finally:
        air.kill()
        air.wait(10)


def test_our_radio_begins_with_the_silence_that_is_asked_for(single: IiodServer, rng):
    """10 ms at 1.92 MS/s, then every sample as it was sent; through digital loopback, which is exact."""
    single.ether.patience_s, single.pluto.loopback = math.inf, 1
    codes = rng.integers(-1000, 1001, (2, 5000))
    x = ((codes[0] + 1j * codes[1]) / 1024).astype(np.complex64)[None]
    where = f"pluto:ip:{single.pluto.address}"
    with (
        open_radio(f"{where},lead_s=0.01", RadioSettings(RATE, tx_channels=1)) as sender,
        open_radio(where, RadioSettings(RATE, rx_channels=1)) as receiver,
    ):

        def work() -> None:
            sender.send(x)
            sender.finish()

        sending = threading.Thread(target=work, daemon=True)
        sending.start()
        got = receiver.receive(19_200 + 5000).samples
        sending.join(10)
    assert not got[:, :19_200].any()
    assert np.array_equal(got[:, 19_200:], x / 2)  # tx >> 4: 2^14 there is 2^10 of 2^11 here


def test_our_radio_sets_what_it_receives_with(single: IiodServer):
    phy = single.pluto.phy
    uri = f"pluto:ip:{single.pluto.address},lo_hz=868e6,rx_gain_db=12"
    with open_radio(uri, RadioSettings(RATE, rx_channels=1)) as radio:
        assert radio.receive(100).samples.shape == (1, 100)
        assert (phy.modes, phy.rx_gains_db) == (["manual"], [12])
        assert phy.rx_lo.frequency_hz == 868_000_000
        assert phy.bandwidth_hz["rx"] == RATE


@pytest.mark.parametrize(
    "more, settings, output",
    [
        (",lo_hz=5.8e9", RadioSettings(RATE, rx_channels=1), "the Pluto refuses"),
        (",rx_gain_db=73", RadioSettings(RATE, rx_channels=1), "the Pluto refuses"),
        (",tx_gain_db=3", RadioSettings(RATE, tx_channels=1), r"allowed: -89\.75\.\.0"),
        (",gain=3", RadioSettings(RATE, tx_channels=1), "unknown; known: lo_hz, tx_gain_db, rx_gain_db"),
        ("", RadioSettings(100e3, rx_channels=1), "the Pluto refuses"),
        ("", RadioSettings(RATE, rx_channels=2), "2 channels wanted: this Pluto has 1"),
    ],
)
def test_our_radio_says_what_a_pluto_cannot(single: IiodServer, more: str, settings: RadioSettings, output: str):
    with pytest.raises(RadioError, match=output):
        open_radio(f"pluto:ip:{single.pluto.address}{more}", settings)


def test_a_pluto_that_is_not_there_is_named():
    where = own_address()
    with pytest.raises(RadioNotFound, match=rf"no Pluto at ip:{where} \(connection refused\)\. Is it plugged in\?"):
        open_radio(f"pluto:ip:{where}", RadioSettings(RATE, rx_channels=1))
