"""What may be written to a virtual Pluto's attributes, and what reads back: the ranges of ad9361.c."""

from __future__ import annotations

import errno
import xml.etree.ElementTree as tree

import pytest

from testbed.air.iiod.context import find_attribute
from testbed.air.iiod.device import VirtualPluto
from testbed.air.iiod.protocol import Refused, Request

PHY = "ad9361-phy"
RX, TX = "cf-ad9361-lpc", "cf-ad9361-dds-core-lpc"
RX_LO, TX_LO = ("altvoltage0", True), ("altvoltage1", True)
IN, OUT = ("voltage0", False), ("voltage0", True)
FIR_4 = "RX 3 GAIN -6 DEC 4\nTX 3 GAIN 0 INT 4\n" + "1,-1\n" * 128 + "\n"


class Bench:
    """Reads and writes as a client does."""

    def __init__(self, channels: int = 1) -> None:
        self.pluto = VirtualPluto("127.0.0.2", channels)

    def find(self, where, name, device=PHY):
        if where == "debug":
            return find_attribute(self.pluto.tree, Request("READ", device, "debug", attribute=name))
        if where is None:
            return find_attribute(self.pluto.tree, Request("READ", device, attribute=name))
        return find_attribute(self.pluto.tree, Request("READ", device, "channel", where[0], where[1], name))

    def read(self, where, name, device=PHY):
        return self.find(where, name, device).read()

    def write(self, where, name, text, device=PHY):
        self.find(where, name, device).write(text)
        return self.read(where, name, device)

    def refuses(self, where, name, text, device=PHY):
        before = self.read(where, name, device)
        with pytest.raises(Refused) as refused:
            self.write(where, name, text, device)
        assert refused.value.number == errno.EINVAL
        return self.read(where, name, device) == before


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_oscillators_keep_their_range_and_lose_odd_hertz(bench: Bench):
    for lo in (RX_LO, TX_LO):
        assert bench.write(lo, "frequency", "2450000001") == "2450000000"
        assert bench.write(lo, "frequency", "325000000") == "325000000"
        assert bench.write(lo, "frequency", "3800000000") == "3800000000"
        for wrong in ("324999999", "3800000001", "-2450000000", "2.4e9", "", "x", "9" * 40):
            assert bench.refuses(lo, "frequency", wrong)
        assert bench.write(lo, "powerdown", "1") == "1"
        bench.write(lo, "frequency", "2400000000")
        assert bench.read(lo, "powerdown") == "1"


def test_an_ad9361_goes_further():
    bench = Bench(channels=2)
    assert bench.write(RX_LO, "frequency", "70000000") == "70000000"
    assert bench.refuses(RX_LO, "frequency", "69999999")
    assert bench.write(TX_LO, "frequency", "6000000000") == "6000000000"
    assert bench.refuses(IN, "sampling_frequency", "30720001")  # 2R2T


def test_the_sample_rate_is_refused_outside_its_range_and_never_clamped(bench: Bench):
    for text, read in (("2083333", "2083333"), ("61440000", "61440000"), ("3000000.0", "3000000")):
        assert bench.write(IN, "sampling_frequency", text) == read
        assert bench.read(OUT, "sampling_frequency") == read
        assert bench.read(IN, "sampling_frequency", RX) == read
        assert bench.read(IN, "sampling_frequency_available", RX) == f"{read} {int(read) // 8} "
        assert bench.read(None, "rx_path_rates").endswith(f"RXSAMP:{read}")
        assert bench.read(None, "tx_path_rates").split()[5] == f"TXSAMP:{read}"
    for wrong in ("2083332", "61440001", "1920000", "0", "-3000000"):
        assert bench.refuses(IN, "sampling_frequency", wrong)


def test_low_rates_need_the_filter(bench: Bench):
    """1.92 MS/s with the decimate-by-4 FIR alone; and the filter cannot be taken away then."""
    bench.write(IN, "sampling_frequency", "3000000")
    assert bench.write(None, "filter_fir_config", FIR_4) == "FIR Rx: 128,4 Tx: 128,4"
    assert bench.refuses(IN, "sampling_frequency", "1920000")
    assert bench.write(("out", False), "voltage_filter_fir_en", "1") == "1"
    assert bench.write(IN, "sampling_frequency", "1920000") == "1920000"
    assert bench.write(IN, "sampling_frequency", "520833") == "520833"
    assert bench.refuses(IN, "sampling_frequency", "520832")
    assert bench.refuses(("out", False), "voltage_filter_fir_en", "0")
    bench.write(IN, "sampling_frequency", "2083334")
    assert bench.write(("out", False), "voltage_filter_fir_en", "0") == "0"


