"""A node's model of its channel against the distributions that it is named after, and that records pass through it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from testbed.codec.evidence import WIDTH
from testbed.codec.links import Link
from testbed.data.partition import Labelled
from testbed.federation.evidence import evidence, receive_each

SYMBOLS = 6


class Spoken:
    """In place of an encoder and classifier: pixels are the symbols, real parts first, scaled to unit power."""

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        x = (2 * pictures - 1).astype(np.float64)
        x *= np.sqrt(SYMBOLS) / np.linalg.norm(x, axis=1, keepdims=True)
        return (x[:, :SYMBOLS] + 1j * x[:, SYMBOLS:]).astype(np.complex64)


def some(rng: np.random.Generator, count: int, classes: int = 3) -> Labelled:
    return Labelled(rng.random((count, 2 * SYMBOLS)).astype(np.float32), rng.integers(0, classes, count))


def check_errors(link: Link, error: np.ndarray) -> None:
    """Kolmogorov-Smirnov on |e|^2 / N0, one in 1e4: exponential over AWGN; where N0 is over an exponential gain, too,
    the quotient of two exponentials, P(|e|^2 / N0 > t) = 1 / (1 + t). Phases are uniform."""
    energy = np.abs(error).ravel() ** 2 * 10 ** (link.snr_db / 10)
    law = {"AWGN": lambda t: 1 - np.exp(-t), "Rayleigh": lambda t: t / (1 + t)}[link.kind]
    assert stats.kstest(energy, law).pvalue > 1e-4
    assert stats.kstest(np.angle(error).ravel() / (2 * np.pi) % 1.0, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("link", [Link("AWGN", 10.0), Link("AWGN", -3.0), Link("Rayleigh", 6.0)])
def test_a_link_errs_as_its_name_says(link: Link, rng: np.random.Generator):
    """30,000 symbols; and over the variance that it reports for each symbol every error is normal."""
    symbols = Spoken().encode(some(rng, 5000).pictures)
    received, no_eff = link.receive(symbols, rng)
    check_errors(link, received - symbols)
    whitened = (received - symbols) / np.sqrt(no_eff / 2)
    assert stats.kstest(np.concatenate([whitened.real.ravel(), whitened.imag.ravel()]), "norm").pvalue > 1e-4


@pytest.mark.parametrize("link", [Link("AWGN", 10.0), Link("Rayleigh", 6.0)])
def test_records_pass_through_the_link_before_anything_is_said_of_them(link: Link, rng: np.random.Generator):
    """2,000 records: what arrives less what was sent is the link's error, fresh for each record and each round."""
    records = some(rng, 2000)
    sent = Spoken().encode(records.pictures)
    error = [receive_each(Spoken(), link, records, sent.shape[1], 7, number) - sent for number in (1, 2)]
    for e in error:
        check_errors(link, e)
    limited = [e / (1 + np.abs(e)) for e in error]  # a quotient of exponentials has no variance to correlate by
    for a, b in ((limited[0], limited[1]), (limited[0][1:], limited[0][:-1])):
        assert abs(np.vdot(a, b)) < 5 * np.linalg.norm(a) * np.linalg.norm(b) / np.sqrt(a.size)


def described(public: np.ndarray, received: np.ndarray) -> np.ndarray:
    """The formula of `testbed.codec.evidence`, sample by sample."""
    between = [np.linalg.norm(a - b) ** 2 for i, a in enumerate(public) for b in public[i + 1 :]]
    width = WIDTH * np.sqrt(np.median(between))

    def kappa(y: np.ndarray) -> np.ndarray:
        return np.array([np.exp(-(np.linalg.norm(y - s) ** 2) / (2 * width**2)) for s in public])

    mean = np.mean([kappa(s) for s in public], axis=0)
    rows = [kappa(y) - mean for y in received]
    return np.array([row / np.linalg.norm(row) for row in rows])


def test_evidence_is_given_of_what_arrived_and_not_of_what_was_sent(rng: np.random.Generator):
    """At 80 dB it is that of the symbols sent, by the formula written out.

    At 0 dB each public sample is a record of every class, and the mean of all 90 values is what it is with the test's
    own noise in place of the link's, to 5 sigma of 40 draws. Without a channel it would be more than 20 sigma away.
    """
    public = some(rng, 30).pictures
    records = Labelled(np.tile(public, (3, 1)), np.repeat(np.arange(3), 30))
    sent = Spoken().encode(records.pictures)

    def value(snr_db: float) -> np.ndarray:
        return evidence(public, records, Spoken(), Link("AWGN", snr_db), 3, 7, 1)

    def by_hand(received: np.ndarray) -> np.ndarray:
        return described(sent[:30], received).T @ np.eye(3)[records.labels]

    assert value(80.0) == pytest.approx(by_hand(sent), abs=0.02)
    drawn = [by_hand(sent + rng.standard_normal((*sent.shape, 2)) @ np.array([1, 1j]) / np.sqrt(2)) for _ in range(40)]
    alike = [d.mean() for d in drawn]
    sigma = np.std(alike, ddof=1) * np.sqrt(1 + 1 / 40)
    assert abs(value(0.0).mean() - np.mean(alike)) < 5 * sigma
    assert abs(by_hand(sent).mean() - np.mean(alike)) > 20 * sigma
