"""Imports inside the package: no circular imports, and no imports of another package's private modules."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

GRAPH = grimp.build_graph("polydistill", cache_dir=None)  # a cache may be of other files


def imports_of(module: str) -> set[str]:
    return set(GRAPH.find_modules_directly_imported_by(module))


def test_there_are_no_circular_imports() -> None:
    order = TopologicalSorter({module: imports_of(module) for module in GRAPH.modules})

    try:
        order.prepare()
    except CycleError as error:
        pytest.fail(f"circular import: {' -> '.join(error.args[1])}")


def test_private_modules_are_imported_only_by_their_own_package() -> None:
    found = [
        f"{importer} imports {imported}"
        for importer in GRAPH.modules
        for imported in imports_of(importer)
        if imported.rpartition(".")[2].startswith("_")
        and not importer.startswith(imported.rpartition(".")[0])
    ]

    assert found == []
