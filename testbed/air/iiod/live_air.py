"""Virtual Plutos in real pace with a world between them: cables, or the channels of an air."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from testbed.air.iiod.buffers import DmaBuffer
from testbed.air.iiod.cabling import Cable, straight_cables
from testbed.air.iiod.device import RX, TX, VirtualPluto
from testbed.air.iiod.live import LiveEther
from testbed.air.iiod.live_device import LiveDevice
from testbed.air.iiod.pace import Pacer, Stepped
from testbed.air.iiod.protocol import Request
from testbed.air.paths import draw_paths
from testbed.air.power import UNITY_PATH_LOSS_DB, path_amplitude, unity_noise_mw
from testbed.air.truth import draw_truth
from testbed.air.world import Path, Station, World
from testbed.channels.base import TappedDelayLine
from testbed.config import Air, RadioModel
from testbed.errors import ScenarioError
from testbed.phy.waveform import Waveform

WARM_S = 0.001
NOISE_FIGURE_DB = 3.0  # of an AD9363 at 2.4 GHz and high gain: its data sheet has 3 dB


def live_between(
    plutos: Sequence[VirtualPluto],
    waveform: Waveform,
    air: Air,
    seed: int,
    models: Sequence[RadioModel],
    cables: Sequence[Cable],
    cabled: bool,
    pacer: Pacer | None,
    server: str = "",
) -> LiveEther:
    """Plutos of any client in real pace.

    Parameters
    ----------
    plutos : sequence of VirtualPluto
    waveform : Waveform
        To whose level ``air.snr_db`` refers.
    air : Air
        Its radios, in their order, are the Plutos' where no models are given.
    seed : int
    models : sequence of RadioModel
    cables : sequence of Cable
        Between some ports, in place of all else; receivers then have noise of their own.
    cabled : bool
        Whether a cable for each channel stands for the air's links.
    pacer : Pacer, optional
    server : str
        Which of them ``air.links`` means by its antennas; the others are users in their order. Left out: none.

    Returns
    -------
    LiveEther
    """
    noise_mw = unity_noise_mw(draw_truth(waveform, air, [0], seed).noise_variance)
    each = named(models or air.radios, plutos)
    if cables:
        each = [_with_noise(model) for model in each]
        paths = cable_paths(cables, each)
    elif cabled:
        paths = cable_paths(straight_cables(len(plutos), plutos[0].channels, UNITY_PATH_LOSS_DB), each)
    else:
        stations = [Station(model, pluto.channels, pluto.channels) for model, pluto in zip(each, plutos, strict=True)]
        users = {model.name: i for i, model in enumerate(model for model in each if model.name != server)}
        paths = draw_paths(stations, server, users, waveform, air, seed)
    return connect(plutos, each, paths, noise_mw, seed, pacer)


def _with_noise(model: RadioModel) -> RadioModel:
    """The same radio, whose receiver has a noise figure in any case."""
    if model.front_end.noise_figure_db is not None:
        return model
    front_end = msgspec.structs.replace(model.front_end, noise_figure_db=NOISE_FIGURE_DB)
    return msgspec.structs.replace(model, front_end=front_end)


def named(models: Sequence[RadioModel], plutos: Sequence[VirtualPluto]) -> list[RadioModel]:
    """A model for each Pluto: the given ones in their order, ideal ones behind them.

    Raises
    ------
    ScenarioError
        If there are more models than Plutos, or two of one name.
    """
    if len(models) > len(plutos):
        raise ScenarioError(f"{len(models)} models of radios for {len(plutos)} Plutos: allowed: one for each at most")
    ideal = [RadioModel(f"pluto-{i + 1}") for i in range(len(models), len(plutos))]
    names = [model.name for model in (*models, *ideal)]
    if len(set(names)) < len(names):
        raise ScenarioError(f"names of radios {names}: allowed: each once")
    return [*models, *ideal]


def cable_paths(cables: Sequence[Cable], models: Sequence[RadioModel]) -> dict[Path, TappedDelayLine]:
    """What cables are in a world: one tap each, without delay."""
    still = np.zeros((1, 1))
    line = TappedDelayLine(np.zeros(1), np.ones(1), still, still, np.ones(1), 0.0)
    return {
        ((models[c.transmitter].name, c.tx_channel), (models[c.receiver].name, c.rx_channel)): line.scaled(
            path_amplitude(c.loss_db)
        )
        for c in cables
    }


def connect(
    plutos: Sequence[VirtualPluto],
    models: Sequence[RadioModel],
    paths: Mapping[Path, TappedDelayLine],
    noise_mw: float,
    seed: int,
    pacer: Pacer | None = None,
) -> LiveEther:
    """Plutos in real pace, with kernels compiled before time begins.

    Parameters
    ----------
    plutos : sequence of VirtualPluto
    models : sequence of RadioModel
        One for each.
    paths : {((transmitter, channel), (receiver, channel)): TappedDelayLine}
        From the square root of milliwatts to the same.
    noise_mw : float
        At each receive port of a radio whose front end has no noise figure.
    seed : int
    pacer : Pacer, optional
        The machine's clock if left out.

    Returns
    -------
    LiveEther
    """
    _warm_up(plutos, models, paths, noise_mw, seed)
    return _ether(plutos, models, paths, noise_mw, seed, pacer)


def _ether(
    plutos: Sequence[VirtualPluto],
    models: Sequence[RadioModel],
    paths: Mapping[Path, TappedDelayLine],
    noise_mw: float,
    seed: int,
    pacer: Pacer | None,
) -> LiveEther:
    devices = [LiveDevice(p, m, noise_mw, seed, i) for i, (p, m) in enumerate(zip(plutos, models, strict=True))]
    stations = [Station(device.model, device.pluto.channels, device.pluto.channels) for device in devices]
    world = World(stations, paths, {device.name: device.tuning for device in devices}, seed)
    return LiveEther(devices, world, pacer)


def _warm_up(
    plutos: Sequence[VirtualPluto],
    models: Sequence[RadioModel],
    paths: Mapping[Path, TappedDelayLine],
    noise_mw: float,
    seed: int,
) -> None:
    """A millisecond between others of the same kind, in which all transmit and receive."""
    doubles = [VirtualPluto(pluto.address, pluto.channels) for pluto in plutos]
    ether = _ether(doubles, models, paths, noise_mw, seed, Stepped())
    for pluto in doubles:
        request = Request("OPEN", number=1024, mask=(1 << 2 * pluto.channels) - 1, mask_digits=8, cyclic=True)
        ether.push(pluto, ether.open(pluto, TX, request), bytes(4096 * pluto.channels), lambda: False)
        buffer = ether.open(pluto, RX, request)
        assert isinstance(buffer, DmaBuffer)
    ether.advance(WARM_S)
