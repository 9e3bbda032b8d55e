"""Front ends against closed forms, with stated confidence where there is noise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from testbed.air.front_end import ReceiveChain, TransmitChain, gain_error_db, iq_imbalance, quantise
from testbed.air.power import (
    RX_FULL_SCALE_DBM,
    TX_FULL_SCALE_DBM,
    UNITY_PATH_LOSS_DB,
    UNITY_RX_GAIN_DB,
    UNITY_TX_GAIN_DB,
    gain_of_loss,
    path_amplitude,
    power_dbm,
    thermal_noise_mw,
    unity_noise_mw,
)
from testbed.config import FrontEnd

RATE = 1_920_000
N = 4096
BIN = 371


def tone(bin_: int = BIN, amplitude: float = 0.25) -> np.ndarray:
    return (amplitude * np.exp(2j * np.pi * bin_ * np.arange(N) / N)).astype(np.complex64)[None]


def line_db(y: np.ndarray, bin_: int) -> float:
    """Power of one spectral line."""
    return float(20 * np.log10(np.abs(np.fft.fft(y[0])[bin_]) / N + 1e-12))


def receiver(antennas: int = 1, noise_mw: float = 0.0, **front_end) -> ReceiveChain:
    return ReceiveChain(FrontEnd(**front_end), antennas, RATE, noise_mw, 1, (9,))


def received(chain: ReceiveChain, y: np.ndarray, gain_db: float = RX_FULL_SCALE_DBM) -> np.ndarray:
    return chain.receive(y, 0, [gain_db] * chain.antennas)


@pytest.mark.parametrize(("gain_db", "phase_deg"), [(0.5, 2.0), (-1.0, 0.0), (0.0, -5.0), (0.05, 0.3)])
@pytest.mark.parametrize("side", ["rx", "tx"])
def test_the_image_lies_where_the_imbalance_puts_it(side, gain_db, phase_deg):
    """|b/a|^2 = (g^2 + 1 - 2 g cos) / (g^2 + 1 + 2 g cos), to 0.05 dB: 0.1 dB is asked for."""
    fields = {f"{side}_iq_gain_db": gain_db, f"{side}_iq_phase_deg": phase_deg}
    y = (
        received(receiver(**fields), tone())
        if side == "rx"
        else TransmitChain(FrontEnd(**fields), 1).transmit(tone(), [0])
    )
    g, cos = 10 ** (gain_db / 20), np.cos(np.deg2rad(phase_deg))
    expected_db = 10 * np.log10((g * g + 1 - 2 * g * cos) / (g * g + 1 + 2 * g * cos))
    assert line_db(y, -BIN) - line_db(y, BIN) == pytest.approx(expected_db, abs=0.05)
    a, b = iq_imbalance(gain_db, phase_deg)
    assert 20 * np.log10(abs(b / a)) == pytest.approx(expected_db, abs=1e-9)


def test_the_gain_of_i_over_q_and_the_lean_of_q():
    """Re and Im by the mixer's own equation, not by a and b; a chain's phase is the antenna's."""
    x, turn = np.array([[1.0, 1j]], np.complex64), np.exp(1j * np.deg2rad(25.0))
    rho, sine, cosine = 10 ** (2.0 / 40), np.sin(np.deg2rad(10)), np.cos(np.deg2rad(10))

    def mixed(u):
        return rho * u.real + 1j * (u.imag * cosine + u.real * sine) / rho

    y = received(receiver(rx_iq_gain_db=2.0, rx_iq_phase_deg=10.0, rx_chain_phase_deg=[25.0]), x)[0]
    assert y == pytest.approx(mixed(x[0] * turn), abs=1e-6)
    sender = TransmitChain(FrontEnd(tx_iq_gain_db=2.0, tx_iq_phase_deg=10.0, tx_chain_phase_deg=[25.0]), 1)
    assert sender.transmit(x, [-TX_FULL_SCALE_DBM])[0] == pytest.approx(mixed(x[0]) * turn, abs=1e-6)


