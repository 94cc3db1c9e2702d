"""Base class of teachers that ONNX Runtime runs."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from polydistill.config.device import device_for
from polydistill.contracts import FloatArray
from polydistill.data.weights import locate
from polydistill.errors import ParamsError, ShapeError, needs_extra
from polydistill.teachers._devices import RunsOnDevice
from polydistill.teachers._readers import reading

NUMBERS = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
"""NumPy's types of the inputs of an ONNX graph, by ONNX Runtime's names."""
FATAL_AND_ERRORS = 3  # a log level of ONNX Runtime
PROVIDERS = {"cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}
"""ONNX Runtime's providers, by the kind of device; every installation has the one for CPUs."""
PACKAGES = {"cuda": "onnxruntime-gpu", "mps": "onnxruntime"}


class RunsOnnx(RunsOnDevice):
    """Runs the ONNX file `model` with `threads` threads; `extra` is the pip extra that installs ONNX Runtime."""

    files: ClassVar = {"weights": "model"}
    extra: ClassVar[str]
    model: str

    @cached_property
    def _session(self) -> Any:
        with needs_extra(f"Teacher {self.name!r}", self.extra):
            import onnxruntime as ort
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = FATAL_AND_ERRORS
        # Waiting threads sleep instead of spinning, so that other processes get the cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        runs_with = providers(self.device, f"Teacher {self.name!r}")
        with reading(f"Teacher {self.name!r}: {self.model}"):
            return ort.InferenceSession(self._graph(), options, providers=runs_with)

    @property
    def runs_on(self) -> str:
        """The device that is used: with `auto`, the CPU if the installed ONNX Runtime knows no accelerator."""
        is_cpu = self._session.get_providers()[0] == "CPUExecutionProvider"
        return "cpu" if is_cpu else super().runs_on

    def _graph(self) -> str | bytes:
        """Return the path of the graph, or the serialised graph."""
        return str(locate(self.model))

    def _require_shape(self, name: str, shape: Sequence[int], hint: str = "") -> None:
        """Check the shape of an input, except for the batch, against the shape that the graph states.

        Raises:
            ShapeError: A fixed axis of the graph has another length.
        """
        stated = next(one.shape for one in self._session.get_inputs() if one.name == name)
        pairs = list(zip(stated[1:], shape[1:], strict=False))
        if len(stated) not in (0, len(shape)) or any(
            isinstance(fixed, int) and fixed != length for fixed, length in pairs
        ):
            wanted = ", ".join(map(str, ["batch", *stated[1:]]))
            got = ", ".join(map(str, ["batch", *shape[1:]]))
            raise ShapeError(
                f"Teacher {self.name!r}: input {name!r} of {self.model} must have shape ({wanted}), "
                f"got ({got}).{hint}"
            )

    def _answer(self, feed: Mapping[str, NDArray[Any]], output: str) -> FloatArray:
        """Return an output of the graph, float32, for inputs with one row per example.

        Inputs are cast to the graph's types. A graph with a fixed batch size gets pieces of that size; the last row
        fills the last piece.

        Raises:
            DataError: ONNX Runtime cannot run the graph.
        """
        taken = {one.name: one for one in self._session.get_inputs()}
        n_rows = len(next(iter(feed.values())))
        fixed = (one.shape[0] for one in taken.values() if one.shape)
        size = next((one for one in fixed if isinstance(one, int)), n_rows)
        answers = []
        for start in range(0, n_rows, size):
            rows = np.arange(start, start + size).clip(max=n_rows - 1)
            piece = {k: v[rows].astype(NUMBERS[taken[k].type]) for k, v in feed.items()}
            with reading(f"Teacher {self.name!r}: {self.model}"):
                answers.append(self._session.run([output], piece)[0])
        return np.concatenate(answers)[:n_rows].astype(np.float32)


def providers(device: str, where: str) -> list[Any]:
    """Return the providers with which ONNX Runtime runs a graph on a device.

    With `auto`, the graph runs on the CPU if the installed ONNX Runtime knows no accelerator of the machine.

    Args:
        device: A setting; see `device.device_for`.
        where: The name of the teacher, for the message.

    Raises:
        ParamsError: The installed ONNX Runtime cannot use this device.
    """
    import onnxruntime as ort

    kind, _, index = device_for(device).partition(":")
    if kind == "cpu":
        return ["CPUExecutionProvider"]
    found = ort.get_available_providers()
    if PROVIDERS[kind] in found:
        options = {"device_id": int(index)} if index else {}
        return [(PROVIDERS[kind], options), "CPUExecutionProvider"]
    if device == "auto":
        return ["CPUExecutionProvider"]
    raise ParamsError(
        f"{where}: ONNX Runtime cannot use the device {device}, it has only {', '.join(found)}: "
        f"pip install {PACKAGES[kind]}, or set `device: cpu` for this teacher."
    )
