"""The tone generators of a TX core, which play when no buffer is open: two a column, amplitude, frequency and phase."""

from __future__ import annotations

import errno

import numpy as np

from testbed.air.iiod.context import Attribute, Attributes, Channel, shared
from testbed.air.iiod.phy import decimal, integer, switch
from testbed.air.iiod.protocol import Refused

FULL_SCALE = 32_767
PHASE_STEPS = 1 << 16  # of the accumulator: frequencies are multiples of rate / 65536
TURN_MDEG = 360_000


class Tone:
    r"""One generator: :math:`a \sin(2\pi f n / f_s + \varphi)`."""

    def __init__(self) -> None:
        self.on = True
        self.scale = 0.0
        self.step = 0  # frequency as phase steps a sample
        self.phase_mdeg = 0


class Dds:
    """The generators of all columns: F1 and F2 of I, then of Q, for each channel."""

    def __init__(self, channels: int) -> None:
        self.tones = [Tone() for _ in range(4 * channels)]

    def codes(self, first_sample: int, count: int) -> np.ndarray | None:
        r"""The generators' sum, :math:`\sum_i a_i \sin\{2\pi (s_i n / 2^{16} + \varphi_i)\}` in each column, clipped.

        Parameters
        ----------
        first_sample, count : int
            Absolute index :math:`n` of the first, and how many.

        Returns
        -------
        [count, columns] int16 or None
            None while all are silent.
        """
        playing = [i for i, tone in enumerate(self.tones) if tone.on and tone.scale]
        if not playing:
            return None
        total = np.zeros((count, len(self.tones) // 2))
        n = np.arange(first_sample, first_sample + count)
        for i in playing:
            tone = self.tones[i]
            turns = (tone.step * n % PHASE_STEPS) / PHASE_STEPS + tone.phase_mdeg / TURN_MDEG
            total[:, i // 2] += tone.scale * np.sin(2 * np.pi * turns)
        return np.round(np.clip(total, -1.0, 1.0) * FULL_SCALE).astype(np.int16)

    def channel(self, i: int, rate: Attribute) -> Channel:
        """``altvoltageI`` as a client sees it.

        Parameters
        ----------
        i : int
            Number of the generator.
        rate : Attribute
            ``sampling_frequency`` in Hz.

        Returns
        -------
        Channel
        """
        name = f"TX{i // 4 + 1}_{'IQ'[i // 2 % 2]}_F{i % 2 + 1}"
        return Channel(f"altvoltage{i}", True, self.attributes(self.tones[i], rate), name)

    def attributes(self, tone: Tone, rate: Attribute) -> Attributes:
        """Of one generator; frequencies are read back as the accumulator has them.

        Parameters
        ----------
        tone : Tone
        rate : Attribute
            ``sampling_frequency`` in Hz.

        Returns
        -------
        Attributes
            ``raw`` 0 or 1, ``scale`` 0 to 1, ``phase`` in millidegrees, ``frequency`` in Hz.

        Raises
        ------
        Refused
            By their writing: EINVAL outside these, or above half the rate.
        """

        def write_scale(text: str) -> None:
            scale = float(decimal(text))
            if not 0.0 <= scale <= 1.0:
                raise Refused(errno.EINVAL)
            tone.scale = scale

        def write_phase(text: str) -> None:
            tone.phase_mdeg = integer(text) % TURN_MDEG

        def write_frequency(text: str) -> None:
            hertz = int(decimal(text))
            if not 0 <= hertz <= int(rate.read()) // 2:
                raise Refused(errno.EINVAL)
            tone.step = round(hertz * PHASE_STEPS / int(rate.read()))

        def write_on(text: str) -> None:
            """Tones or zeros is one switch for the whole core."""
            on = switch(text)
            for each in self.tones:
                each.on = on

        return {
            "raw": Attribute(lambda: str(int(tone.on)), write_on),
            "scale": Attribute(lambda: f"{tone.scale:.6f}", write_scale),
            "phase": Attribute(lambda: str(tone.phase_mdeg), write_phase),
            "frequency": Attribute(lambda: str(round(tone.step * int(rate.read()) / PHASE_STEPS)), write_frequency),
        } | shared({"sampling_frequency": rate})
