"""The student's embeddings, unchanged."""

from __future__ import annotations

from typing import ClassVar

from polydistill.contracts import FloatArray
from polydistill.export.kinds import EXPORTS


@EXPORTS.register("plain")
class Plain:
    """See `bundle.Export`; returns the student's embeddings unchanged."""

    needs_heads: ClassVar = False

    @classmethod
    def build(cls, embeddings: FloatArray) -> Plain:  # noqa: ARG003 - there is nothing to fit
        """See `bundle.Export`."""
        return cls()

    def apply(self, embeddings: FloatArray) -> FloatArray:
        """See `bundle.Export.apply`."""
        return embeddings