def test_levels_are_absolute():
    """DAC full scale is 7 dBm at 0 dB, a path of 30 dB and unity gains bring it to ADC full scale: 0.05 dB."""
    sent = TransmitChain(FrontEnd(), 1).transmit(tone(amplitude=1.0), [UNITY_TX_GAIN_DB])
    assert power_dbm(sent[0]) == pytest.approx(TX_FULL_SCALE_DBM + UNITY_TX_GAIN_DB, abs=0.05)
    arrived = sent * np.float32(path_amplitude(UNITY_PATH_LOSS_DB))
    y = received(receiver(), arrived, UNITY_RX_GAIN_DB)
    assert line_db(y, BIN) == pytest.approx(0.0, abs=0.05)
    assert gain_of_loss(UNITY_PATH_LOSS_DB) == 0
    assert 10 * np.log10(unity_noise_mw(0.01)) == pytest.approx(RX_FULL_SCALE_DBM - UNITY_RX_GAIN_DB - 20)


def test_offsets_and_leakage_stand_where_they_are_set():
    """DC of the receiver in dBFS at any gain; leakage under full scale at the gain in force; phases to 0.1 degree."""
    chain = receiver(rx_dc_dbfs=-35.0, rx_dc_phase_deg=50.0)
    for gain_db in (0.0, 40.0):
        dc = np.mean(received(chain, tone() * np.float32(1e-3), gain_db))
        assert 20 * np.log10(abs(dc)) == pytest.approx(-35.0, abs=0.05)
        assert np.rad2deg(np.angle(dc)) == pytest.approx(50.0, abs=0.1)
    leaking = TransmitChain(FrontEnd(tx_leakage_dbfs=-45.0, tx_leakage_phase_deg=-70.0), 1)
    silence = np.zeros((1, N), np.complex64)
    for gain_db in (0.0, -20.0):
        leak = np.mean(leaking.transmit(silence, [gain_db]))
        assert 20 * np.log10(abs(leak)) == pytest.approx(TX_FULL_SCALE_DBM + gain_db - 45.0, abs=0.05)
        assert np.rad2deg(np.angle(leak)) == pytest.approx(-70.0, abs=0.1)


def test_each_chain_has_its_gain_and_phase_and_each_setting_its_error():
    table = [(-20.0, 1.0), (0.0, -1.0)]
    front_end = FrontEnd(
        tx_chain_gain_db=[0.0, -2.0], tx_chain_phase_deg=[0.0, 30.0], tx_gain_error_db=table, rx_gain_error_db=table
    )
    pair = np.concatenate([tone(), tone()])
    y = TransmitChain(front_end, 2).transmit(pair, [-10.0, -15.0])
    assert 20 * np.log10(np.abs(y[1] / y[0])) == pytest.approx(-5.0 + 0.5 - 2.0, abs=1e-3)
    assert np.rad2deg(np.angle(y[1] / y[0])) == pytest.approx(30.0, abs=1e-3)
    assert [gain_error_db(table, s) for s in (-30, -20, -10, 0, 10)] == [1, 1, 0, -1, -1]
    chain = ReceiveChain(front_end, 1, RATE, 0.0, 1, (9,))
    assert line_db(received(chain, tone(), -20.0), BIN) == pytest.approx(
        -12.04 - RX_FULL_SCALE_DBM - 20.0 + 1.0, abs=0.01
    )


@pytest.mark.parametrize("smoothness", [1.0, 2.0, 3.5])
def test_compression_follows_rapp(smoothness):
    """AM/AM at 40 levels from -20 dB to +15 dB about P1dB: 0.01 dB; the phase stays; at P1dB the gain is 1 dB less."""
    p1db_dbm = -3.0
    chain = TransmitChain(FrontEnd(p1db_dbm=p1db_dbm, rapp_smoothness=smoothness), 1)
    driven_dbm = p1db_dbm + np.linspace(-20, 15, 40)
    x = (10 ** ((driven_dbm - TX_FULL_SCALE_DBM) / 20) * np.exp(1j * np.arange(40))).astype(np.complex64)
    y = chain.transmit(x[None], [0.0])[0]
    r = 10 ** ((driven_dbm - p1db_dbm - 1) / 20)  # drive over that which gives P1dB
    expected_dbm = driven_dbm - 10 / smoothness * np.log10(1 + (10 ** (smoothness / 10) - 1) * r ** (2 * smoothness))
    np.testing.assert_allclose(20 * np.log10(np.abs(y)), expected_dbm, atol=0.01)
    assert np.abs(np.angle(y / x)).max() < 1e-6
    at = (10 ** ((p1db_dbm + 1 - TX_FULL_SCALE_DBM) / 20) * np.ones((1, 1))).astype(np.complex64)
    assert power_dbm(chain.transmit(at, [0.0])[0]) == pytest.approx(p1db_dbm, abs=0.01)


