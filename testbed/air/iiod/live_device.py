"""One virtual Pluto in real pace: from DAC codes to what leaves its antennas, and from what arrives to ADC codes."""

from __future__ import annotations

import logging
import math
import time

import msgspec
import numpy as np

from testbed.air.front_end import ReceiveChain, TransmitChain
from testbed.air.iiod._kernels import adc, dac
from testbed.air.iiod.analogue import MEMORY, Filter
from testbed.air.iiod.buffers import DmaBuffer, Opened, joined
from testbed.air.iiod.device import ADC_OVERFLOW, DAC_UNDERFLOW, RX, TX, VirtualPluto
from testbed.air.iiod.frontend import RX_FULL_SCALE, TX_FULL_SCALE, UNITY_RX_GAIN_DB, UNUSED_DAC_BITS, control_gain
from testbed.air.iiod.phy import XO_HZ, Phy
from testbed.air.port_status import PortMeter
from testbed.air.world import Tuning, World
from testbed.config import FrontEnd, RadioModel

CORRECTED = 0.05  # of a fault is left where the device tracks or calibrates it itself: 26 dB less
SETTLING = 64 + MEMORY  # samples that filters, those of the world too, spoil where a receiver begins to listen
NOISE = 1 << 16  # spawn key of receivers' noise; 0 and up belong to `testbed.air.medium` and the world

log = logging.getLogger(__name__)


