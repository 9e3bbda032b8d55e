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
PATHS = """RTX 737280000 92160000 30720000 15360000 7680000 1920000
RRX 737280000 92160000 30720000 15360000 7680000 1920000
BWTX 1613786
BWRX 1613792
"""
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
        "1,1\n" * 16,  # for neither direction
        "RX 3 GAIN 0 DEC 4\n",  # no taps
        "RX 3 GAIN 0 DEC 4\n" + "1,1,1\n" * 16,
        FIR_4.replace("1,-1", f"{PATHS}1,-1", 1).replace("1920000\nRRX", "3840000\nRRX"),  # two rates
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


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("where", [("out", False), IN])
def test_a_filter_that_names_its_rate_and_bandwidths_brings_them_along(bench: Bench, line_end: str, where):
    """The form of the vendor's files, at a rate of 30.72 MS/s: 1.92 MS/s once it is enabled in both directions."""
    head = "# made by a filter wizard\nTX 3 GAIN 0 INT 4\nRX 3 GAIN -12 DEC 4\n"
    text = (head + PATHS + "-21,12\n" * 128).replace("\n", line_end)
    assert bench.write(None, "filter_fir_config", text) == "FIR Rx: 128,4 Tx: 128,4"
    assert bench.read(IN, "sampling_frequency") == "30720000"
    if where == IN:
        bench.pluto.phy.clock.tx_enabled = True  # as out_voltage_filter_fir_en leaves it at a rate that goes with it
        bench.write(IN, "filter_fir_en", "1")
    else:
        bench.write(where, "voltage_filter_fir_en", "1")
    assert bench.read(IN, "sampling_frequency") == bench.read(OUT, "sampling_frequency") == "1920000"
    assert (bench.read(IN, "rf_bandwidth"), bench.read(OUT, "rf_bandwidth")) == ("1613792", "1613786")
    assert bench.read(("out", False), "voltage_filter_fir_en") == "1"


def test_a_filter_may_be_for_one_direction_and_have_one_column(bench: Bench):
    """The other direction stays as it is; one number a line is the tap of both."""
    assert bench.write(None, "filter_fir_config", "TX 3 GAIN 0 INT 2\n" + "5\n" * 64) == "FIR Rx: 0,1 Tx: 64,2"
    assert bench.write(None, "filter_fir_config", "RX 3 GAIN -6 DEC 4\n" + "5,7\n" * 128) == "FIR Rx: 128,4 Tx: 64,2"
    assert bench.write(OUT, "filter_fir_en", "1") == "1"
    assert bench.read(IN, "filter_fir_en") == "0"
    assert bench.read(("out", False), "voltage_filter_fir_en") == "0"
    assert bench.write(IN, "filter_fir_en", "1") == "1"
    assert bench.read(("out", False), "voltage_filter_fir_en") == "1"


def test_path_rates_are_those_of_devices():
    """Two devices as they were read: 2R2T at 30.72 MS/s with a filter of 2, 1R1T at 560 kS/s with one of 4."""
    bench = Bench(2)
    bench.write(None, "filter_fir_config", "RX 3 GAIN 0 DEC 2\nTX 3 GAIN 0 INT 2\n" + "1,1\n" * 128)
    bench.write(("out", False), "voltage_filter_fir_en", "1")
    rx = "BBPLL:983040000 ADC:491520000 R2:245760000 R1:122880000 RF:61440000 RXSAMP:30720000"
    tx = "BBPLL:983040000 DAC:245760000 T2:122880000 T1:61440000 TF:61440000 TXSAMP:30720000"
    assert (bench.read(None, "rx_path_rates"), bench.read(None, "tx_path_rates")) == (rx, tx)
    bench = Bench()
    bench.write(None, "filter_fir_config", FIR_4)
    bench.write(("out", False), "voltage_filter_fir_en", "1")
    bench.write(IN, "sampling_frequency", "560000")
    rx = "BBPLL:860160000 ADC:26880000 R2:8960000 R1:4480000 RF:2240000 RXSAMP:560000"
    assert bench.read(None, "rx_path_rates") == rx
    bench.write(IN, "sampling_frequency", "1920000")
    assert " ADC:61440000 " in bench.read(None, "rx_path_rates")
    assert bench.write(None, "trx_rate_governor", "highest_osr") == "highest_osr"
    assert " ADC:92160000 " in bench.read(None, "rx_path_rates")
    assert bench.refuses(None, "trx_rate_governor", "fast")


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
    for text, read in (
        ("-10.1", "-10.000000 dB"),
        ("-10.13", "-10.000000 dB"),
        ("-10.2499", "-10.000000 dB"),
        ("-10.25", "-10.250000 dB"),
        ("-0.1", "0.000000 dB"),
        ("-89.75", "-89.750000 dB"),
        ("0.0", "0.000000 dB"),
    ):
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
    """Parsed by Python's XML parser; scan elements are numbered in the order of the channels, as masks want it."""
    context = tree.fromstring(VirtualPluto("127.0.0.2", channels).xml())
    facts = {node.get("name"): node.get("value") for node in context.findall("context-attribute")}
    assert facts["ip,ip-addr"] == "127.0.0.2"
    assert facts["ad9361-phy,model"] == ("ad9363a", "ad9361")[channels - 1]
    devices = {node.get("name"): node for node in context.findall("device")}
    assert set(devices) == {PHY, "xadc", "adm1177", RX, TX}
    for name, form in ((RX, "le:S12/16>>0"), (TX, "le:S16/16>>0")):
        nodes = devices[name].findall("channel")[: 2 * channels]
        assert [(n.get("id"), n.find("scan-element").get("index")) for n in nodes] == [
            (f"voltage{i}", str(i)) for i in range(2 * channels)
        ]
        assert {n.find("scan-element").get("format") for n in nodes} == {form}
    tones = [n.get("name") for n in devices[TX].findall("channel") if n.get("id").startswith("altvoltage")]
    assert tones[:4] == ["TX1_I_F1", "TX1_I_F2", "TX1_Q_F1", "TX1_Q_F2"]
    assert len(tones) == 4 * channels