@pytest.mark.parametrize("bits", [10, 12])
def test_converters_leave_the_noise_of_their_bits(bits):
    """SQNR of a sine that nearly fills the converter is 6.02 B + 1.76 dB: to 0.1 dB, over 2e5 samples."""
    amplitude = 1 - 2.0**-bits - 2.0 ** (1 - bits)  # its peaks are not clipped
    x = (amplitude * np.exp(2j * np.pi * 0.1234567 * np.arange(200_000))).astype(np.complex64)
    y = receiver(bits=bits).receive(x[None], 0, [RX_FULL_SCALE_DBM])[0]
    sqnr_db = 10 * np.log10(amplitude**2 / np.mean(np.abs(y - x) ** 2))
    assert sqnr_db == pytest.approx(6.0206 * bits + 1.7609 + 20 * np.log10(amplitude), abs=0.1)
    codes = y.view(np.float32) * 2 ** (bits - 1)
    assert np.array_equal(codes, np.rint(codes))


def test_converters_clip_at_full_scale():
    x = np.array([[2.0 - 2.0j, 0.9999 + 0.0j]], np.complex64)
    assert np.array_equal(quantise(x, 12)[0], np.array([1 - 1 / 2048 - 1j, 1 - 1 / 2048], np.complex64))


@pytest.mark.parametrize("figure_db", [0.0, 3.5, 25.0])
def test_the_noise_figure_is_absolute(figure_db):
    """k T B F at the antenna over 3e5 samples: four standard errors are 0.03 dB; 0.1 dB is asked for."""
    chain = receiver(noise_mw=1.0, noise_figure_db=figure_db)
    y = chain.receive(np.zeros((1, 300_000), np.complex64), 0, [60.0])[0]
    at_antenna_dbm = power_dbm(y) - 60.0 + RX_FULL_SCALE_DBM
    assert at_antenna_dbm == pytest.approx(-173.975 + 10 * np.log10(RATE) + figure_db, abs=0.035)
    assert 10 * np.log10(thermal_noise_mw(figure_db, 1.0)) == pytest.approx(-173.975 + figure_db, abs=1e-3)


def test_antennas_have_noise_of_their_own():
    """Two antennas of 1 mW each, uncorrelated: four standard errors of 5e4 samples."""
    y = received(receiver(antennas=2, noise_mw=1.0), np.zeros((2, 50_000), np.complex64))
    assert [power_dbm(row) for row in y] == pytest.approx([0.0, 0.0], abs=0.08)
    assert abs(np.mean(y[0] * y[1].conj())) < 4 / np.sqrt(50_000)


def test_blocks_do_not_matter(rng):
    """Bit for bit, with all faults at once."""
    front_end = FrontEnd(
        rx_iq_gain_db=0.7, tx_iq_phase_deg=3.0, rx_dc_dbfs=-30.0, tx_leakage_dbfs=-40.0, p1db_dbm=0.0, bits=12,
        noise_figure_db=5.0, rx_chain_phase_deg=[12.0], tx_gain_error_db=[(0.0, 0.3)],
    )  # fmt: skip
    x = (0.2 * rng.standard_normal((1, 5000, 2), dtype=np.float32)).view(np.complex64)[..., 0]

    def through(cuts):
        sender, chain = TransmitChain(front_end, 1), ReceiveChain(front_end, 1, RATE, 0.0, 4, (1,))
        parts = [chain.receive(sender.transmit(x[:, a:b], [-3.0]), a, [5.0]) for a, b in itertools.pairwise(cuts)]
        return np.concatenate(parts, axis=1)

    assert np.array_equal(through([0, 1, 2, 9, 1000, 1000, 4999, 5000]), through([0, 5000]))
