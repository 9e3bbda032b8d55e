r"""How a header is sent, and how sure a receiver can be of one. No state is kept here.

The header of frame f is one word of ``places`` bits, spread over the header's elements:

.. math:: b = p(u, f \bmod 4096) \oplus [0_{96} \mid c]

:math:`c` is the polar codeword of what all frames of a picture say alike (`header.DESCRIPTION`), repeated until it
fills its places; :math:`p` is a pseudo-random word for each user u and frame number. The first 96 places carry only p:
the *mark*, by which a receiver that knows nothing finds f. Knowing f it takes p out, and soft bits of c of several
frames of one picture add up. Knowing c, too, it can tell whether a given frame carries it, by `agreement` alone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import erfc, erfcinv

from testbed.errors import ProtocolError, ShapeError
from testbed.phy import polar
from testbed.phy._header_kernels import agree
from testbed.phy.header import DESCRIPTION_BITS, FRAME_CYCLE, Header, unpack_fields
from testbed.phy.interleave import permutation
from testbed.phy.modulation import qpsk, qpsk_llr
from testbed.phy.sequences import splitmix64
from testbed.phy.waveform import HEADER_CODE_BITS, HEADER_MARK_BITS, Waveform

SEQUENCE = 0x4EAD << 40  # where the words of `pattern` begin among SplitMix64's, so that nothing else uses the same
WORD_BITS = 64
MAX_LLR = 30.0  # a bit that is wrong with 1e-13; past it sums of float32 would lose the weak ones

MAX_TRIALS = 8  # frame numbers that a receiver may try on one frame of one user, see `wrong_header_bound`
MAX_DECODES = 16  # calls of the polar decoder for one frame of one user
WRONG_HEADERS = 1e-6  # a frame and user, at most
RADEMACHER = 3.178  # 1 / (4 Q(sqrt 2)), the constant of Bentkus and Dzindzalieta
LEAST_CONSISTENCY = -6.0  # standard deviations; true headers stay above -5, see `consistency`


def wrong_header_bound(threshold: float, trials: int = MAX_TRIALS, decodes: int = MAX_DECODES) -> float:
    r"""Upper bound on the probability that a wrong header is taken for a frame's.

    A header is accepted if its description passed the CRC once and its word agrees with the frame, `agreement`
    :math:`T > t`. For a wrong frame number, or where the user is absent, the signs of the word are independent of what
    was received, so that T is a normalised sum of independent signs (Rademacher), whatever noise, fading and
    interference did to the soft bits:

    .. math:: P \le m \frac{Q(t)}{4 Q(\sqrt 2)} + d \frac{L}{2^{32}}

    with m trials a frame and d calls of a list decoder with L paths. The first term is a theorem for independent signs;
    those of SplitMix64 behave so, which the tests show for noise and for neighbours of a true header.

    Parameters
    ----------
    threshold : float
        t, in standard deviations.
    trials, decodes : int
        m and d, for one frame of one user.

    Returns
    -------
    float

    References
    ----------
    V. K. Bentkus and D. Dzindzalieta, "A tight Gaussian bound for weighted sums of Rademacher random variables",
    Bernoulli 21(2), 2015, theorem 1.1.
    """
    return trials * RADEMACHER * 0.5 * float(erfc(threshold / np.sqrt(2))) + false_description_bound(decodes)


def false_description_bound(decodes: int = MAX_DECODES) -> float:
    """Upper bound on the probability that noise passes the CRC in so many calls of the list decoder."""
    return decodes * polar.LIST_SIZE / 2.0**polar.CRC_BITS


def agreement_threshold() -> float:
    """The threshold on `agreement` at which `wrong_header_bound` is ``WRONG_HEADERS``: 5.37."""
    share = (WRONG_HEADERS - false_description_bound()) / (MAX_TRIALS * RADEMACHER)
    return float(np.sqrt(2) * erfcinv(2 * share))


def header_places(waveform: Waveform) -> int:
    """Bits that the header's elements offer."""
    return 2 * waveform.header_symbols * waveform.occupied_subcarriers


def header_to_symbols(header: Header, waveform: Waveform) -> np.ndarray:
    """The header on the air: its word, scrambled by the pattern of user and frame, as QPSK.

    Parameters
    ----------
    header : Header
    waveform : Waveform

    Returns
    -------
    [header_symbols, occupied] complex64
        Of unit power.
    """
    places = header_places(waveform)
    bits = pattern(header.user, header.frame, places) ^ codeword(header.description(), places)
    return qpsk(bits[_order(places)]).reshape(waveform.header_symbols, -1)