SHARED_IN = (
    *("bb_dc_offset_tracking_en", "rf_dc_offset_tracking_en", "quadrature_tracking_en", "filter_fir_en"),
    *("rf_bandwidth", "rf_bandwidth_available", "sampling_frequency", "sampling_frequency_available"),
    *("gain_control_mode_available", "rf_port_select_available"),
)
SHARED_OUT = (
    *("filter_fir_en", "rf_bandwidth", "rf_bandwidth_available", "sampling_frequency", "sampling_frequency_available"),
    "rf_port_select_available",
)
OWN_IN = ("gain_control_mode", "hardwaregain", "hardwaregain_available", "rssi", "rf_port_select")
OWN_OUT = ("hardwaregain", "hardwaregain_available", "rssi", "rf_port_select")
OWN_LO = ("frequency", "frequency_available", "powerdown", "external")


def files_of(context: tree.Element, device: str) -> dict[tuple[str, str], set[str]]:
    """The file names of each channel."""
    node = next(node for node in context.findall("device") if node.get("name") == device)
    return {
        (channel.get("type"), channel.get("id")): {a.get("filename") for a in channel.findall("attribute")}
        for channel in node.findall("channel")
    }


@pytest.mark.parametrize("channels", [1, 2])
def test_attributes_have_the_driver_s_file_names(channels: int):
    """As devices list them and gr-iio, gnss-sdr and SoapyPlutoSDR look for them: what channels share has no number."""
    context = tree.fromstring(VirtualPluto("127.0.0.2", channels).xml())
    phy = files_of(context, PHY)
    shared_in, shared_out = {f"in_voltage_{n}" for n in SHARED_IN}, {f"out_voltage_{n}" for n in SHARED_OUT}
    for i in range(channels):
        assert phy["input", f"voltage{i}"] == shared_in | {f"in_voltage{i}_{n}" for n in OWN_IN}
        assert phy["output", f"voltage{i}"] == shared_out | {f"out_voltage{i}_{n}" for n in OWN_OUT}
    assert phy["input", "voltage2"] == shared_in | {f"in_voltage2_{n}" for n in ("raw", "offset", "scale")}
    for i in (2, 3):
        assert phy["output", f"voltage{i}"] == shared_out | {f"out_voltage{i}_{n}" for n in ("raw", "scale")}
    assert phy["output", "altvoltage0"] == {f"out_altvoltage0_RX_LO_{n}" for n in OWN_LO}
    assert phy["output", "altvoltage1"] == {f"out_altvoltage1_TX_LO_{n}" for n in OWN_LO}
    assert phy["input", "temp0"] == {"in_temp0_input"}
    assert phy["input", "out"] == {"in_out_voltage_filter_fir_en"}
    rate = {"voltage_sampling_frequency", "voltage_sampling_frequency_available"}
    for i in range(2 * channels):
        own = {f"voltage{i}_calibphase", f"voltage{i}_calibscale"}
        assert files_of(context, TX)["output", f"voltage{i}"] == {f"out_{n}" for n in rate | own}
        assert files_of(context, RX)["input", f"voltage{i}"] == {
            f"in_{n}" for n in rate | own | {f"voltage{i}_calibbias"}
        }
    tone = {"out_altvoltage_sampling_frequency"}
    tone |= {f"out_altvoltage3_TX1_Q_F2_{n}" for n in ("frequency", "phase", "raw", "scale")}
    assert files_of(context, TX)["output", "altvoltage3"] == tone
    assert files_of(context, "xadc")["input", "voltage5"] == {"in_voltage5_vccoddr_raw", "in_voltage5_vccoddr_scale"}


def test_sensors_that_clients_read_say_something(bench: Bench):
    """Those that SoapyPlutoSDR lists: each a number, and what they make of it is a plausible one."""

    def value(device: str, channel: str) -> float:
        table = next(
            c for d in bench.pluto.tree if d.name == device for c in d.channels if c.id == channel and not c.output
        )
        read = {
            name: float(a.read()) for name, a in table.attributes.items() if name in ("raw", "offset", "scale", "input")
        }
        return read.get("input", (read.get("raw", 0.0) + read.get("offset", 0.0)) * read.get("scale", 0.0)) / 1000

    assert 10 < value(PHY, "temp0") < 80  # degrees Celsius
    assert 10 < value("xadc", "temp0") < 80
    assert value("adm1177", "voltage0") == pytest.approx(5.0, abs=0.1)  # volts
    assert 0.2 < value("adm1177", "current0") < 1.0  # amperes
    assert value("xadc", "voltage1") == pytest.approx(1.8, abs=0.05)
    assert 0 < value(PHY, "voltage2") < 1


@pytest.mark.parametrize("name", ["bb_dc_offset_tracking_en", "rf_dc_offset_tracking_en", "quadrature_tracking_en"])
def test_tracking_is_switched_for_all_channels_together(name: str):
    bench = Bench(2)
    assert bench.read(IN, name) == "1"
    assert bench.write(IN, name, "0") == bench.read(("voltage1", False), name) == "0"
    others = {"bb_dc_offset_tracking_en", "rf_dc_offset_tracking_en", "quadrature_tracking_en"} - {name}
    assert {bench.read(IN, other) for other in others} == {"1"}
    assert bench.refuses(IN, name, "maybe")


def test_ports_modes_and_self_tests_are_accepted_as_the_driver_does(bench: Bench):
    assert bench.write(IN, "rf_port_select", "B_BALANCED") == "B_BALANCED"
    assert not bench.pluto.phy.receives  # nothing is plugged in there
    assert bench.write(IN, "rf_port_select", "A_BALANCED") == "A_BALANCED"
    assert bench.write(OUT, "rf_port_select", "B") == "B"
    assert not bench.pluto.phy.transmits
    assert bench.write(OUT, "rf_port_select", "A") == "A"
    assert bench.refuses(IN, "rf_port_select", "A")
    for text, read in (("manual", "manual"), ("rf_dc_offs", "manual"), ("tx_quad 2", "manual"), ("auto", "auto")):
        assert bench.write(None, "calib_mode", text) == read
    assert bench.write(None, "calib_mode", "manual_tx_quad 26") == "manual_tx_quad 26"
    for text in ("1", "2", "0"):
        assert bench.write("debug", "bist_prbs", text) == text
        assert bench.write("debug", "bist_tone", f"{text} 500000 6 0") == text
    assert bench.refuses("debug", "bist_tone", "1")
    assert bench.refuses("debug", "bist_prbs", "1 2")


def test_a_device_that_sleeps_takes_no_other_order(bench: Bench):
    """And neither sends nor receives; in FDD it does again."""
    for text, read in (("alert", "alert"), ("fdd", "fdd"), ("wait", "sleep"), ("pinctrl_fdd_indep", "fdd")):
        assert bench.write(None, "ensm_mode", text) == read
        assert bench.pluto.phy.transmits == bench.pluto.phy.receives == (read == "fdd")
    assert bench.write(None, "ensm_mode", "sleep") == "sleep"
    assert bench.refuses(RX_LO, "frequency", "2300000000")
    assert bench.refuses(IN, "sampling_frequency", "3000000")
    assert bench.refuses(None, "calib_mode", "manual")
    bench.write(None, "ensm_mode", "fdd")
    assert bench.write(RX_LO, "frequency", "2300000000") == "2300000000"


def test_the_temperature_of_the_device_is_read_at_both_sensors():
    """48.5 degrees at the transceiver, to a millidegree, and at the FPGA, to a step of 0.12 degrees."""
    pluto = VirtualPluto("127.0.0.2")
    pluto.phy.temperature_c = 48.5
    assert (
        find_attribute(pluto.tree, Request("READ", "ad9361-phy", "channel", "temp0", False, "input")).read() == "48500"
    )
    raw, offset, scale = (
        float(find_attribute(pluto.tree, Request("READ", "xadc", "channel", "temp0", False, name)).read())
        for name in ("raw", "offset", "scale")
    )
    assert (raw + offset) * scale / 1000 == pytest.approx(48.5, abs=0.062)
