"""Plug-in package of the relational terms; one file per plug-in, a function or a stateful module."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from polydistill.contracts import GeometryTerm
from polydistill.plugins import Plugins

GEOMETRY: Plugins[Callable[..., Any]] = Plugins("relational term", __name__)


def build_geometry(
    name: str, options: Mapping[str, Any], student_dim: int, teacher_dims: Sequence[int]
) -> GeometryTerm:
    """Return the relational term that the name and options describe.

    Raises:
        UnknownNameError: No relational term has this name.
    """
    entry = GEOMETRY.get(name)
    if isinstance(entry, type):
        term: GeometryTerm = entry(student_dim, teacher_dims, **options)
        return term
    return partial(entry, **options)
