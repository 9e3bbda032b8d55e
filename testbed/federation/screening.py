r"""Whether an upload keeps to what was agreed: names, shapes, the mechanism's noise, and values that it can explain.

An honest value is :math:`x + z`, x within its :class:`~testbed.federation.tensors.Spec` and z the mechanism's noise, so

.. math:: \lVert x + z \rVert \le \lVert x \rVert + \lVert z \rVert, \qquad \max|x + z| \le \max|x| + \max|z|,

and an upload beyond what the noise's own quantiles leave of either is not one of the agreed mechanism. The checks of
all tensors together refuse an honest upload with a probability of at most ``HONEST_REFUSED``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from testbed.control.messages import Upload
from testbed.errors import ProtocolError
from testbed.federation.base import Release, Released
from testbed.federation.tensors import Spec, Tensors, unpack
from testbed.privacy.mechanisms.base import Mechanism

HONEST_REFUSED = 1e-9
ROUNDING = 1e-5  # relative: of float32, and of an encoder's last bits


def screened(upload: Upload, release: Release, mechanism: Mechanism) -> Released:
    """An upload that keeps to what was agreed.

    Parameters
    ----------
    upload : Upload
    release : Release
    mechanism : Mechanism

    Returns
    -------
    Released
        With the noise of the agreed mechanism, whatever the upload says of itself.

    Raises
    ------
    ProtocolError
        Naming who sent it, what lies outside, and what is allowed.
    """
    agreed = mechanism.std(release.sensitivity)
    if upload.mechanism != mechanism.name:
        raise ProtocolError(f"{upload.node} claims mechanism {upload.mechanism[:40]!r}; agreed: {mechanism.name}")
    if not math.isclose(upload.noise_std, agreed, rel_tol=ROUNDING):
        raise ProtocolError(
            f"{upload.node} claims noise of standard deviation {upload.noise_std:g}; agreed: {agreed:g}"
        )
    tensors = unpack(upload.tensors, release.tensors, upload.node)
    check_values(tensors, release.tensors, mechanism, mechanism.scale(release.sensitivity), upload.node)
    return Released(upload.node, tensors, agreed)


def check_values(tensors: Tensors, specs: Mapping[str, Spec], mechanism: Mechanism, scale: float, whose: str) -> None:
    """Refuse values that the agreed bounds and noise do not explain.

    Parameters
    ----------
    tensors : dict of str to [...] float32
    specs : mapping of str to Spec
    mechanism : Mechanism
    scale : float
        Of its noise, in units of the values.
    whose : str

    Raises
    ------
    ProtocolError
        Naming tensor, what it has and what is allowed.
    """
    share = HONEST_REFUSED / (2 * max(1, len(specs)))
    for name, spec in specs.items():
        value = np.abs(tensors[name].astype(np.float64))
        if not value.size:
            continue
        # In the mechanism's norm; x has at most sqrt(size) times its L2 norm as L1 norm.
        norm = float(value.sum()) if mechanism.norm == 1 else float(np.sqrt(np.sum(value**2)))
        honest = spec.l2 * (math.sqrt(spec.size) if mechanism.norm == 1 else 1.0)
        most = honest + (scale * mechanism.norm_tail(spec.size, share) if scale else 0.0)
        if norm > most * (1 + ROUNDING):
            raise ProtocolError(f"{whose}: {name} has L{mechanism.norm} norm {norm:.6g}; agreed: at most {most:.6g}")
        most = spec.largest + (scale * mechanism.entry_tail(spec.size, share) if scale else 0.0)
        if value.max() > most * (1 + ROUNDING):
            raise ProtocolError(f"{whose}: {name} has a value of {value.max():.6g}; agreed: at most {most:.6g}")
