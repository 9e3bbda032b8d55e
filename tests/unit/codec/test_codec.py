"""The codec that ships: its conventions, its figures, its card, and what it does with lost symbols."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from testbed.codec.card import find_card, read_card, zoo_folder
from testbed.codec.evaluate import awgn_score
from testbed.codec.registry import open_codec
from testbed.data import cifar10
from testbed.data.pictures import load_pictures
from testbed.errors import CodecError, ShapeError

NAME = "deepjscc-cifar10"


@pytest.fixture(scope="module")
def codec():
    return open_codec(NAME)


@pytest.fixture(scope="module")
def flower():
    return load_pictures("", (1, 2), 10**9)[0].pixels


def test_symbols_have_unit_mean_power_and_number_one_sixth_of_the_source_values(codec, flower):
    """k/n = 1/6 of the padded picture (428 x 640), E|x|^2 = 1 to 1e-4."""
    symbols = codec.encode(flower)
    assert symbols.dtype == np.complex64
    assert len(symbols) == codec.symbol_count(427, 640) == 428 * 640 * 3 // 6
    assert np.mean(np.abs(symbols) ** 2) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (33, 64), (250, 123)])
def test_any_picture_size_comes_back_as_it_went(codec, flower, size):
    """Crops of a photograph, noiseless: the shape is kept, and the picture is recognisable (> 22 dB)."""
    picture = np.ascontiguousarray(flower[100 : 100 + size[0], 200 : 200 + size[1]])
    symbols = codec.encode(picture)
    restored = codec.decode(symbols, np.full(len(symbols), 1e-3, np.float32), *size)
    assert restored.shape == picture.shape
    mse = np.mean((restored.astype(float) - picture) ** 2)
    assert 10 * np.log10(255**2 / mse) > 22


def test_a_lost_symbol_is_an_erasure_whatever_its_value(codec, flower, rng):
    """Infinite noise: the same picture whether the value was kept, zero, or not a number."""
    picture = np.ascontiguousarray(flower[:64, :64])
    symbols = codec.encode(picture)
    noise = np.full(len(symbols), 0.01, np.float32)
    lost = rng.random(len(symbols)) < 0.3
    noise[lost] = np.inf
    zeroed, wild = symbols.copy(), symbols.copy()
    zeroed[lost], wild[lost] = 0, np.nan
    kept = codec.decode(symbols, noise, 64, 64)
    assert np.array_equal(kept, codec.decode(zeroed, noise, 64, 64))
    assert np.array_equal(kept, codec.decode(wild, noise, 64, 64))


def test_telling_the_decoder_the_noise_helps(codec, flower, rng):
    """At 5 dB, the true noise level beats a wrong one (20 dB too low) by more than 1 dB."""
    picture = np.ascontiguousarray(flower[:128, :128])
    symbols = codec.encode(picture)
    no = np.float32(10**-0.5)
    noisy = symbols + (np.sqrt(no / 2) * (rng.normal(size=(len(symbols), 2)) @ [1, 1j])).astype(np.complex64)

    def psnr(variance):
        restored = codec.decode(noisy, np.full(len(symbols), variance, np.float32), 128, 128)
        return 10 * np.log10(255**2 / np.mean((restored.astype(float) - picture) ** 2))

    assert psnr(no) > psnr(no / 100) + 1.0


def test_wrong_shapes_are_refused(codec):
    """A picture that is none, and symbols of another size."""
    with pytest.raises(ShapeError):
        codec.encode(np.zeros((32, 32), np.uint8))
    with pytest.raises(ShapeError):
        codec.decode(np.zeros(5, np.complex64), np.zeros(5, np.float32), 32, 32)


@pytest.mark.needs("data")
def test_psnr_at_10_db_is_at_least_29_db(codec):
    """Every fourth picture of the test set, less the 95 % interval; `semtb eval deepjscc` takes all."""
    score = awgn_score(codec, cifar10.load_test()[::4], 10.0, np.random.default_rng(3))
    assert score.psnr_of_mean_mse_db - score.ci95_db >= 29.0
    assert score.mean_psnr_db > score.psnr_of_mean_mse_db  # Jensen: the mean of logarithms


@pytest.mark.needs("data")
def test_psnr_rises_with_snr(codec):
    """0 to 20 dB in steps of 2.5 on 500 pictures, same pictures at each: every step gains."""
    planes = cifar10.load_test()[:500]
    scores = [
        awgn_score(codec, planes, s, np.random.default_rng(4)).psnr_of_mean_mse_db for s in np.arange(0, 20.1, 2.5)
    ]
    assert np.all(np.diff(scores) > 0.1), scores


@pytest.mark.needs("data")
def test_the_card_tells_what_the_files_do(codec):
    """The card's curve against a measurement on 1,000 pictures: within their interval plus 0.15 dB of sampling."""
    (curve,) = codec.card.curves
    planes = cifar10.load_test()[::10]
    for snr, stated in zip(curve.snr_db, curve.psnr_of_mean_mse_db, strict=True):
        score = awgn_score(codec, planes, snr, np.random.default_rng(5))
        assert score.psnr_of_mean_mse_db == pytest.approx(stated, abs=score.ci95_db + 0.15)


def test_what_ships_is_under_four_megabytes():
    """Encoder and decoder together."""
    assert sum(p.stat().st_size for p in zoo_folder().glob(f"{NAME}.*.onnx")) < 4_000_000


def test_a_changed_file_does_not_match_its_card(tmp_path):
    """One flipped bit in the decoder: refused with both hashes, before ONNX Runtime sees it."""
    for file in zoo_folder().glob(f"{NAME}*"):
        shutil.copy(file, tmp_path)
    decoder = tmp_path / f"{NAME}.decoder.onnx"
    content = bytearray(decoder.read_bytes())
    content[len(content) // 2] ^= 1
    decoder.write_bytes(content)
    with pytest.raises(CodecError, match="do not belong together"):
        open_codec(str(tmp_path / f"{NAME}.json"))


def test_a_missing_file_and_an_unknown_name_say_what_to_do(tmp_path):
    """The missing file by its path; an unknown codec with those that are known."""
    shutil.copy(find_card(NAME), tmp_path)
    with pytest.raises(CodecError, match=r"encoder\.onnx: missing"):
        open_codec(str(tmp_path / f"{NAME}.json"))
    with pytest.raises(CodecError, match=f"Known: .*{NAME}"):
        open_codec("jpeg3000")


def test_the_identity_in_frames_is_the_hash_on_the_card():
    """32 bits of SHA-256 over both files."""
    card, encoder, decoder = read_card(find_card(NAME))
    import hashlib

    assert card.identity.digest == int.from_bytes(hashlib.sha256(encoder + decoder).digest()[:4], "big")
