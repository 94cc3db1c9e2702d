"""ONNX Runtime sessions on the CPU, shared by the teachers with ONNX files."""

from functools import cached_property
from typing import Any, ClassVar

from polydistill.data.weights import locate
from polydistill.errors import needs_extra
from polydistill.teachers._readers import NamedTeacher

FATAL_AND_ERRORS = 3  # of ONNX Runtime's log levels


class RunsOnnx(NamedTeacher):
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
        return ort.InferenceSession(self._graph(), options, providers=["CPUExecutionProvider"])

    def _graph(self) -> str | bytes:
        """Return the path of the graph, or the serialised graph."""
        return str(locate(self.model))
