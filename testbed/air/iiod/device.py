"""A virtual Pluto: the tree of its attributes and the buffers that are open. Samples move in `ether`."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Callable
from typing import Any

from testbed.air.iiod import context, phy_tree
from testbed.air.iiod.buffers import BLOCKS, TxBuffer
from testbed.air.iiod.context import Attribute, Channel, Device, fixed, shared
from testbed.air.iiod.dds import Dds
from testbed.air.iiod.phy import Phy, decimal, integer
from testbed.air.iiod.protocol import Refused

PHY, XADC, POWER = "ad9361-phy", "xadc", "adm1177"
TX, RX = "cf-ad9361-dds-core-lpc", "cf-ad9361-lpc"
MODELS = {1: "ad9363a", 2: "ad9361"}  # a stock Pluto has one channel each way; two need the AD9361's configuration
STATUS_REGISTER = 0x80000088
ADC_OVERFLOW, DAC_UNDERFLOW = 1 << 2, 1 << 0
PACE_FACT = "semtb,pace"  # a context attribute: whether time waits for this device's clients, always or for a while
TX_STATE = "semtb,transmitter"  # a debug attribute that hardware has not: whether anything leaves, and why
GAPS = "semtb,gaps"  # a debug attribute that hardware has not: which samples a slow client lost
NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}")  # of a register or its value
FIRMWARE = "v0.38"

log = logging.getLogger(__name__)


class VirtualPluto:
    """One device.

    Parameters
    ----------
    address : str
        Where it will be served; it is part of the context's description.
    channels : int
        1 (1R1T, as sold) or 2 (2R2T).
    """

    def __init__(self, address: str, channels: int = 1) -> None:
        self.address = address
        self.channels = channels
        self.phy = Phy(MODELS[channels], channels)
        self.dds = Dds(channels)
        self.tx_buffers: list[TxBuffer] = []  # of several clients, as iiod shares them
        self.rx_buffers: list[Any] = []  # of the kind that the pace of its air wants
        self.clients = 0  # connections; each open buffer is one of them
        self.blocks = {TX: BLOCKS, RX: BLOCKS}
        self.divided = {TX: False, RX: False}  # FPGA interpolation or decimation by 8
        self.status = {PHY: 0, TX: 0, RX: 0}
        self.loopback = 0
        self.self_tests = {"bist_prbs": 0, "bist_tone": 0}
        self.pace = "patient"  # or "lock-step", or "realtime": set by the ether
        self.timeout_s = 2.5  # half of a client's default of 5 s
        self.rx_overdue: Callable[[], bool] = lambda: False  # set by the ether
        self.tree = [self._phy(), self._xadc(), self._core(TX, "iio:device2"), self._core(RX, "iio:device3")]
        self.tree.append(self._power())

    @property
    def buffers(self) -> int:
        """How many are open."""
        return len(self.tx_buffers) + len(self.rx_buffers)

    @property
    def has_idle_client(self) -> bool:
        """Whether some client is connected that has no buffer open: each has a connection besides those of buffers."""
        return self.clients - self.buffers > self.buffers

    def xml(self) -> str:
        """The context as a client sees it."""
        kernel = "5.15.0-semtb"
        facts = {
            "hw_model": f"Analog Devices PlutoSDR Rev.C (Z7010-{self.phy.model.upper()}), virtual",
            "hw_model_variant": "0",
            "hw_serial": "5e3b" + self.address.replace(".", "").rjust(12, "0"),
            "fw_version": FIRMWARE,
            "ad9361-phy,xo_correction": str(self.phy.xo_hz),
            "ad9361-phy,model": self.phy.model,
            "local,kernel": kernel,
            "uri": f"ip:{self.address}",
            "ip,ip-addr": self.address,
            PACE_FACT: self.pace,
        }
        return context.xml(self.tree, facts, f"{self.address} Linux pluto {kernel} virtual, by semtb")

    def rate_hz(self, side: str) -> float:
        """Samples a second of one core's buffers."""
        return self.phy.clock.rate_hz / (8 if self.divided[side] else 1)

    def core(self, name: str) -> Device:
        """TX or RX."""
        return self.tree[2] if name == TX else self.tree[3]

    def _rate(self, side: str) -> tuple[Attribute, Attribute]:
        """``sampling_frequency`` of a core, full or an eighth, and its list."""

        def write(text: str) -> None:
            full, wanted = self.phy.clock.rate_hz, int(decimal(text))
            if wanted not in (full, full // 8):
                raise Refused(errno.EINVAL)
            self.divided[side] = wanted != full

        def offered() -> str:
            return f"{self.phy.clock.rate_hz} {self.phy.clock.rate_hz // 8} "

        return Attribute(lambda: str(int(self.rate_hz(side))), write), Attribute(offered)

    def _core(self, name: str, key: str) -> Device:
        """A core with its sample channels; TX has the tone generators too."""
        rate, available = self._rate(name)
        table = shared({"sampling_frequency": rate, "sampling_frequency_available": available})
        table |= {"calibphase": fixed("0.000000"), "calibscale": fixed("1.000000")}
        if name == RX:
            table["calibbias"] = fixed("0")
        form = "le:S16/16>>0" if name == TX else "le:S12/16>>0"
        channels = [Channel(f"voltage{i}", name == TX, table, scan=form) for i in range(2 * self.channels)]
        if name == TX:
            channels += [self.dds.channel(i, rate) for i in range(4 * self.channels)]
        buffer = {"data_available": fixed("0"), "length_align_bytes": fixed("8"), "watermark": fixed("2048")}
        debug = {"direct_reg_access": self._register(name)}
        debug |= {GAPS: Attribute(self._gaps)} if name == RX else {TX_STATE: Attribute(self._transmitter)}
        return Device(key, name, channels, debug=debug, buffer=buffer)

    def _transmitter(self) -> str:
        """``on`` or ``off``, then what decides it."""
        gains = ",".join(f"{gain:.2f}" for gain in self.phy.tx_gains_db)
        return (
            f"{'on' if self.phy.transmits else 'off'} powerdown {int(self.phy.tx_lo.off)} gain_db {gains} "
            f"buffers {len(self.tx_buffers)} samples {sum(tx.samples for tx in self.tx_buffers)}"
        )

    def _gaps(self) -> str:
        """Of each open buffer its number, then ``DELIVERED:LOST`` for each gap, in samples since it opened.

        Numbers grow, so whoever opens a buffer and then looks has the highest.
        """
        lists = [(rx.number, *(f"{delivered}:{lost}" for delivered, lost in tuple(rx.gaps))) for rx in self.rx_buffers]
        return ", ".join(" ".join(map(str, words)) for words in lists) or "none"

    def _register(self, side: str) -> Attribute:
        """``direct_reg_access``: an address selects, an address and a value write; 0x80000088 holds the status bits."""
        selected = [0]

        def read() -> str:
            if selected[0] != STATUS_REGISTER:
                return "0x0"
            if side == RX and self.rx_overdue():
                self.status[RX] |= ADC_OVERFLOW
            return f"0x{self.status[side]:X}"

        def write(text: str) -> None:
            words = text.split()
            if len(words) not in (1, 2) or not all(NUMBER.fullmatch(word) for word in words):
                raise Refused(errno.EINVAL)
            selected[0], *value = (int(word, 0) if word[:2] in ("0x", "0X") else int(word) for word in words)
            if value and selected[0] == STATUS_REGISTER:
                self.status[side] &= ~value[0]

        return Attribute(read, write)

    def _phy(self) -> Device:
        def write_loopback(text: str) -> None:
            mode = integer(text)
            if mode > 2:
                raise Refused(errno.EINVAL)
            if mode == 2:
                log.warning("%s: loopback 2 (FPGA, RX to TX) is accepted and transmits nothing", self.address)
            self.loopback = mode

        debug = {
            "loopback": Attribute(lambda: str(self.loopback), write_loopback),
            "bist_prbs": self._self_test("bist_prbs", 1),
            "bist_tone": self._self_test("bist_tone", 4),
            "bist_timing_analysis": fixed("0"),
            "adi,2rx-2tx-mode-enable": fixed(str(int(self.channels == 2))),
            "direct_reg_access": self._register(PHY),
        }
        return Device("iio:device0", PHY, phy_tree.channels(self.phy), phy_tree.attributes(self.phy), debug)

    def _self_test(self, name: str, numbers: int) -> Attribute:
        """A test signal's mode; ``bist_tone`` wants its frequency, level and mask too."""

        def write(text: str) -> None:
            words = text.split()
            if len(words) != numbers or not all(NUMBER.fullmatch(word) for word in words):
                raise Refused(errno.EINVAL)
            self.self_tests[name] = int(words[0], 0) if "x" in words[0].lower() else int(words[0])
            if self.self_tests[name]:
                log.warning("%s: %s %s is accepted and injects no signal", self.address, name, text)

        return Attribute(lambda: str(self.self_tests[name]), write)

    def _xadc(self) -> Device:
        """The FPGA's own converter: 0.73 mV a step of supplies, at which a device at rest was read."""
        supplies = {"vccint": "1387", "vccaux": "2455", "vccbram": "1383", "vccpint": "1387", "vccpaux": "2453"}
        supplies |= {"vccoddr": "1832", "vrefp": "1694", "vrefn": "-7"}
        channels = [
            Channel(f"voltage{i}", False, {"raw": fixed(raw), "scale": fixed("0.732421875")}, name)
            for i, (name, raw) in enumerate(supplies.items())
        ]
        channels.append(Channel("voltage8", False, {"raw": fixed("3675"), "scale": fixed("0.244140625")}))
        offset, step_mdeg = -2219, 123.040771484
        raw = Attribute(lambda: str(round(self.phy.temperature_c * 1000 / step_mdeg) - offset))
        heat = {"offset": fixed(str(offset)), "raw": raw, "scale": fixed(str(step_mdeg))}
        channels.append(Channel("temp0", False, heat))
        return Device("iio:device1", XADC, channels, {"sampling_frequency": fixed("961538")})

    @staticmethod
    def _power() -> Device:
        """Voltage and current of the USB supply: 5.0 V, 443 mA."""
        voltage = {"raw": fixed("776"), "scale": fixed("6.433105468")}
        current = {"raw": fixed("858"), "scale": fixed("0.516601562")}
        return Device("iio:device4", POWER, [Channel("voltage0", False, voltage), Channel("current0", False, current)])
