"""Channel estimation by a small residual network that improves the linear estimate. ONNX Runtime; no torch."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime

from server.estimation.base import Assuming, ChannelEstimate
from server.estimation.card import SHIPPED, EstimatorCard, read_card, zoo_folder
from server.estimation.image import first_profiles, image_of
from server.estimation.profiles import Observation, grid_of, growth, observe, pilot_gain, wiener
from testbed.codec.onnx import open_session
from testbed.phy.waveform import Waveform

OUTPUTS = ("log_delay", "log_doppler", "log_inflation")


class DnnEstimator:
    r"""An estimator with a network of its own: a callable ``(grid, waveform) -> ChannelEstimate``.

    The network sees the pilots' least-squares estimates as an image over delay and Doppler shift, in units of the
    noise, antennas averaged, and `server.estimation.profiles.growth`: how the pilots say that a profile should change.
    Its residual blocks correct, in logarithms, a step of maximum likelihood of both profiles, and say how uncertain
    they are; it passes over a frame ``card.passes`` times, once for each user, so any number of users and antennas
    fits. Under the profiles `server.estimation.profiles.wiener` estimates the channel: a network learns what fading
    looks like; that the estimate is linear in the pilots, and which error follows from the profiles, is mathematics
    and need not be learned.

    Parameters
    ----------
    card : pathlib.Path
        Beside its ONNX file.

    Raises
    ------
    EstimatorError
        If the file is not the card's.
    CodecError
        If ONNX Runtime cannot load it.

    References
    ----------
    D. Neumann, T. Wiese, W. Utschick, "Learning the MMSE channel estimator", IEEE Trans. Signal Process. 66(11), 2018.
    """

    def __init__(self, card: Path) -> None:
        self.card: EstimatorCard
        self.card, model = read_card(card)
        self._session: onnxruntime.InferenceSession = open_session(model, self.card.model, threads=1)

    def __call__(self, grid: np.ndarray, waveform: Waveform) -> ChannelEstimate:
        """Parameters, return value and ShapeError as `server.estimation.lmmse.lmmse`."""
        seen = observe(grid, waveform)
        axes = grid_of(waveform)
        power, share, inflation = self.profiles(seen, waveform)
        return wiener(seen, waveform, axes.delay, power, axes.doppler, share, inflation)

    def profiles(self, seen: Observation, waveform: Waveform) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the network makes of a frame.

        Parameters
        ----------
        seen : Observation
        waveform : Waveform

        Returns
        -------
        delay_power : [U, M] float64
            Over the noise of one pilot.
        doppler_share : [U, D] float64
            Sums to 1 for each user.
        inflation : [U] float64
            By what the profiles' uncertainty raises the error.
        """
        axes, gain = grid_of(waveform), pilot_gain(waveform)
        image = image_of(seen.c, np.arange(seen.c.shape[1]), waveform)
        log_delay, log_doppler = first_profiles(image)
        for _ in range(self.card.passes):
            power, share = np.exp(log_delay.astype(np.float64)) / gain, np.exp(log_doppler.astype(np.float64))
            of_delay, of_doppler = growth(seen.c, axes.delay, power, axes.doppler, share)
            fed = {
                "image": image,
                "delay": np.stack([log_delay, np.log(of_delay).astype(np.float32)], axis=1),
                "doppler": np.stack([log_doppler, np.log(of_doppler).astype(np.float32)], axis=1),
            }
            log_delay, log_doppler, log_inflation = self._session.run(list(OUTPUTS), fed)
        share = np.exp(log_doppler.astype(np.float64))
        return (
            np.exp(log_delay.astype(np.float64)) / gain,
            share / share.sum(axis=-1, keepdims=True),
            np.exp(log_inflation.astype(np.float64)),
        )


@lru_cache(maxsize=1)
def shipped() -> DnnEstimator:
    """The estimator of the zoo, opened once."""
    return DnnEstimator(zoo_folder() / f"{SHIPPED}.json")


def dnn(grid: np.ndarray, waveform: Waveform) -> ChannelEstimate:
    """The shipped network's estimate, see `DnnEstimator`.

    Parameters
    ----------
    grid : [A, S, F] complex64
        As `server.estimation.base.Estimator` takes it.
    waveform : Waveform

    Returns
    -------
    ChannelEstimate
    """
    return shipped()(grid, waveform)


def make_dnn(waveform: Waveform, antennas: int) -> Assuming:
    """The estimator of the zoo.

    Parameters
    ----------
    waveform : Waveform
    antennas : int

    Returns
    -------
    Assuming
    """
    return trained(shipped(), waveform, antennas)


def make_network(card: Path, waveform: Waveform, antennas: int) -> Assuming:
    """An estimator with a network of its own, good on what that was trained on.

    Parameters
    ----------
    card : pathlib.Path
    waveform : Waveform
    antennas : int

    Returns
    -------
    Assuming

    Raises
    ------
    EstimatorError
        If a file is missing or not the one of its card.
    """
    return trained(DnnEstimator(card), waveform, antennas)


def trained(network: DnnEstimator, waveform: Waveform, antennas: int) -> Assuming:
    """A network, and what its card says that it was trained on.

    Parameters
    ----------
    network : DnnEstimator
    waveform : Waveform
    antennas : int

    Returns
    -------
    Assuming
    """
    return Assuming(network.card.name, network, network.card.assumes, waveform, antennas, verb="was trained on")