@pytest.mark.parametrize(
    "text",
    [
        FIR_4.replace("DEC 4", "DEC 3"),
        FIR_4 + "1,1\n" * 16,  # 144 taps
        "RX 3 GAIN 0 DEC 4\nTX 3 GAIN 0 INT 4\n" + "1,1\n" * 17,
        "RX 3 GAIN 0 DEC 1\nTX 3 GAIN 0 INT 1\n" + "1,1\n" * 80,  # at most 64 without interpolation
        "RX 3 GAIN 0 DEC 4\n" + "1,1\n" * 16,
        "RX 3 GAIN 0 DEC 4\nTX 3 GAIN 0 INT 4\n" + "70000,1\n" * 16,
        "\0\0",
        "nonsense",
    ],
)
def test_a_wrong_filter_is_refused(bench: Bench, text: str):
    assert bench.refuses(None, "filter_fir_config", text)


def test_a_filter_needs_clock_cycles_for_its_taps(bench: Bench):
    """128 taps need a DAC at 8 times the rate: at 61.44 MS/s there is none."""
    bench.write(IN, "sampling_frequency", "61440000")
    bench.write(None, "filter_fir_config", FIR_4.replace("DEC 4", "DEC 2").replace("INT 4", "INT 2"))
    assert bench.refuses(("out", False), "voltage_filter_fir_en", "1")


def test_receive_gain_follows_the_band_and_is_ignored_under_agc(bench: Bench):
    assert bench.read(IN, "gain_control_mode") == "slow_attack"
    assert bench.write(IN, "hardwaregain", "10") == "71.000000 dB"  # success, and nothing happened
    bench.write(IN, "gain_control_mode", "manual")
    assert bench.write(IN, "hardwaregain", "10.9") == "10.000000 dB"
    assert bench.write(IN, "hardwaregain", "-3 dB") == "-3.000000 dB"
    assert bench.refuses(IN, "hardwaregain", "72")
    assert bench.refuses(IN, "hardwaregain", "-4")
    bench.write(RX_LO, "frequency", "1200000000")
    assert bench.read(IN, "hardwaregain_available") == "[-1 1 73]"
    assert bench.read(IN, "hardwaregain") == "-1.000000 dB"
    assert bench.refuses(IN, "gain_control_mode", "automatic")


def test_transmit_gain_has_quarter_steps_and_no_plus(bench: Bench):
    for text, read in (("-10.1", "-10.000000 dB"), ("-89.75", "-89.750000 dB"), ("0.0", "0.000000 dB")):
        assert bench.write(OUT, "hardwaregain", text) == read
    for wrong in ("0.25", "-90", "loud", "1e1", "nan"):
        assert bench.refuses(OUT, "hardwaregain", wrong)


def test_bandwidth_is_clamped(bench: Bench):
    assert bench.write(IN, "rf_bandwidth", "56000000") == "20000000"
    assert bench.write(IN, "rf_bandwidth", "1") == "200000"
    assert Bench(2).write(IN, "rf_bandwidth", "60000000") == "56000000"


def test_loopback_has_three_modes(bench: Bench):
    for mode in ("0", "1", "2"):
        assert bench.write("debug", "loopback", mode) == mode
    assert bench.refuses("debug", "loopback", "3")


def test_the_fpga_divides_by_eight(bench: Bench):
    assert bench.write(IN, "sampling_frequency", "3840000", RX) == "3840000"
    assert bench.read(OUT, "sampling_frequency", TX) == "30720000"
    assert bench.refuses(IN, "sampling_frequency", "4000000", RX)


def test_status_bits_are_cleared_by_writing_them(bench: Bench):
    bench.pluto.status[RX] = 4
    register = bench.find("debug", "direct_reg_access", RX)
    register.write("0x80000088")
    assert register.read() == "0x4"
    register.write("0x80000088 0x6")
    register.write("0x80000088")
    assert register.read() == "0x0"


@pytest.mark.parametrize("channels", [1, 2])
def test_the_context_is_xml_with_samples_first(channels: int):
    """Parsed by an XML parser of its own; scan elements are numbered in the order of the channels, as masks want it."""
    context = tree.fromstring(VirtualPluto("127.0.0.2", channels).xml())
    facts = {node.get("name"): node.get("value") for node in context.findall("context-attribute")}
    assert facts["ip,ip-addr"] == "127.0.0.2"
    assert facts["ad9361-phy,model"] == ("ad9363a", "ad9361")[channels - 1]
    devices = {node.get("name"): node for node in context.findall("device")}
    assert set(devices) == {PHY, "xadc", RX, TX}
    for name, form in ((RX, "le:S12/16>>0"), (TX, "le:S16/16>>0")):
        nodes = devices[name].findall("channel")[: 2 * channels]
        assert [(n.get("id"), n.find("scan-element").get("index")) for n in nodes] == [
            (f"voltage{i}", str(i)) for i in range(2 * channels)
        ]
        assert {n.find("scan-element").get("format") for n in nodes} == {form}
    tones = [n.get("name") for n in devices[TX].findall("channel") if n.get("id").startswith("altvoltage")]
    assert tones[:4] == ["TX1_I_F1", "TX1_I_F2", "TX1_Q_F1", "TX1_Q_F2"]
    assert len(tones) == 4 * channels