def header_soft_bits(x_hat: np.ndarray, no_eff: np.ndarray | float, waveform: Waveform) -> np.ndarray:
    """Soft bits of a header's word from its elements.

    Parameters
    ----------
    x_hat : [header_symbols, occupied] complex64
        Unbiased estimates of unit-power symbols.
    no_eff : float or [header_symbols, occupied] float32
        Variance of their errors; infinite where lost.
    waveform : Waveform

    Returns
    -------
    [places] float32
        Log-likelihood ratios, positive means bit 1, in the order of the word: the mark first. What is no number is 0,
        and ``MAX_LLR`` is the largest.

    Raises
    ------
    ShapeError
        If ``x_hat`` is not a header's.
    """
    x_hat = np.asarray(x_hat, np.complex64)
    shape = (waveform.header_symbols, waveform.occupied_subcarriers)
    if x_hat.shape != shape:
        raise ShapeError(f"header symbols {x_hat.shape}: must be {shape}")
    llr = qpsk_llr(x_hat.ravel(), np.broadcast_to(np.asarray(no_eff, np.float32), shape).ravel())
    soft = np.empty_like(llr)
    soft[_order(len(llr))] = np.clip(np.nan_to_num(llr, nan=0.0), -MAX_LLR, MAX_LLR)
    return soft


def mark_scores(soft: np.ndarray, user: int) -> np.ndarray:
    """How well the mark of each frame number agrees with a frame, as a log-likelihood.

    Parameters
    ----------
    soft : [places] float32
        From `header_soft_bits`.
    user : int

    Returns
    -------
    [FRAME_CYCLE] float32
        Their differences are log-likelihood ratios; scores of frames of one stream may be added, each shifted by the
        frames that lie between.
    """
    return _marks(user) @ soft[:HEADER_MARK_BITS] / 2


def code_soft_bits(soft: np.ndarray, user: int, frame: int) -> np.ndarray:
    """Soft bits of the polar codeword, repetitions added up, if this is frame number ``frame``.

    Parameters
    ----------
    soft : [places] float32
    user, frame : int

    Returns
    -------
    [HEADER_CODE_BITS] float32
        Positive means bit 1. Those of frames of one picture may be added.
    """
    plain = np.where(pattern(user, frame, len(soft)), -soft, soft)[HEADER_MARK_BITS:]
    whole = len(plain) // HEADER_CODE_BITS * HEADER_CODE_BITS
    code = plain[:whole].reshape(-1, HEADER_CODE_BITS).sum(axis=0)
    code[: len(plain) - whole] += plain[whole:]
    return code


def information(soft: np.ndarray) -> float:
    r"""Bits that soft bits can tell at most, :math:`\sum_i 1 - H_2(1/(1+e^{|L_i|}))`: below what is sought, decoding is
    hopeless."""
    wrong = 1.0 / (1.0 + np.exp(np.minimum(np.abs(soft, dtype=np.float64), 50.0)))
    return float(np.sum(1.0 + wrong * np.log2(wrong) + (1.0 - wrong) * np.log2(1.0 - wrong)))


def agreement(soft: np.ndarray, user: int, frame: int, word: np.ndarray) -> float:
    r"""How much better a header agrees with a frame than a random one would, in standard deviations.

    .. math:: T = \frac{\sum_i s_i \tanh(L_i/2)}{\sqrt{\sum_i \tanh^2(L_i/2)}}, \quad s_i = 2 b_i - 1

    Parameters
    ----------
    soft : [places] float32
        :math:`L_i`, from `header_soft_bits`.
    user, frame : int
    word : [places] uint8
        From `codeword`.

    Returns
    -------
    float
        At most :math:`\sqrt{\mathrm{places}}`; see `wrong_header_bound` for a wrong header's.
    """
    return agree(soft, pattern(user, frame, len(soft)), word)[0]


def consistency(soft: np.ndarray, user: int, frame: int, word: np.ndarray) -> float:
    r"""Whether soft bits are as often wrong as they claim, in standard deviations; negative: more often.

    .. math:: z = \frac{\sum_i s_i L_i - |L_i| \tanh(|L_i|/2)}{\sqrt{\sum_i L_i^2 (1 - \tanh^2(L_i/2))}}

    Of the true header z is about standard normal. The word of another picture that happens to have the frame's number
    (a stream that began anew, on the old one's timing) agrees in most of its bits; where the rest are sure, z tells.

    Parameters
    ----------
    soft : [places] float32
    user, frame : int
    word : [places] uint8
        As `agreement`.

    Returns
    -------
    float
    """
    return agree(soft, pattern(user, frame, len(soft)), word)[1]


def belongs(soft: np.ndarray, user: int, frame: int, word: np.ndarray, threshold: float) -> tuple[bool, bool]:
    """Whether a header agrees with a frame, and whether the frame is consistent with it; see `agreement`.

    Parameters
    ----------
    soft : [places] float32
        From `header_soft_bits`.
    user, frame : int
        Whose header, and the frame's number.
    word : [places] uint8
        From `codeword`.
    threshold : float
        Least agreement.

    Returns
    -------
    agrees, is_consistent : bool
    """
    agreed, consistent = agree(soft, pattern(user, frame, len(soft)), word)
    return agreed >= threshold, consistent >= LEAST_CONSISTENCY


def codeword(description: np.ndarray, places: int) -> np.ndarray:
    """The word of a description: zeros for the mark, then the polar codeword, repeated until the rest is full.

    Parameters
    ----------
    description : [DESCRIPTION_BITS] uint8
    places : int
        Bits of a header on the air.

    Returns
    -------
    [places] uint8
    """
    code = polar.encode(description, HEADER_CODE_BITS)
    word = np.zeros(places, np.uint8)
    word[HEADER_MARK_BITS:] = np.resize(code, places - HEADER_MARK_BITS)
    return word


def decode_description(code: np.ndarray, known: np.ndarray | None = None) -> np.ndarray | None:
    """The description from soft bits of a codeword.

    Parameters
    ----------
    code : [HEADER_CODE_BITS] float32
        Log-likelihood ratios, positive means bit 1.
    known : [DESCRIPTION_BITS] int8, optional
        Bits that are known, -1 for those that are not.

    Returns
    -------
    [DESCRIPTION_BITS] uint8 or None
        None where the CRC says that there is none.
    """
    return polar.decode(code, DESCRIPTION_BITS, known)


def read_alone(soft: np.ndarray, user: int) -> Header | None:
    """The header of a single frame, nothing else known.

    Parameters
    ----------
    soft : [places] float32
        From `header_soft_bits`.
    user : int

    Returns
    -------
    Header or None
        None where the CRC says that there is none, or where it is none of ours.
    """
    mark = int(np.argmax(mark_scores(soft, user)))
    description = decode_description(code_soft_bits(soft, user, mark))
    if description is None:
        return None
    try:
        return Header.of_frame(user, full_number(mark, unpack_fields(description)["first"]), description)
    except ProtocolError:
        return None


def full_number(frame: int, first: int) -> int:
    """The frame number that is ``frame`` modulo FRAME_CYCLE and the least from ``first`` on.

    Parameters
    ----------
    frame : int
        Modulo FRAME_CYCLE.
    first : int
        Number of the picture's first frame.

    Returns
    -------
    int
    """
    return first + (frame - first) % FRAME_CYCLE


@lru_cache(maxsize=256)
def pattern(user: int, frame: int, places: int) -> np.ndarray:
    """The pseudo-random word of a user and a frame number.

    Parameters
    ----------
    user, frame : int
        The frame's number counts modulo FRAME_CYCLE.
    places : int
        Bits of a header on the air.

    Returns
    -------
    [places] uint8
        Cached: not to be written to.
    """
    return _patterns(user, np.array([frame % FRAME_CYCLE]), places)[0]


def _patterns(user: int, frames: np.ndarray, places: int) -> np.ndarray:
    """[frames, places] uint8."""
    words = np.arange(-(-places // WORD_BITS))
    numbers = SEQUENCE + ((user * FRAME_CYCLE + frames[:, None]) << 16) + words
    return np.unpackbits(splitmix64(numbers).astype(">u8").view(np.uint8), axis=-1)[:, :places]


@lru_cache(maxsize=16)
def _marks(user: int) -> np.ndarray:
    """[FRAME_CYCLE, HEADER_MARK_BITS] float32: the marks of all frame numbers, 1 for a bit 1, -1 for a bit 0."""
    return _read_only(2 * _patterns(user, np.arange(FRAME_CYCLE), HEADER_MARK_BITS).astype(np.float32) - 1)


@lru_cache(maxsize=8)
def _order(places: int) -> np.ndarray:
    """Which bit of the word stands at each place on the air: spread, so that a fade takes a little of everything."""
    if places < HEADER_MARK_BITS + HEADER_CODE_BITS:
        raise ShapeError(
            f"{places} header bits: mark and code take {HEADER_MARK_BITS + HEADER_CODE_BITS}; "
            "raise waveform.header_symbols"
        )
    return permutation(places)


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
