"""How good a picture codec is over AWGN, by the conventions on its card. No training, no waveform."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from testbed.codec.pictures import PictureCodec
from testbed.units import db_to_power

BATCH = 100


class AwgnScore(msgspec.Struct, frozen=True):
    """PSNR at one SNR, in both conventions that papers use, with the 95 % interval of the first."""

    snr_db: float
    psnr_of_mean_mse_db: float
    mean_psnr_db: float
    ci95_db: float


def awgn_score(
    codec: PictureCodec,
    planes: np.ndarray,
    snr_db: float,
    rng: np.random.Generator,
    on_progress: Callable[[int], object] = lambda pictures: None,
) -> AwgnScore:
    r"""Send pictures over :math:`y = x + n`, :math:`n \sim \mathcal{CN}(0, N_0)`, :math:`N_0 = 10^{-\mathrm{SNR}/10}`.

    Parameters
    ----------
    codec : PictureCodec
    planes : [P, 3, H, W] uint8
        Sides multiples of the codec's stride.
    snr_db : float
        Unit symbol power over complex noise power, per channel use.
    rng : numpy.random.Generator
    on_progress : callable
        Called with the number of pictures of each batch done.

    Returns
    -------
    AwgnScore
        PSNR of values in 0..1 after rounding to 8 bits; the interval comes from the spread of the pictures' errors.
    """
    no = float(db_to_power(-snr_db))
    grid_shape = codec.grid_shape(*planes.shape[2:])
    mse = []
    for begin in range(0, len(planes), BATCH):
        batch = planes[begin : begin + BATCH]
        symbols = codec.encode_batch(batch)
        noise = rng.standard_normal((*symbols.shape, 2), dtype=np.float32) * np.float32(np.sqrt(no / 2))
        received = (symbols + noise[..., 0] + np.complex64(1j) * noise[..., 1]).reshape(len(batch), *grid_shape)
        restored = codec.decode_batch(received, np.full(received.shape, no, np.float32))
        error = (restored.astype(np.float32) - batch.astype(np.float32)) / 255.0
        mse.append(np.mean(error.astype(np.float64) ** 2, axis=(1, 2, 3)))
        on_progress(len(batch))
    each = np.concatenate(mse)
    relative = 1.96 * np.std(each) / np.sqrt(len(each)) / np.mean(each)
    return AwgnScore(
        snr_db=snr_db,
        psnr_of_mean_mse_db=float(-10 * np.log10(np.mean(each))),
        mean_psnr_db=float(np.mean(-10 * np.log10(each))),
        ci95_db=float(10 / np.log(10) * relative),
    )
