"""Between virtual Plutos: lock step, levels, offsets and loopback, sample for sample."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Mapping

import numpy as np
import pytest

from testbed.air.iiod.context import find_attribute
from testbed.air.iiod.device import RX, TX, VirtualPluto
from testbed.air.iiod.ether import Ether
from testbed.air.iiod.hearing import Hearing
from testbed.air.iiod.protocol import Refused, Request
from testbed.air.medium import Medium
from testbed.config import Air
from testbed.phy.waveform import Waveform

FOREVER = float("inf")
RATE = 1.92e6


class Sum:
    """A medium that adds up."""

    def mix(self, transmitted: Mapping[int, np.ndarray], first_sample: int) -> np.ndarray:
        return sum(transmitted.values())[None]


def request(samples: int, cyclic: bool = False) -> Request:
    return Request("OPEN", number=samples, mask=3, mask_digits=8, cyclic=cyclic)


def here() -> bool:
    return False


class Lab:
    """Some transmitters and one receiver, used as their clients would."""

    def __init__(self, senders: int = 1, patience_s: float = FOREVER, make=lambda rate_hz: Sum()) -> None:
        self.senders = [VirtualPluto(f"127.0.1.{i + 2}") for i in range(senders)]
        self.receiver = VirtualPluto("127.0.0.9")
        self.all = [*self.senders, self.receiver]
        hearing = Hearing(self.receiver, {i: (p, 0) for i, p in enumerate(self.senders)}, make)
        self.ether = Ether(self.all, [hearing], patience_s)
        for pluto in self.all:
            pluto.timeout_s = 10.0
            pluto.phy.clock.fir, pluto.phy.clock.rate_hz = None, int(RATE)
            pluto.phy.tx_lo.frequency_hz = pluto.phy.rx_lo.frequency_hz = 2_400_000_000
            pluto.phy.modes, pluto.phy.rx_gains_db = ["manual"], [40]

    def open_tx(self, i: int, samples: int, cyclic: bool = False):
        return self.ether.open(self.senders[i], TX, request(samples, cyclic))

    def send(self, i: int, buffer, codes: np.ndarray) -> threading.Thread:
        """Push codes block by block, from a thread."""

        def work() -> None:
            for begin in range(0, len(codes), buffer.block_samples):
                block = codes[begin : begin + buffer.block_samples]
                self.ether.push(self.senders[i], buffer, block.astype("<i2").tobytes(), here)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def receive(self, counts: list[int]) -> np.ndarray:
        buffer = self.ether.open(self.receiver, RX, request(max(counts)))
        parts = [self.ether.pull(self.receiver, buffer, count, here) for count in counts]
        self.ether.close(self.receiver, buffer)
        return np.frombuffer(b"".join(parts), "<i2").reshape(-1, 2)


def codes(rng: np.random.Generator, count: int, top: int = 1000) -> np.ndarray:
    """What the DAC's 12 bits of 16 and the ADC's 12 hold exactly: multiples of 16."""
    return rng.integers(-top, top + 1, (count, 2)) * 16


def test_blocks_arrive_in_order_and_whole_whatever_their_sizes(rng):
    """Blocks of 700 sent, others asked for: each sample where it was, so a block rotated by one would be seen."""
    lab = Lab()
    x = codes(rng, 7000)
    buffer = lab.open_tx(0, 700)
    sending = lab.send(0, buffer, x)
    got = lab.receive([1, 699, 1024, 3000, 2276])
    sending.join(5)
    assert np.array_equal(got, x // 8)  # 2^14 for full scale there, 2^11 here


def test_time_waits_for_every_open_transmitter_and_sample_zero_is_common(rng):
    """The second delivers late and in other blocks; both still begin at the receiver's first sample."""
    lab = Lab(senders=2)
    x, y = codes(rng, 2000, 400), codes(rng, 2000, 400)
    first, second = lab.open_tx(0, 500), lab.open_tx(1, 250)
    sending = [lab.send(0, first, x)]
    got: list[np.ndarray] = []
    receiving = threading.Thread(target=lambda: got.append(lab.receive([2000])), daemon=True)
    receiving.start()
    receiving.join(0.2)
    assert lab.ether.position == 0
    sending.append(lab.send(1, second, y))
    receiving.join(5)
    for thread in sending:
        thread.join(5)
    assert np.array_equal(got[0], (x + y) // 8)


def test_time_waits_for_the_receiver(rng):
    """Four blocks find room before anybody listens, and none of them is lost."""
    lab = Lab()
    x = codes(rng, 600)
    buffer = lab.open_tx(0, 100)
    sending = lab.send(0, buffer, x)
    sending.join(0.2)
    assert sending.is_alive()
    assert lab.ether.position == 0
    assert np.array_equal(lab.receive([600]), x // 8)


def test_a_transmitter_that_goes_away_is_silent(rng):
    lab = Lab(senders=2)
    x = codes(rng, 300)
    first, second = lab.open_tx(0, 300), lab.open_tx(1, 300)
    lab.send(0, first, x).join(5)
    lab.ether.close(lab.senders[1], second)
    assert np.array_equal(lab.receive([300]), x // 8)
    lab.ether.close(lab.senders[0], first)
    assert not lab.receive([300]).any()


def test_whoever_is_overdue_is_passed_over_and_it_is_noted(rng):
    """With a patience of 50 ms: zeros for a transmitter without samples, and the status bits of hardware."""
    lab = Lab(patience_s=0.05)
    buffer = lab.open_tx(0, 100)
    x = codes(rng, 100)
    lab.send(0, buffer, x).join(5)
    got = lab.receive([100, 400])
    assert np.array_equal(got, np.concatenate([x // 8, np.zeros((400, 2))]))
    assert lab.senders[0].status[TX] & 1
    idle = lab.ether.open(lab.receiver, RX, request(10))
    lab.send(0, buffer, codes(rng, 1000)).join(5)  # ten blocks leave, though nobody listens
    assert lab.receiver.status[RX] & 4
    lab.ether.close(lab.receiver, idle)


def test_what_a_slow_receiver_loses_is_counted_where_it_is_lost(rng):
    """Three gaps of known length, each behind the samples that were delivered before it; then all is as it was."""
    lab = Lab(patience_s=0.05)
    x = codes(rng, 1000)
    tx, rx = lab.open_tx(0, 100), lab.ether.open(lab.receiver, RX, request(100))
    gaps = find_attribute(lab.receiver.tree, Request("READ", "cf-ad9361-lpc", "debug", attribute="semtb,gaps"))
    assert gaps.read() == str(rx.number)
    passed = 0
    for count in (1, 3, 2):  # blocks of 100 that nobody asks for
        part, x = x[: 100 * (count + 1)], x[100 * (count + 1) :]
        sending = lab.send(0, tx, part)
        while not tx.loaded:  # else a receiver that is faster passes over a transmitter that is overdue
            threading.Event().wait(0.001)
        got = np.frombuffer(lab.ether.pull(lab.receiver, rx, 100, here), "<i2").reshape(-1, 2)
        assert np.array_equal(got, part[:100] // 8)
        sending.join(5)
        passed += len(part)
        for _ in range(500):  # anybody who waits lets time move, once patience with the receiver is over
            with lab.ether._changed:
                lab.ether._advance()
            if lab.ether.position == passed:
                break
            threading.Event().wait(0.01)
    assert gaps.read() == f"{rx.number} 100:100 200:300 300:200"
    lab.ether.close(lab.receiver, rx)
    assert gaps.read() == "none"


def test_a_listener_changes_nothing(rng):
    """One listens all the time. A receiver whose client is connected, and that opens its buffer 0.3 s after the first
    of two transmitters has begun, still hears both from their first samples on."""
    lab = Lab(senders=2, patience_s=0.5)
    listener = VirtualPluto("127.0.0.8")
    ears = [
        Hearing(pluto, {i: (p, 0) for i, p in enumerate(lab.senders)}, lambda rate_hz: Sum())
        for pluto in (lab.receiver, listener)
    ]
    lab.ether = Ether([*lab.senders, lab.receiver, listener], ears, 0.5)
    listener.timeout_s = 10.0
    listener.phy.clock.rate_hz, listener.phy.rx_lo.frequency_hz = int(RATE), 2_400_000_000
    for pluto in (*lab.senders, listener):
        for _ in range(2):
            lab.ether.join(pluto)  # one connection, and one for a buffer
    lab.ether.join(lab.receiver)
    stop = threading.Event()
    ear = lab.ether.open(listener, RX, request(700))

    def listen() -> None:
        with contextlib.suppress(Refused):  # its buffer is closed under it in the end
            while not stop.is_set():
                lab.ether.pull(listener, ear, 700, here)

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    x, y = codes(rng, 2000, 400), codes(rng, 2000, 400)
    buffers = [lab.open_tx(i, 500) for i in (0, 1)]
    sending = [lab.send(0, buffers[0], x)]
    stop.wait(0.15)
    sending.append(lab.send(1, buffers[1], y))
    stop.wait(0.15)
    assert not any(tx.moving for tx in buffers)
    got = lab.receive([2000])
    stop.set()
    for thread in sending:
        thread.join(5)
    lab.ether.close(listener, ear)
    listening.join(5)
    assert np.array_equal(got, (x + y) // 8)


def test_several_clients_share_a_receiver(rng):
    """Each gets every sample that passes while it has its buffer open, in blocks and columns of its own."""
    lab = Lab()
    x = codes(rng, 1200)
    lab.send(0, lab.open_tx(0, 400), x)
    one = lab.ether.open(lab.receiver, RX, request(300))
    two = lab.ether.open(lab.receiver, RX, Request("OPEN", number=400, mask=2, mask_digits=8))  # Q alone
    got: dict[int, bytes] = {}

    def read(key: int, buffer, count: int) -> None:
        got[key] = b"".join(lab.ether.pull(lab.receiver, buffer, count, here) for _ in range(1200 // count))

    readers = [threading.Thread(target=read, args=a, daemon=True) for a in ((0, one, 300), (1, two, 400))]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(5)
    assert np.array_equal(np.frombuffer(got[0], "<i2").reshape(-1, 2), x // 8)
    assert np.array_equal(np.frombuffer(got[1], "<i2"), x[:, 1] // 8)


def test_two_clients_fill_the_channels_of_one_transmitter(rng):
    """2R2T: one sends on the first channel, another on the second, and each is heard where it sends."""
    sender, receiver = VirtualPluto("127.0.1.2", 2), VirtualPluto("127.0.0.9", 2)
    ether = Ether(
        [sender, receiver], [Hearing(receiver, {0: (sender, 0), 1: (sender, 1)}, lambda rate_hz: Wire())], FOREVER
    )
    sender.phy.tx_lo.frequency_hz = receiver.phy.rx_lo.frequency_hz = 2_400_000_000
    receiver.phy.modes, receiver.phy.rx_gains_db = ["manual", "manual"], [40, 40]
    x = codes(rng, 200)
    for half, mask in ((x[:100], 3), (x[100:], 12)):
        tx = ether.open(sender, TX, Request("OPEN", number=100, mask=mask, mask_digits=8))
        ether.push(sender, tx, half.astype("<i2").tobytes(), here)
    rx = ether.open(receiver, RX, Request("OPEN", number=100, mask=15, mask_digits=8))
    got = np.frombuffer(ether.pull(receiver, rx, 100, here), "<i2").reshape(100, 4)
    assert np.array_equal(got, np.concatenate([x[:100], x[100:]], axis=1) // 8)


@pytest.mark.parametrize("opened", [False, True])
def test_the_level_is_live_while_nobody_takes_samples(opened: bool):
    """A cyclic tone, and a receive buffer that is not open or idle: RSSI and AGC follow the transmitter's gain."""
    lab = Lab()
    lab.receiver.phy.modes = ["slow_attack"]
    lab.send(0, lab.open_tx(0, 100, cyclic=True), np.full((100, 2), 8000)).join(5)
    if opened:
        lab.ether.open(lab.receiver, RX, request(100))

    def read(name: str) -> float:
        where = Request("READ", "ad9361-phy", "channel", "voltage0", False, name)
        return float(find_attribute(lab.receiver.tree, where).read().split()[0])

    levels = {}
    for gain_db in (-10, -30):
        lab.senders[0].phy.tx_gains_db = [gain_db]
        levels[gain_db] = read("rssi")
        assert levels[gain_db] == pytest.approx(
            40 - 20 * np.log10(8000 * np.sqrt(2) / 2**14) - (gain_db + 10), abs=0.01
        )
        assert read("hardwaregain") == np.floor(levels[gain_db] - 12)
    lab.senders[0].phy.tx_lo.off = True
    assert read("rssi") == 127.75  # the lowest level that the device tells
    assert lab.ether.position == 0


@pytest.mark.parametrize("tx_db, rx_db, expected", [(-10, 40, 1000), (-30, 40, 100), (-10, 20, 100), (-16, 46, 1000)])
def test_gains_of_both_sides_count(tx_db, rx_db, expected):
    """Power is what the transmitter's attenuation and the receiver's gain make of it."""
    lab = Lab()
    lab.senders[0].phy.tx_gains_db, lab.receiver.phy.rx_gains_db = [tx_db], [rx_db]
    lab.send(0, lab.open_tx(0, 100), np.full((100, 2), 8000)).join(5)
    assert np.array_equal(lab.receive([100]), np.full((100, 2), expected))


class Wire:
    """A medium that does nothing: each user at an antenna of its own."""

    def mix(self, transmitted: Mapping[int, np.ndarray], first_sample: int) -> np.ndarray:
        return np.stack([transmitted[user] for user in sorted(transmitted)])


@pytest.mark.parametrize("tx_db, rx_db", [((-10, -30), (40, 40)), ((-10, -10), (40, 20)), ((-30, -10), (40, 20))])
def test_each_channel_has_gains_of_its_own(tx_db, rx_db):
    """A 2R2T Pluto to another, channel by channel over wires: each level is what its own two gains make of it."""
    sender, receiver = VirtualPluto("127.0.1.2", 2), VirtualPluto("127.0.0.9", 2)
    ether = Ether(
        [sender, receiver], [Hearing(receiver, {0: (sender, 0), 1: (sender, 1)}, lambda rate_hz: Wire())], FOREVER
    )
    sender.phy.tx_lo.frequency_hz = receiver.phy.rx_lo.frequency_hz = 2_400_000_000
    receiver.phy.modes = ["manual", "manual"]
    sender.phy.tx_gains_db, receiver.phy.rx_gains_db = list(tx_db), list(rx_db)
    wanted = Request("OPEN", number=100, mask=15, mask_digits=8)
    tx, rx = ether.open(sender, TX, wanted), ether.open(receiver, RX, wanted)
    ether.push(sender, tx, np.full((100, 4), 8000).astype("<i2").tobytes(), here)
    got = np.frombuffer(ether.pull(receiver, rx, 100, here), "<i2").reshape(100, 4)
    levels = [1000 * 10 ** ((t + 10 + r - 40) / 20) for t, r in zip(tx_db, rx_db, strict=True)]
    assert np.array_equal(got, np.tile(np.round(np.repeat(levels, 2)), (100, 1)))


@pytest.mark.parametrize("tx_db, rx_db", [(-10, 40), (-30, 40), (-10, 20), (-25, 55)])
def test_rssi_is_the_gain_that_full_scale_would_take(tx_db, rx_db):
    """The level of what was received, in dBFS, at the gain that it was received with; 0.2 dB for rounding to the ADC's
    steps."""
    lab = Lab()
    lab.senders[0].phy.tx_gains_db, lab.receiver.phy.rx_gains_db = [tx_db], [rx_db]
    lab.send(0, lab.open_tx(0, 100, cyclic=True), np.full((100, 2), 8000)).join(5)
    level_dbfs = 10 * np.log10(np.mean(np.sum((lab.receive([100]) / 2048.0) ** 2, axis=1)))
    where = Request("READ", "ad9361-phy", "channel", "voltage0", False, "rssi")
    value, unit = find_attribute(lab.receiver.tree, where).read().split()
    assert unit == "dB"
    assert float(value) == pytest.approx(rx_db - level_dbfs, abs=0.2)


def test_the_adc_has_twelve_bits():
    lab = Lab()
    lab.receiver.phy.rx_gains_db = [60]
    lab.send(0, lab.open_tx(0, 100), np.tile([16_000, -16_000], (100, 1))).join(5)
    assert np.array_equal(lab.receive([100]), np.tile([2047, -2048], (100, 1)))


def test_the_dac_has_twelve_bits():
    """The lowest four of 16 do nothing, as an arithmetic shift drops them: for both signs."""
    lab = Lab()
    sent = np.array([[15, -1], [16, -16], [31, -17], [8015, -8001]])
    lab.send(0, lab.open_tx(0, 4), sent).join(5)
    assert np.array_equal(lab.receive([4]), [[0, -2], [2, -2], [2, -4], [1000, -1002]])


def test_an_offset_of_the_oscillators_turns_the_samples(rng):
    """10 kHz between the two LOs, against the phasor's closed form; rounding is all that is left, at most 0.5 LSB."""
    lab = Lab()
    lab.senders[0].phy.tx_lo.frequency_hz += 10_000
    lab.send(0, lab.open_tx(0, 3000), np.tile([8000, 0], (3000, 1))).join(5)
    got = lab.receive([1000, 2000]) @ [1, 1j]
    expected = 1000 * np.exp(2j * np.pi * 10_000 / RATE * np.arange(3000))
    assert np.max(np.abs((got - expected).real)) < 0.51
    assert np.max(np.abs((got - expected).imag)) < 0.51


def test_the_reference_oscillator_moves_the_carrier(rng):
    """A correction of +400 Hz of 40 MHz (10 ppm) is -24 kHz at 2.4 GHz."""
    lab = Lab()
    find_attribute(lab.senders[0].tree, Request("WRITE", "ad9361-phy", attribute="xo_correction")).write("40000400")
    lab.send(0, lab.open_tx(0, 3000), np.tile([8000, 0], (3000, 1))).join(5)
    got = lab.receive([3000]) @ [1, 1j]
    slope = np.angle(np.vdot(got[:-1], got[1:])) / (2 * np.pi) * RATE
    assert slope == pytest.approx(-2.4e9 * 1e-5, rel=1e-3)


@pytest.mark.parametrize("change", ["powerdown", "other band", "other rate"])
def test_what_is_not_received_is_not_received(change):
    lab = Lab()
    phy = lab.senders[0].phy
    if change == "powerdown":
        phy.tx_lo.power_down("1")
    elif change == "other band":
        phy.tx_lo.frequency_hz = 2_402_000_000
    else:
        phy.clock.rate_hz = 3_840_000
    lab.send(0, lab.open_tx(0, 100), np.full((100, 2), 8000)).join(5)
    assert not lab.receive([100]).any()


def test_digital_loopback_is_exact_and_knows_no_medium(rng):
    """rx = tx >> 4 for any int16, with an arithmetic shift, while other Plutos go their own way."""
    lab = Lab()
    lab.receiver.loopback = 1
    x = rng.integers(-32_768, 32_768, (5000, 2))
    lab.receiver.phy.rx_gains_db, lab.receiver.phy.tx_gains_db = [0], [-80]
    buffer = lab.ether.open(lab.receiver, TX, request(1000))
    lab.senders.append(lab.receiver)
    lab.open_tx(0, 100)  # another one that has nothing to send
    sending = lab.send(1, buffer, x)
    assert np.array_equal(lab.receive([1000, 4000]), x >> 4)
    sending.join(5)


def test_a_cyclic_buffer_repeats_without_a_seam(rng):
    lab = Lab()
    x = codes(rng, 300)
    buffer = lab.open_tx(0, 300, cyclic=True)
    lab.send(0, buffer, x).join(5)
    assert np.array_equal(lab.receive([700, 501]), np.tile(x, (5, 1))[:1201] // 8)
    with pytest.raises(Refused) as refused:
        lab.ether.push(lab.senders[0], buffer, bytes(1200), here)
    assert refused.value.number == errno.EBUSY


def test_the_tone_generators_play_when_no_buffer_is_open():
    """F1 of I at 90 degrees and of Q at 0 is a positive complex tone, against its closed form."""
    lab = Lab()
    pluto = lab.senders[0]
    for name, phase in (("TX1_I_F1", "90000"), ("TX1_Q_F1", "0")):
        for attribute, value in (("frequency", "30000"), ("phase", phase), ("scale", "0.25")):
            where = Request("WRITE", TX, "channel", name, True, attribute)
            find_attribute(pluto.tree, where).write(value)
    got = lab.receive([2000]) @ [1, 1j]
    expected = 0.25 * 32_767 / 8 * np.exp(2j * np.pi * 30_000 / RATE * np.arange(2000))
    assert np.max(np.abs(got - expected)) < 2.5  # the DAC's lowest 4 bits are not used: 16 / 8 = 2 LSB each way
    find_attribute(pluto.tree, Request("WRITE", TX, "channel", "TX1_I_F1", True, "raw")).write("0")
    assert not lab.receive([100]).any()


def test_a_medium_gives_what_it_gives_without_plutos(rng):
    """TDL-A with offsets and noise: after 12 bits the error is that of rounding, 1/12 LSB^2 each for I and Q."""
    air = Air(snr_db=20.0)
    lab = Lab(make=lambda rate_hz: Medium(Waveform(), air, [0], 1, 3))
    x = codes(rng, 9600, 200)
    lab.receiver.phy.rx_gains_db = [40]
    sending = lab.send(0, lab.open_tx(0, 1200), x)
    got = lab.receive([500, 9100]) @ [1, 1j]
    sending.join(5)
    direct = Medium(Waveform(), air, [0], 1, 3).mix((x @ [1, 1j] / 2**14).astype(np.complex64)[None], 0)[0] * 2048
    assert np.mean(np.abs(got - direct) ** 2) == pytest.approx(2 / 12, rel=0.05)


def test_agc_brings_any_level_to_its_target():
    """Within the dB that gains come in, for levels 40 dB apart; and the gain it took reads back."""
    for level in (80, 8000):
        lab = Lab()
        lab.receiver.phy.modes = ["slow_attack"]
        lab.send(0, lab.open_tx(0, 1000), np.full((1000, 2), level)).join(5)
        rms_dbfs = 10 * np.log10(np.mean(np.sum((lab.receive([1000]) / 2048) ** 2, axis=1)))
        assert -13.3 < rms_dbfs <= -11.7
