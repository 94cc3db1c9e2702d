"""polydistill: distil many pretrained embedding models into one small student.

This module is the public API. Each name is imported when it is first used, so that `import polydistill` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polydistill.api import compare, distill, evaluate
    from polydistill.contracts import Teacher
    from polydistill.embeddings.specification import Precomputed
    from polydistill.errors import PolydistillError
    from polydistill.export.student import Student, load

__version__ = "0.1.0"
__all__ = [
    "PolydistillError", "Precomputed", "Student", "Teacher", "compare", "distill", "evaluate", "load",
]  # fmt: skip
_HOMES = {
    "PolydistillError": "errors",
    "Precomputed": "embeddings.specification",
    "Student": "export.student",
    "Teacher": "contracts",
    "compare": "api",
    "distill": "api",
    "evaluate": "api",
    "load": "export.student",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'polydistill' has no attribute {name!r}")
    return getattr(import_module(f"polydistill.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
