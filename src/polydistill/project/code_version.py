"""A checksum of the code of some modules that ignores comments, docstrings and formatting."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

PACKAGE = __name__.partition(".")[0]
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def code_version(modules: Iterable[str], without: Collection[str] = ()) -> str:
    """Return the sha256 of the code of modules, and of all modules of this package that they import.

    Args:
        modules: Dotted names of modules in this package.
        without: Dotted names of modules that are left out, together with their imports.

    Raises:
        ModuleNotFoundError: There is no such module.
    """
    trees: dict[str, str] = {}
    open_ = sorted(set(modules))
    while open_:
        module = open_.pop()
        if module in trees or module in without:
            continue
        tree = ast.parse(_file_of(module).read_bytes())
        open_ += _imported(tree)
        trees[module] = ast.dump(_undocumented(tree))
    text = "\n".join(f"{module} {tree}" for module, tree in sorted(trees.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _file_of(module: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module {module!r}.")
    return Path(spec.origin)


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield the modules of this package that a module imports, at its top or inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _is_ours(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and _is_ours(node.module):
            yield node.module
            inside = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for name in inside if _is_module(name))


def _is_ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] == PACKAGE


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the part before the last dot is a module, not a package
        return False


def _undocumented(tree: ast.Module) -> ast.Module:
    """Return the tree without docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, Documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree
