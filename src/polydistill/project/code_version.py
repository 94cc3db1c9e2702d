"""Computes a checksum of the code of modules, without comments, docstrings and formatting."""

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
        if (file := _file_of(module)) is None:
            raise ModuleNotFoundError(f"No module {module!r}.")
        tree = ast.parse(file.read_bytes())
        open_ += [name for name in _imported(tree) if _file_of(name) is not None]
        trees[module] = ast.dump(_undocumented(tree))
    text = "\n".join(f"{module} {tree}" for module, tree in sorted(trees.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _file_of(module: str) -> Path | None:
    """Return the file of a module of this package; None if there is none."""
    try:
        spec = find_spec(module) if module.split(".", 1)[0] == PACKAGE else None
    except ModuleNotFoundError:  # the part before the last dot is a module, not a package
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield the names, possibly of modules, that a module imports at its top level or inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _undocumented(tree: ast.Module) -> ast.Module:
    """Return the tree without docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, Documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree
