"""Sessions of ONNX Runtime for models that may come from anybody: how they are opened, and what is asked of them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import onnxruntime

from testbed.errors import CodecError

AUTO = "auto"
PROVIDERS = {  # the best first
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
POWER_TOLERANCE = 0.02  # 0.09 dB; room for encoders that compute in half precision

# A model may come from outside: what runs is the ONNX that was checked, and no file of this machine is part of it.
ONLY_THESE_BYTES = {
    "session.load_model_format": "ONNX",  # else a file that is also of ONNX Runtime's own format is taken for that
    "session.model_external_initializers_file_folder_path": "/dev/null/none",
}


class Port(msgspec.Struct, frozen=True):
    """An input or output of a model, float32. ``axes`` holds the length of each axis, None where any is wanted."""

    name: str
    axes: tuple[int | None, ...]

    def describe(self) -> str:
        """As it stands in a message."""
        return f"{self.name} float [{', '.join('any' if a is None else str(a) for a in self.axes)}]"


def choose(provider: str, available: Sequence[str]) -> list[str]:
    """ONNX Runtime's execution providers for a request, the best first.

    Parameters
    ----------
    provider : str
        One of ``PROVIDERS``, or ``auto`` for the best that is available.
    available : sequence of str
        As ``onnxruntime.get_available_providers()`` gives them.

    Returns
    -------
    list of str
        With the CPU last, which runs what the others cannot.

    Raises
    ------
    CodecError
        If it is none of these, or not available; names what is.
    """
    there = [name for name, called in PROVIDERS.items() if called in available]
    if provider == AUTO:
        return [PROVIDERS[name] for name in there]
    if provider not in PROVIDERS:
        raise CodecError(f"provider = {provider}: allowed: {AUTO}, {', '.join(PROVIDERS)}")
    if provider not in there:
        raise CodecError(
            f"provider = {provider}: ONNX Runtime has {', '.join(there)} here; cuda and tensorrt come with the package "
            "onnxruntime-gpu in place of onnxruntime"
        )
    return list(dict.fromkeys([PROVIDERS[provider], PROVIDERS["cpu"]]))


def open_session(model: bytes, name: str, threads: int, provider: str = "cpu") -> onnxruntime.InferenceSession:
    """A session of ONNX Runtime.

    Parameters
    ----------
    model : bytes
        ONNX.
    name : str
        For messages.
    threads : int
        Of the CPU. One gives the same bits whatever else the machine does.
    provider : str
        ``cpu``, which gives the same bits on every machine of a kind; ``cuda``, ``tensorrt``, or ``auto``.

    Returns
    -------
    onnxruntime.InferenceSession

    Raises
    ------
    CodecError
        If ONNX Runtime cannot load it, or the provider is not available.
    """
    providers = choose(provider, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for key, value in ONLY_THESE_BYTES.items():
        options.add_session_config_entry(key, value)
    try:
        session = onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # ONNX Runtime's own exceptions share no base
        raise CodecError(f"{name}: ONNX Runtime {onnxruntime.__version__} cannot load it: {error}") from error
    if provider not in (AUTO, provider_of(session)):  # libraries of the GPU are missing, and the CPU took over
        raise CodecError(
            f"{name}: provider = {provider}: ONNX Runtime could not start it and took {provider_of(session)}"
        )
    return session


def provider_of(session: onnxruntime.InferenceSession) -> str:
    """Which of ``PROVIDERS`` runs a session."""
    first = session.get_providers()[0]
    return next((name for name, called in PROVIDERS.items() if called == first), first)


def execute(session: onnxruntime.InferenceSession, name: str, output: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """One output of a model.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    name : str
        Codec and half, for messages.
    output : str
    inputs : {name: array}

    Returns
    -------
    numpy.ndarray
        Of the model's type and shape, float32 in the codecs' models.

    Raises
    ------
    CodecError
        If ONNX Runtime cannot execute it on these inputs.
    """
    try:
        return session.run([output], inputs)[0]
    except Exception as error:  # ONNX Runtime's own exceptions share no base
        raise CodecError(f"{name}: does not do what its card says: {error}") from error


def some_lost(count: int) -> np.ndarray:
    """[count] float32 error variances: 20 dB, and every third symbol lost."""
    no_eff = np.full(count, 0.01, np.float32)
    no_eff[::3] = np.inf
    return no_eff


def require_ports(
    session: onnxruntime.InferenceSession, name: str, takes: Sequence[Port], gives: Sequence[Port]
) -> None:
    """Check a model's inputs and outputs by name, type, number of axes and length of those that are fixed.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    name : str
        Codec and half, for messages.
    takes, gives : sequence of Port
        More outputs than these may be there, more inputs not.

    Raises
    ------
    CodecError
        Naming what is there and what is wanted.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    for verb, found, wanted in (("takes", inputs, takes), ("gives", outputs, gives)):
        by_name = {port.name: port for port in found}
        fits = all(port.name in by_name and fitting(by_name[port.name], port) for port in wanted)
        if not fits or (verb == "takes" and len(found) != len(wanted)):
            there = ", ".join(f"{p.name} {p.type[7:-1]} {p.shape}" for p in found)
            raise CodecError(f"{name}: {verb} {there}; wanted: {', '.join(p.describe() for p in wanted)}")


def fitting(found: onnxruntime.NodeArg, wanted: Port) -> bool:
    """Whether a port is float32 and no axis of it is fixed to another length than the wanted one.

    Parameters
    ----------
    found : onnxruntime.NodeArg
        Of the model.
    wanted : Port

    Returns
    -------
    bool
    """
    if found.type != "tensor(float)" or (found.shape and len(found.shape) != len(wanted.axes)):
        return False
    return all(not isinstance(has, int) or has == want for has, want in zip(found.shape, wanted.axes, strict=False))


def require_unit_power(symbols: np.ndarray, name: str) -> None:
    """Check the symbols of one picture.

    Parameters
    ----------
    symbols : [k] complex64
    name : str
        Codec and half, for messages.

    Raises
    ------
    CodecError
        If one is not finite, or their mean power is not 1 within ``POWER_TOLERANCE``.
    """
    power = float(np.mean(symbols.real.astype(np.float64) ** 2 + symbols.imag.astype(np.float64) ** 2))
    if not np.isfinite(power):
        raise CodecError(f"{name}: gives symbols that are not finite")
    if abs(power - 1.0) > POWER_TOLERANCE:
        raise CodecError(
            f"{name}: gives symbols of mean power {power:.4g}; wanted: 1 for each picture, within "
            f"{POWER_TOLERANCE:.0%}, since SNR is stated for it. Scale them in the encoder, and undo nothing elsewhere"
        )
