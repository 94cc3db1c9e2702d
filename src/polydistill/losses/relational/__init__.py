"""The room of every geometry term: one file an entry, a function or, where it remembers, a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from polydistill.contracts import GeometryTerm
from polydistill.plugins import Plugins

GEOMETRY: Plugins[Callable[..., Any]] = Plugins("geometry term", __name__)


def build_geometry(
    name: str, options: Mapping[str, Any], student_dim: int, teacher_dims: Sequence[int]
) -> GeometryTerm:
    """Return a term, ready to be called.

    Raises:
        UnknownNameError: There is no such term.
    """
    entry = GEOMETRY.get(name)
    if isinstance(entry, type):
        term: GeometryTerm = entry(student_dim, teacher_dims, **options)
        return term
    return partial(entry, **options)
