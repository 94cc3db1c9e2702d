"""ONNX Runtime as every teacher of an ONNX file uses it: on the processor, with the threads of params.yaml."""

from __future__ import annotations

from typing import Any

from polydistill.errors import MissingExtraError

FATAL_AND_ERRORS = 3  # of ONNX Runtime's log levels


def open_session(name: str, model: str | bytes, *, threads: int, extra: str) -> Any:
    """Return a session of a file, or of a graph's bytes.

    Args:
        name: The teacher's, for messages.
        model: The path, or the serialised graph.
        threads: They sleep while they wait, so that other processes get the cores.
        extra: What brings ONNX Runtime.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingExtraError(f"Teacher {name!r}", extra) from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL_AND_ERRORS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
