"""The paths of a world: the channels that an air describes between an edge and a server, in both directions alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from testbed.air.links import gain_of, link_of
from testbed.air.medium import FADING
from testbed.air.oscillator import NS
from testbed.air.power import UNITY_PATH_LOSS_DB, path_amplitude
from testbed.air.truth import draw_truth
from testbed.air.world import Path, Station, World
from testbed.channels.base import Place, TappedDelayLine
from testbed.channels.registry import find_channel
from testbed.config import Air
from testbed.errors import ShapeError
from testbed.phy.waveform import Waveform
from testbed.units import db_to_amplitude

BETWEEN_EDGES = 3  # spawn key of the seed's streams, behind those of `testbed.air.medium`


def draw_paths(
    stations: Sequence[Station], server: str, users: Mapping[str, int], waveform: Waveform, air: Air, seed: int
) -> dict[Path, TappedDelayLine]:
    """A path between each two radios and back, the same in both directions.

    Between an edge's first antenna and the server's lies the very realisation that `testbed.air.medium.Medium` draws of
    this air and seed, with the user's delay, 30 dB of loss under it. Edges hear each other over the air's own channel.

    Parameters
    ----------
    stations : sequence of Station
    server : str
        Whose antennas ``air.links`` numbers.
    users : {name: int}
        User number of each other radio.
    waveform : Waveform
        At whose rate delays are given.
    air : Air
        Delays that it leaves out are drawn from the seed, as `Medium` does; its carrier offsets do not count here.
    seed : int

    Returns
    -------
    {((transmitter, antenna), (receiver, antenna)): TappedDelayLine}
    """
    edges = [station for station in stations if station.model.name != server]
    numbers = [users[station.model.name] for station in edges]
    delays_s = np.array(draw_truth(waveform, air, numbers, seed).user_delay_samples) / waveform.sample_rate_hz
    paths: dict[Path, TappedDelayLine] = {}
    for station in stations:
        if station.model.name != server:
            continue
        antennas = max(station.rx_antennas, station.tx_antennas)
        for i, edge in enumerate(edges):
            for a in range(antennas):
                for own in range(max(edge.tx_antennas, edge.rx_antennas)):
                    key = (FADING, a, numbers[i]) if not own else (FADING, a, numbers[i], own)
                    line = _line(air, Place(a, i, antennas), numbers[i], np.random.SeedSequence(seed, spawn_key=key))
                    _both_ways(paths, edge, own, station, a, line.later(delays_s[i]))
    for (i, one), (k, other) in combinations(enumerate(edges), 2):
        for a in range(max(one.tx_antennas, one.rx_antennas)):
            for b in range(max(other.tx_antennas, other.rx_antennas)):
                keyed = np.random.SeedSequence(seed, spawn_key=(BETWEEN_EDGES, numbers[i], a, numbers[k], b))
                line = _line(air, Place(b, 0, 1), -1, keyed)
                _both_ways(paths, one, a, other, b, line)
    return paths


def set_link_gain(
    world: World, server: str, users: Mapping[str, int], air: Air, edge: str, gain_db: float, at_ns: int | None = None
) -> None:
    """All paths between an edge and the server become louder or softer, in both directions.

    Parameters
    ----------
    world : World
    server : str
    users : {name: int}
        User number of each other radio.
    air : Air
        With which the paths were drawn.
    edge : str
    gain_db : float
        Of the link, as ``air.links`` has it; `testbed.air.power.gain_of_loss` says which a path loss is.
    at_ns : int, optional
        Nominal time; the world's present if left out.

    Raises
    ------
    ShapeError
        If there is no such path, or the time is past.
    """
    between = [path for path in world.paths if {end[0] for end in path} == {edge, server}]
    if not between:
        raise ShapeError(f"set_link_gain: no path between {edge} and {server}")
    for path in between:
        (antenna,) = [number for name, number in path if name == server]
        world.set_gain(path, gain_db - link_of(air, users[edge], antenna).gain_db, at_ns)


def apply_schedule(world: World, server: str, users: Mapping[str, int], air: Air, rate_hz: float) -> None:
    """Everything of ``air.schedule``, at the nominal times of its samples.

    Parameters
    ----------
    world : World
    server : str
    users : {name: int}
    air : Air
    rate_hz : float
        Of the waveform, by which the schedule counts.

    Raises
    ------
    ShapeError
        If an entry's link is not in the world.
    """
    for change in air.schedule:
        (edge,) = set(change.ends) - {server}
        set_link_gain(world, server, users, air, edge, gain_of(change), change.at_sample * NS // round(rate_hz))


def _line(air: Air, place: Place, user: int, keyed: np.random.SeedSequence) -> TappedDelayLine:
    link = link_of(air, user, place.antenna)
    line = find_channel(link.channel).draw(link.delay_spread_s, link.doppler_hz, place, np.random.default_rng(keyed))
    return line.scaled(float(db_to_amplitude(link.gain_db)) * path_amplitude(UNITY_PATH_LOSS_DB))


def _both_ways(
    paths: dict[Path, TappedDelayLine], one: Station, a: int, other: Station, b: int, line: TappedDelayLine
) -> None:
    """Where both ends have the antenna."""
    for (sender, s), (receiver, r) in (((one, a), (other, b)), ((other, b), (one, a))):
        if s < sender.tx_antennas and r < receiver.rx_antennas:
            paths[(sender.model.name, s), (receiver.model.name, r)] = line
