"""The FIR filters that ship: designed as their file says, measured by SciPy, loaded into a virtual Pluto."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from scipy import signal

from testbed.air.iiod.air import present
from testbed.air.iiod.fir import parse_fir
from testbed.errors import ScenarioError
from testbed.firmware.fir import design, ftr_text, read_taps, response, shipped_filters
from testbed.phy.waveform import PROFILES, Waveform
from tests.addresses import own_address

FILTERS = shipped_filters()
CFO_HZ = 130e3  # 25 ppm at both ends of 2.45 GHz, and what they drift


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_has_the_response_that_it_claims(name: str):
    """Of the taps in the file, by a dense transform of their own: ripple, attenuation, level of libad9361's filters."""
    wanted = FILTERS[name]
    transmit, receive = read_taps(wanted.file)
    np.testing.assert_array_equal(transmit, receive)
    np.testing.assert_array_equal(receive, receive[::-1])  # linear phase
    assert len(receive) == wanted.taps
    assert abs(receive.sum() - (1 << 16)) <= wanted.taps // 2  # each is rounded by half at most
    spectrum = np.maximum(np.abs(np.fft.rfft(receive, 1 << 16)) / receive.sum(), 1e-9)
    frequencies_hz = np.arange(len(spectrum)) * wanted.filter_rate_hz / (1 << 16)
    passed = 20 * np.log10(spectrum[frequencies_hz <= wanted.pass_hz])
    stopped = 20 * np.log10(spectrum[frequencies_hz >= wanted.stop_hz])
    assert np.abs(passed).max() <= wanted.ripple_db
    assert stopped.max() <= -wanted.attenuation_db
    assert response(receive, wanted) == pytest.approx((np.abs(passed).max(), -stopped.max()), abs=0.05)


@pytest.mark.parametrize("name", FILTERS)
def test_the_files_are_what_their_numbers_make(name: str):
    """`python -m testbed.firmware.fir` writes them; another SciPy may round a tap the other way."""
    wanted = FILTERS[name]
    taps = design(wanted)
    stored = read_taps(wanted.file)[0]
    assert np.abs(taps - stored).max() <= 1
    assert wanted.file.read_text() == ftr_text(wanted, stored)


@pytest.mark.parametrize("name", FILTERS)
def test_a_virtual_pluto_reads_the_file_as_it_was_written(name: str):
    """Its parser, which is not the writer's: taps, factors, gains, rate and bandwidths."""
    wanted = FILTERS[name]
    read = parse_fir(wanted.file.read_text())
    taps = read_taps(wanted.file)[0]
    assert list(read.tx) == list(read.rx) == taps.tolist()
    assert (read.interpolation, read.decimation, read.rate_hz) == (wanted.factor, wanted.factor, wanted.rate_hz)
    assert (read.tx_gain_db, read.rx_gain_db) == (0, -6)
    assert (read.tx_bandwidth_hz, read.rx_bandwidth_hz) == (wanted.bandwidth_hz, wanted.bandwidth_hz)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_rate_that_ships_has_a_filter_that_passes_its_band(profile: str):
    """Occupied subcarriers with the carrier offset are passed; what aliases onto them is stopped."""
    waveform, wanted = Waveform(profile=profile), FILTERS[profile]
    edge_hz = waveform.occupied_subcarriers / 2 * waveform.sample_rate_hz / waveform.fft_size + CFO_HZ
    assert wanted.rate_hz == waveform.sample_rate_hz
    assert wanted.pass_hz >= edge_hz
    assert wanted.stop_hz <= wanted.rate_hz - edge_hz


def test_a_tone_outside_does_not_alias_into_the_band(rng: np.random.Generator):
    """A tone at the first alias, 0 dBFS at the filter's rate, decimated as the device does: below -78 dB."""
    wanted = FILTERS["ota"]
    n = np.arange(1 << 14)
    tone = np.exp(2j * np.pi * (wanted.rate_hz - 500e3) / wanted.filter_rate_hz * n + 1j * rng.uniform(0, 6))
    taps = read_taps(wanted.file)[1]
    out = signal.upfirdn(taps / taps.sum(), tone, down=wanted.factor)[50:-50]
    assert 10 * np.log10(np.mean(np.abs(out) ** 2)) < -wanted.attenuation_db


@pytest.mark.parametrize(
    ("key", "value"),
    [("taps", 65), ("taps", 144), ("factor", 3), ("stop_hz", 5e6), ("pass_hz", 2e6), ("rate_hz", 390_000)],
)
def test_a_filter_that_no_device_takes_is_refused(key: str, value: float):
    """Which number, and what is allowed."""
    fields = msgspec.structs.asdict(FILTERS["ota"]) | {key: value}
    with pytest.raises(ScenarioError, match=r"filters\.ota"):
        type(FILTERS["ota"])(**fields)


@pytest.fixture(scope="module")
def pluto() -> Iterator[str]:
    address = own_address()
    servers = present([address], 1)
    yield f"ip:{address}"
    for server in servers:
        server.close()


@pytest.mark.needs("pluto", "libiio")
@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_loads_into_a_virtual_pluto(name: str, pluto: str):
    """By unmodified pyadi-iio: its `filter` takes the file, and rate, clock chain and bandwidth are then the file's."""
    import adi

    wanted = FILTERS[name]
    sdr = adi.Pluto(uri=pluto)
    sdr.filter = str(wanted.file)
    phy = sdr._ctrl
    phy.find_channel("out").attrs["voltage_filter_fir_en"].value = "1"
    assert sdr.sample_rate == wanted.rate_hz
    assert sdr.filter == [wanted.taps, wanted.factor] * 2
    names = ("BBPLL", "ADC", "R2", "R1", "RF", "RXSAMP")
    chain = " ".join(f"{n}:{rate}" for n, rate in zip(names, wanted.path_rates_hz, strict=True))
    assert phy.attrs["rx_path_rates"].value == chain
    assert sdr.rx_rf_bandwidth == sdr.tx_rf_bandwidth == wanted.bandwidth_hz
