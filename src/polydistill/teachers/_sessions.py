"""ONNX Runtime sessions on the CPU, with the number of threads set in params.yaml."""

from __future__ import annotations

from typing import Any

from polydistill.errors import needs_extra

FATAL_AND_ERRORS = 3  # of ONNX Runtime's log levels


def open_session(name: str, model: str | bytes, *, threads: int, extra: str) -> Any:
    """Return an ONNX Runtime session for a file or a serialised graph.

    Args:
        name: The teacher's name, for messages.
        model: The path, or the serialised graph.
        threads: Number of threads. Waiting threads sleep instead of spinning, so other processes get the cores.
        extra: The pip extra that installs ONNX Runtime.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
    """
    with needs_extra(f"Teacher {name!r}", extra):
        import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL_AND_ERRORS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
