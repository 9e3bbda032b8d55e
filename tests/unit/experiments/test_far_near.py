"""The scenario `far-near`: one user arrives 15 dB stronger, and the weaker one is received all the same."""

from __future__ import annotations

import pytest

from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.simulate import simulate


def test_the_far_user_is_received_beside_one_15_db_stronger():
    """Small pictures. Alone, the near user's SINR is 15 dB above what it is without its gain, to 0.3 dB; the far user
    loses less than 1 dB to a neighbour of 15 dB more, every frame of both is found, and SINRs are what is reported."""

    def users(*settings: str):
        measured = simulate(open_scenario("far-near", ["max_pixels=20000", *settings], None, None))
        return measured.metrics.users

    (far, near), (far_alike, near_alike) = users(), users("air.links.0.gain_db=0")
    assert near.single_user_sinr_db - near_alike.single_user_sinr_db == pytest.approx(15.0, abs=0.3)
    assert far.single_user_sinr_db == pytest.approx(far_alike.single_user_sinr_db, abs=0.1)
    assert near.sinr_db_true - near_alike.sinr_db_true > 14
    assert far_alike.sinr_db_true - far.sinr_db_true < 1
    for user in (far, near):
        assert user.frames_detected == user.frames_sent > 0
        assert user.sinr_db_estimated == pytest.approx(user.sinr_db_true, abs=0.3)
