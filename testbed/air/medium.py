"""The medium: what arrives at each antenna when each user transmits. It knows no socket and no clock."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from testbed.air._kernels import rotate, rotate_and_add
from testbed.air.bank import FilterBank
from testbed.air.impairments import NoiseSource, phasor
from testbed.air.interference import cfo_warnings, delay_warnings
from testbed.air.links import gain_of, link_of
from testbed.air.truth import draw_truth
from testbed.channels.base import Place, TappedDelayLine
from testbed.channels.registry import find_channel
from testbed.config import Air
from testbed.errors import ShapeError
from testbed.phy.waveform import Waveform
from testbed.units import db_to_amplitude

FADING, NOISE = 1, 2  # spawn keys of the seed's streams; 0 belongs to `truth`


class Medium:
    r"""Fading, delays, carrier offsets and noise between ``users`` and ``antennas``.

    .. math::
        y_a(n) &= e^{j 2\pi f_c n / f_s} \sum_u \sum_l g_{aul}(n / f_s) \, v_u(n - L - d_u - \tau_{aul} f_s) + w_a(n) \\
        v_u(m) &= x_u(m) \, e^{j 2\pi f_u m / f_s}

    with the common offset :math:`f_c`, each user's own offset :math:`f_u` and delay :math:`d_u`, the taps
    :math:`g_{aul}, \tau_{aul}` of `testbed.channels.base.TappedDelayLine` (another realisation for each antenna and
    user, and another model where ``air.links`` says so) and the constant latency :math:`L` =
    ``truth.latency_samples``. Noise :math:`w_a` is white with variance :math:`\sigma^2 = A^2 / \mathrm{SNR}`: a
    transmitter whose resource elements have power :math:`A^2` (`testbed.phy.ofdm.tx_amplitude`) is received at
    ``air.snr_db`` per occupied resource element and antenna, since :math:`E|h|^2 = 1`; a link's ``gain_db`` comes on
    top, until ``air.schedule`` or `set_gain` sets another.

    How the filters move is `testbed.air.bank`'s. All depends on the seed and the absolute sample index alone: the
    result is the same bit for bit however the stream is cut into blocks.

    Parameters
    ----------
    waveform : Waveform
    air : Air
        Offsets and delays that it leaves out are drawn from the seed; lists are indexed by user number.
    users : list of int
    antennas : int
    seed : int
    names : {name: user}, optional
        By which ``air.schedule`` names links; what it says of others does not count.

    Raises
    ------
    ScenarioError
        If a delay is negative or beyond 4096 samples, or a list lacks a user.
    """

    def __init__(
        self,
        waveform: Waveform,
        air: Air,
        users: list[int],
        antennas: int,
        seed: int,
        names: Mapping[str, int] | None = None,
    ) -> None:
        self.waveform = waveform
        self.air = air
        self.users = list(users)
        self.antennas = antennas
        self.truth = draw_truth(waveform, air, self.users, seed)
        self._lines = [
            [_line(air, Place(a, i, antennas), u, seed) for i, u in enumerate(self.users)] for a in range(antennas)
        ]
        delays = np.array(self.truth.user_delay_samples)
        self._bank = FilterBank(self._lines, delays, waveform.sample_rate_hz)
        self._noise = [NoiseSource(seed, (NOISE, a)) for a in range(antennas)]
        self._next_sample = 0
        self.names = dict(names or {})
        for change in air.schedule:
            for name in set(change.ends) & set(self.names):
                self.set_gain(self.names[name], gain_of(change), change.at_sample)

    @property
    def tail_samples(self) -> int:
        """Samples by which the last of what is sent may arrive later than it was sent."""
        return self._bank.history + 1

    def mix(self, transmitted: Mapping[int, np.ndarray] | np.ndarray, first_sample: int) -> np.ndarray:
        """What the antennas receive while the users transmit ``transmitted``.

        Parameters
        ----------
        transmitted : dict of user to [n] complex64, or [U, n] complex64 in the order of ``users``
            A user that is missing from the dict is silent.
        first_sample : int
            Absolute index of the first sample; a gap after the previous call counts as silence.

        Returns
        -------
        [A, n] complex64

        Raises
        ------
        ShapeError
            If lengths differ, a user is not known, or ``first_sample`` lies before what was already mixed.
        """
        x = self._stack(transmitted)
        count = x.shape[1]
        self._skip_to(first_sample)
        rate = self.waveform.sample_rate_hz
        frame = self._bank.frame(count)
        for i, offset_hz in enumerate(self.truth.user_cfo_hz):
            rotate(x[i], phasor(offset_hz, rate, first_sample, count), *frame[:, i, self._bank.history :])
        self._next_sample = first_sample + count
        y = np.empty((self.antennas, count), dtype=np.complex64)
        y.real, y.imag = self._bank.mix(frame, first_sample)
        common = phasor(self.truth.common_cfo_hz, rate, first_sample, count)
        sigma = np.float32(np.sqrt(self.truth.noise_variance))
        for a, source in enumerate(self._noise):
            rotate_and_add(y[a], common, sigma, source.samples(first_sample, count))
        return y

    def set_gain(self, user: int, gain_db: float, at_sample: int | None = None) -> int:
        """A user becomes louder or softer at all antennas, from a sample on.

        Parameters
        ----------
        user : int
        gain_db : float
            Of the link, as ``air.links`` has it; `testbed.air.power.gain_of_loss` says which a path loss is.
        at_sample : int, optional
            Absolute index; the next that is mixed if left out.

        Returns
        -------
        int
            The index from which on it holds.

        Raises
        ------
        ShapeError
            If the user is not known, or the sample lies before what was already mixed.
        """
        at = self._next_sample if at_sample is None else at_sample
        if user not in self.users:
            raise ShapeError(f"set_gain: user {user} is not in this medium; known: {self.users}")
        if at < self._next_sample:
            raise ShapeError(f"set_gain: at_sample = {at}: allowed: {self._next_sample} or later")
        for antenna in range(self.antennas):
            drawn_db = link_of(self.air, user, antenna).gain_db
            self._bank.change(at, antenna, self.users.index(user), float(db_to_amplitude(gain_db - drawn_db)))
        return at

    def response(self, samples: np.ndarray, frequencies_hz: np.ndarray | None = None) -> np.ndarray:
        r"""The exact channel at given times, without the common carrier offset.

        .. math::
            H_{sfau} = c_{au}(n_s) \, e^{j 2\pi f_u n_s / f_s} \sum_l g_{aul}(n_s / f_s)
                \, e^{-j 2\pi (f + f_u) (L + d_u + \tau_{aul} f_s) / f_s}

        An FFT whose window begins at the sample index at which the transmitter's useful part began measures this (all
        delays, the latency too, are in the phase), apart from what changes within the window.

        Parameters
        ----------
        samples : [S] float
            Received sample index, the centre of the FFT window: its first sample + (fft_size - 1) / 2.
        frequencies_hz : [F] float, optional
            Baseband frequencies; those of the waveform's subcarriers if left out.

        Returns
        -------
        [S, F, A, U] complex64
            For a transmit amplitude of 1.
        """
        rate = self.waveform.sample_rate_hz
        times = np.asarray(samples, dtype=np.float64) / rate
        if frequencies_hz is None:
            frequencies_hz = self.waveform.subcarriers * self.waveform.spacing_hz
        h = np.empty((len(times), len(frequencies_hz), self.antennas, len(self.users)), dtype=np.complex64)
        for i, (offset_hz, delay) in enumerate(zip(self.truth.user_cfo_hz, self.truth.user_delay_samples, strict=True)):
            turns = offset_hz * times
            rotation = np.exp(2j * np.pi * (turns - np.floor(turns)))
            shifted = np.asarray(frequencies_hz, dtype=np.float64) + offset_hz
            for a in range(self.antennas):
                line = self._lines[a][i]
                delays_s = line.delays_s + (self.truth.latency_samples + delay) / rate
                steering = np.exp(-2j * np.pi * delays_s[:, None] * shifted)  # [taps, F]
                h[:, :, a, i] = (line.gains(times) * rotation).T @ steering
        return h * self._bank.amplitudes(samples)[:, None].astype(np.float32)

    def warnings(self) -> list[str]:
        """What in this air costs more than noise: one line each, with the interference to expect."""
        return cfo_warnings(self.truth, self.waveform) + delay_warnings(
            self.truth, self.waveform, self.air, self.antennas
        )

    def _stack(self, transmitted: Mapping[int, np.ndarray] | np.ndarray) -> np.ndarray:
        """[U, n] complex64 of what came as a dict or an array."""
        if isinstance(transmitted, Mapping):
            unknown = sorted(set(transmitted) - set(self.users))
            if unknown:
                raise ShapeError(f"mix: users {unknown} are not in this medium; known: {self.users}")
            counts = {len(x) for x in transmitted.values()}
            if len(counts) != 1:
                raise ShapeError(f"mix: users' lengths are {sorted(counts)}: one common length is allowed")
            silence = np.zeros(counts.pop(), dtype=np.complex64)
            transmitted = np.stack([transmitted.get(u, silence) for u in self.users])
        x = np.asarray(transmitted, dtype=np.complex64)
        if x.ndim != 2 or x.shape[0] != len(self.users):
            raise ShapeError(f"mix: transmitted is {x.shape}: allowed: [{len(self.users)}, n]")
        return x

    def _skip_to(self, first_sample: int) -> None:
        """Let silence pass until ``first_sample``."""
        gap = first_sample - self._next_sample
        if gap < 0:
            raise ShapeError(f"mix: first_sample = {first_sample}: allowed: {self._next_sample} or later")
        self._bank.skip(gap)


def _line(air: Air, place: Place, user: int, seed: int) -> TappedDelayLine:
    """The channel from one user to one antenna; its stream is keyed by both numbers."""
    link = link_of(air, user, place.antenna)
    keyed = np.random.SeedSequence(seed, spawn_key=(FADING, place.antenna, user))
    model = find_channel(link.channel)
    line = model.draw(link.delay_spread_s, link.doppler_hz, place, np.random.default_rng(keyed))
    return line.scaled(float(db_to_amplitude(link.gain_db)))
