"""A node's model of its own channel, in NumPy: what encoded symbols look like after detection. No waveform, no torch.

`testbed.codec.train.channels` draws the same model where gradients must pass.
"""

from __future__ import annotations

import msgspec
import numpy as np

from testbed.errors import ScenarioError

KINDS = ("AWGN", "Rayleigh")
LEAST_GAIN = 1e-4  # of a Rayleigh draw; below it a symbol is lost anyway


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    r"""One user's channel after detection: :math:`\hat x = x + e`, :math:`e\sim\mathcal{CN}(0, N_0/g)`.

    AWGN: :math:`g = 1`. Rayleigh: g exponential of unit mean, independent from symbol to symbol, as interleaving over
    a fading channel leaves it, known to the receiver. ``snr_db`` is :math:`1/N_0`, Es/N0 per complex channel use with
    unit-power symbols and mean gain one.
    """

    kind: str
    snr_db: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ScenarioError(f"link.kind = {self.kind}: allowed: {', '.join(KINDS)}")
        if not -30 <= self.snr_db <= 80:
            raise ScenarioError(f"link.snr_db = {self.snr_db}: allowed: -30..80")

    def receive(self, symbols: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """What a detector hands on.

        Parameters
        ----------
        symbols : [n, k] complex64
        rng : numpy.random.Generator

        Returns
        -------
        x_hat : [n, k] complex64
        no_eff : [n, k] float32
            Variance of each symbol's complex error.
        """
        no = 10.0 ** (-self.snr_db / 10.0)
        gain = np.ones(symbols.shape)
        if self.kind == "Rayleigh":
            gain = np.maximum(rng.exponential(size=symbols.shape), LEAST_GAIN)
        no_eff = no / gain
        noise = rng.standard_normal((2, *symbols.shape)) * np.sqrt(no_eff / 2.0)
        return (symbols + noise[0] + 1j * noise[1]).astype(np.complex64), no_eff.astype(np.float32)