class LiveDevice:
    """What one device does with a stretch of time.

    Parameters
    ----------
    pluto : VirtualPluto
    model : RadioModel
        Its name is that of its station in the world.
    noise_mw : float
        At each antenna, where the front end has no noise figure.
    seed, number : int
        Of its noise.
    """

    def __init__(self, pluto: VirtualPluto, model: RadioModel, noise_mw: float, seed: int, number: int) -> None:
        self.pluto, self.model, self.name = pluto, model, model.name
        self.probed = False  # somebody wants to know the level
        self.measured_s = -math.inf
        self.passed = 0  # samples, while a receive buffer was open
        channels = range(pluto.channels)
        self.transmitters = [PortMeter(f"{self.name}.tx{c + 1}", "tx") for c in channels]
        self.receivers = [PortMeter(f"{self.name}.rx{c + 1}", "rx") for c in channels]
        self._noise_mw, self._seed, self._number = noise_mw, seed, number
        self._tuning: Tuning | None = None
        self._transmitted = self._received = 0  # samples that have passed
        self._filters = {side: Filter(side, pluto.channels) for side in ("tx", "rx")}
        self._heard = -1  # behind the last sample that was taken in: what follows on it needs no settling
        self._settling = 0  # samples that are still spoilt
        self._gains_db = [0.0] * pluto.channels  # with which the filter's past was received
        self._starving = False
        self._loop = np.zeros((0, 2 * pluto.channels), dtype=np.int16)
        self._taking: list[tuple[DmaBuffer, int]] = []  # open when the step began, with the room that there was
        self._chains: tuple[tuple[object, ...], TransmitChain, ReceiveChain] | None = None

    @property
    def buffers(self) -> list[Opened]:
        """All that are open."""
        return [*self.pluto.tx_buffers, *self.pluto.rx_buffers]

    @property
    def listens(self) -> bool:
        """Whether anybody wants what it receives."""
        return self.probed or bool(self.pluto.rx_buffers)

    @property
    def tuning(self) -> Tuning:
        """What a client has set of its clock and oscillators."""
        pluto = self.pluto
        return Tuning(
            tx_rate_hz=int(pluto.rate_hz(TX)),
            rx_rate_hz=int(pluto.rate_hz(RX)),
            tx_lo_hz=float(pluto.phy.tx_lo.frequency_hz),
            rx_lo_hz=float(pluto.phy.rx_lo.frequency_hz),
            correction_ppm=(XO_HZ / pluto.phy.xo_hz - 1) * 1e6,
        )

    def follow(self, world: World) -> None:
        """Tell the world what the client has set since."""
        tuning = self.tuning
        before, self._tuning = self._tuning, tuning
        if tuning == before:
            return
        world.tune(self.name, tuning)
        if before is None or (before.rx_rate_hz, before.rx_lo_hz) != (tuning.rx_rate_hz, tuning.rx_lo_hz):
            self._heard = -1  # what filters remember is of another band

    def take(self, count: int, grace_s: float) -> np.ndarray | None:
        """[count, columns] int16 of what the DAC gets in a stretch of time; None is silence."""
        pluto = self.pluto
        self._taking = [(rx, rx.room) for rx in pluto.rx_buffers]
        if not pluto.tx_buffers:
            self._starving = False
            return pluto.dds.codes(self._transmitted, count)
        parts = []
        for tx in pluto.tx_buffers:
            if not tx.loaded and not tx.moving:
                continue  # it has not begun
            missing = 0 if tx.cyclic else max(0, count - tx.samples)
            if missing:
                self._starve(missing)
            elif self._starving and count:
                self._starving = False
                log.info("%s transmits again", self.name)
            if tx.loaded and count:
                parts.append((tx, tx.pop(count)))
            if not tx.loaded and math.isinf(tx.stalled_s):
                tx.stalled_s, tx.grace_s = time.monotonic(), grace_s
        return joined(parts)

    def drop(self, count: int, at_once: int) -> None:
        """So many samples leave of which nothing is heard, a part of them at once."""
        self._taking = [(rx, 0) for rx in self.pluto.rx_buffers]
        self._transmitted += count
        for begin in range(0, count if self.pluto.tx_buffers else 0, at_once):
            self.take(min(at_once, count - begin), 0.0)
        self._filters["tx"].forget()

    def _starve(self, missing: int) -> None:
        self.pluto.status[TX] |= DAC_UNDERFLOW
        for meter in self.transmitters:
            meter.miss(missing)
        if not self._starving:
            log.info("%s starves: silence goes out in place of samples that are not there", self.name)
        self._starving = True

    def transmit(self, codes: np.ndarray | None, count: int) -> np.ndarray | None:
        """What leaves the antennas meanwhile.

        Parameters
        ----------
        codes : [count, columns] int16 or None
            As `take` returned them.
        count : int

        Returns
        -------
        [channels, count] complex64 or None
            In the square root of milliwatts; None is silence.
        """
        pluto, phy = self.pluto, self.pluto.phy
        self._transmitted += count
        silent = codes is None and self.model.front_end.tx_leakage_dbfs is None
        if silent or not phy.transmits or pluto.loopback == 1 or not count:
            self._filters["tx"].forget()
            return None
        x = np.zeros((pluto.channels, count), dtype=np.complex64)
        if codes is not None:
            for channel, meter in enumerate(self.transmitters):
                scale = np.float32(1 / TX_FULL_SCALE)
                energy, clipped = dac(codes, channel, -1 << UNUSED_DAC_BITS, scale, x[channel])
                meter.add(count, energy / TX_FULL_SCALE**2, clipped)
        fir = phy.clock.fir if phy.clock.tx_enabled else None
        x = self._filters["tx"].pass_through(x, pluto.rate_hz(TX), phy.bandwidth_hz["tx"], fir)
        return self._chain()[0].transmit(x, [float(gain) for gain in phy.tx_gains_db])

    def receive(self, y: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
        """ADC codes; keeps levels and runs the AGC, which sets the gain for the next stretch.

        Parameters
        ----------
        y : [channels, n] complex64
            At the antennas, in the square root of milliwatts.
        codes : [m, columns] int16 or None
            What its own DAC got meanwhile, for the digital loopback.

        Returns
        -------
        [n, columns] int16
        """
        pluto, phy = self.pluto, self.pluto.phy
        count = y.shape[1]
        out = np.zeros((count, 2 * pluto.channels), dtype=np.int16)
        if pluto.loopback == 1:
            return self._looped(codes, out)
        if not phy.receives or not count:
            return out
        gains_db = [float(phy.rx_gain_db(channel)) for channel in range(pluto.channels)]
        x = self._chain()[1].receive(y, self._received, gains_db)
        self._filters["rx"].scale([new - old for new, old in zip(gains_db, self._gains_db, strict=True)])
        self._gains_db = gains_db
        if self._heard != self._received:
            self._filters["rx"].forget()
            self._settling = SETTLING
        self._heard = self._received + count
        fir = phy.clock.fir if phy.clock.rx_enabled else None
        x = self._filters["rx"].pass_through(x, pluto.rate_hz(RX), phy.bandwidth_hz["rx"], fir)
        top = np.float32(RX_FULL_SCALE)
        for channel, meter in enumerate(self.receivers):
            energy, converted, clipped = adc(x[channel], top, top, channel, out)
            meter.add(count, converted / RX_FULL_SCALE**2, clipped)
            power = energy / count / RX_FULL_SCALE**2 + 1e-20
            phy.rssi_db[channel] = gains_db[channel] - 10 * math.log10(power)
            if phy.modes[channel] != "manual":
                control_gain(pluto, channel, power * 10 ** ((UNITY_RX_GAIN_DB - gains_db[channel]) / 10))
        self.measured_s = time.monotonic()
        return out

    def _looped(self, codes: np.ndarray | None, out: np.ndarray) -> np.ndarray:
        """The DAC's 12 bits stand at the top of 16, the ADC's at the bottom."""
        if codes is not None:
            self._loop = np.concatenate([self._loop, codes >> UNUSED_DAC_BITS])
        part, self._loop = self._loop[: len(out)], self._loop[len(out) :]
        out[: len(part)] = part
        return out

    def deliver(self, codes: np.ndarray | None, count: int, grace_s: float) -> None:
        """Hand ``count`` samples to the buffers that were open when the step began; what found no room then is lost.

        So a client that sets something and then makes room, or opens a buffer, gets nothing from before.
        """
        self._received += count
        self.passed += count if self._taking else 0
        self.probed = False
        begin = min(self._settling, count)
        self._settling -= begin
        for rx, room in self._taking:
            if rx not in self.pluto.rx_buffers:
                continue
            taken = 0 if codes is None else min(room, count - begin)
            lost = begin if rx.delivered or rx.gaps else 0
            if lost:
                rx.lose(lost)
            if taken and codes is not None:
                rx.push(codes[begin : begin + taken])
            if not rx.room and math.isinf(rx.stalled_s):
                rx.stalled_s, rx.grace_s = time.monotonic(), grace_s
            if begin + taken < count:
                rx.lose(count - begin - taken)
                lost += count - begin - taken
            if lost:
                self.pluto.status[RX] |= ADC_OVERFLOW
                for meter in self.receivers:
                    meter.lose(lost)

    def _chain(self) -> tuple[TransmitChain, ReceiveChain]:
        """Both front ends as they are with what the device corrects itself."""
        phy = self.pluto.phy
        key = (self.pluto.rate_hz(RX), phy.tx_calibrated, *phy.tracking.values())
        if self._chains is None or self._chains[0] != key:
            front_end = corrected(self.model.front_end, phy)
            channels = self.pluto.channels
            noise = (self._noise_mw, self._seed, (NOISE, self._number))
            self._chains = (
                key,
                TransmitChain(front_end, channels),
                ReceiveChain(front_end, channels, self.pluto.rate_hz(RX), *noise),
            )
        return self._chains[1:]


def corrected(front_end: FrontEnd, phy: Phy) -> FrontEnd:
    """What is left of a front end's faults where the device tracks (receiver) or calibrated (transmitter) them itself.

    Parameters
    ----------
    front_end : FrontEnd
    phy : Phy

    Returns
    -------
    FrontEnd
    """
    changes: dict[str, float] = {}
    lower_db = 20 * math.log10(CORRECTED)
    if phy.tracking["quadrature_tracking_en"]:
        changes |= {key: CORRECTED * getattr(front_end, key) for key in ("rx_iq_gain_db", "rx_iq_phase_deg")}
    tracks_dc = phy.tracking["bb_dc_offset_tracking_en"] or phy.tracking["rf_dc_offset_tracking_en"]
    if front_end.rx_dc_dbfs is not None and tracks_dc:
        changes["rx_dc_dbfs"] = max(front_end.rx_dc_dbfs + lower_db, -150.0)
    if phy.tx_calibrated:
        changes |= {key: CORRECTED * getattr(front_end, key) for key in ("tx_iq_gain_db", "tx_iq_phase_deg")}
        if front_end.tx_leakage_dbfs is not None:
            changes["tx_leakage_dbfs"] = max(front_end.tx_leakage_dbfs + lower_db, -150.0)
    return msgspec.structs.replace(front_end, **changes)
