"""The student's embeddings, unchanged."""

from __future__ import annotations

from collections.abc import Mapping

from polydistill.contracts import FloatArray
from polydistill.export.bundle import ExportSource
from polydistill.export.kinds import EXPORTS
from polydistill.training.heads_bundle import HeadsBundle


@EXPORTS.register("plain")
class Plain:
    """See `bundle.Export`; returns the student's embeddings unchanged."""

    needs_heads = False

    @classmethod
    def build(cls, source: ExportSource) -> Plain:  # noqa: ARG003 - there is nothing to fit
        """See `bundle.Export`."""
        return cls()

    @classmethod
    def load(cls, arrays: Mapping[str, FloatArray], heads: HeadsBundle | None) -> Plain:  # noqa: ARG003
        """See `bundle.Export`."""
        return cls()

    def apply(self, embeddings: FloatArray) -> FloatArray:
        """See `bundle.Export.apply`."""
        return embeddings

    def arrays(self) -> dict[str, FloatArray]:
        """See `bundle.Export.arrays`."""
        return {}
