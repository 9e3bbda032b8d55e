"""Sequences that every node must make alike."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from testbed.errors import ShapeError
from testbed.phy.interleave import deinterleave, interleave, permutation
from testbed.phy.pilots import pilot_boost, pilot_comb, pilot_values
from testbed.phy.sequences import gold_bits, splitmix64
from testbed.phy.waveform import Waveform

OTA = Waveform()


@pytest.mark.parametrize("c_init", [1, 0x12345678, 2**31 - 1])
def test_gold_sequence_obeys_the_recurrences_of_38_211(c_init):
    """x1 and x2 written out as arrays, 5.2.1."""
    n = 1600 + 300
    x1, x2 = np.zeros(n + 31, int), np.zeros(n + 31, int)
    x1[0] = 1
    x2[:31] = c_init >> np.arange(31) & 1
    for i in range(n):
        x1[i + 31] = (x1[i + 3] + x1[i]) % 2
        x2[i + 31] = (x2[i + 3] + x2[i + 2] + x2[i + 1] + x2[i]) % 2
    np.testing.assert_array_equal(gold_bits(c_init, 300), (x1 + x2)[1600 : 1600 + 300] % 2)


def test_hash_gives_the_published_stream():
    """First outputs of java.util.SplittableRandom's mixer from seed 0."""
    expected = np.array([0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F], np.uint64)
    np.testing.assert_array_equal(splitmix64(np.arange(3)), expected)


@pytest.mark.parametrize("k", [1, 2, 5472, 48_000])
def test_interleaver_is_a_permutation_and_deinterleave_undoes_it(k, rng):
    """Every element once; leading axes kept."""
    np.testing.assert_array_equal(np.sort(permutation(k)), np.arange(k))
    x = rng.standard_normal((2, k))
    np.testing.assert_array_equal(deinterleave(interleave(x)), x)


def test_interleaver_never_changes():
    """Frozen: what one release sent, the next must read."""
    digest = hashlib.sha256(permutation(10_000).astype("<i8").tobytes()).hexdigest()
    assert digest.startswith("fefc3345bfca268b")


def test_interleaver_spreads_what_lay_together():
    """Neighbours on the air come from all over: mean distance k / 3 for a random order, within 3 %."""
    order = permutation(50_000)
    assert np.abs(np.diff(order)).mean() == pytest.approx(50_000 / 3, rel=0.03)


def test_pilots_have_unit_modulus_and_combs_share_the_band():
    """Each subcarrier belongs to one user; power of a pilot symbol is that of a full one."""
    values = pilot_values(OTA)
    assert values.shape == (len(OTA.pilot_symbols), OTA.occupied_subcarriers)
    np.testing.assert_allclose(np.abs(values), 1, rtol=1e-6)
    combs = [pilot_comb(OTA, user) for user in range(OTA.pilot_slots)]
    np.testing.assert_array_equal(np.sort(np.concatenate(combs)), np.arange(OTA.occupied_subcarriers))
    power = len(combs[1]) * pilot_boost(OTA) ** 2 / OTA.occupied_subcarriers
    assert power == pytest.approx(1)


def test_a_user_without_a_slot_is_refused():
    """Two slots: users 0 and 1."""
    with pytest.raises(ShapeError, match=r"allowed: 0\.\.1"):
        pilot_comb(OTA, 2)
