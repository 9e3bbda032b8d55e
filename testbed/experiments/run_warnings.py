"""What a run warns of beside its figures: what its air and receiver let expect, and who was never heard."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from server.estimation import Fading, find_estimator
from testbed.air.interference import search_warnings
from testbed.air.links import link_of
from testbed.air.medium import Medium
from testbed.channels.registry import find_channel
from testbed.config import Scenario
from testbed.record.schema import User


def run_warnings(scenario: Scenario, medium: Medium | None, users: Sequence[User]) -> list[str]:
    """One sentence each; ``medium`` is None over radios of their own, where the air's truth is not known."""
    known = []
    if medium is not None:
        known = medium.warnings() + search_warnings(medium.truth, scenario.server.max_cfo_hz)
    known += estimator_warnings(scenario, medium is not None)
    return known + silence_warnings(scenario, users)


def estimator_warnings(scenario: Scenario, air_known: bool) -> list[str]:
    """What the estimator of the channel was not made for, or not trained on.

    Parameters
    ----------
    scenario : Scenario
    air_known : bool
        Whether the scenario's air is the one that carried the run.

    Returns
    -------
    list of str
    """
    estimator = find_estimator(scenario.server.estimator)(scenario.waveform, scenario.server.antennas)
    places = product([edge.user for edge in scenario.edges], range(scenario.server.antennas)) if air_known else ()
    links = [link_of(scenario.air, user, antenna) for user, antenna in places]
    return estimator.warnings([Fading(x.delay_spread_s, x.doppler_hz) for x in links if find_channel(x.channel).fades])


def silence_warnings(scenario: Scenario, users: Sequence[User]) -> list[str]:
    """Users that sent and were never heard."""
    warnings = []
    for user in users:
        if not user.frames_sent or user.frames_detected:
            continue
        radio = next((edge.radio for edge in scenario.edges if edge.user == user.user), "")
        step = (
            f"compare lo_hz and tx_gain_db of its radio {radio} with lo_hz and rx_gain_db of the server's"
            if radio
            else f"is air.snr_db = {scenario.air.snr_db:g} too low?"
        )
        warnings.append(f"user {user.user} ({user.node}): none of its {user.frames_sent} frames was found; {step}")
    return warnings
