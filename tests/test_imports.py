"""Imports inside the package: no circles, and no package reaches into another's private modules."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

GRAPH = grimp.build_graph("polydistill")


def imports_of(module: str) -> set[str]:
    return set(GRAPH.find_modules_directly_imported_by(module))


def test_no_module_imports_itself_through_others() -> None:
    order = TopologicalSorter({module: imports_of(module) for module in GRAPH.modules})

    try:
        order.prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_a_private_module_is_imported_by_its_own_package_alone() -> None:
    found = [
        f"{importer} imports {imported}"
        for importer in GRAPH.modules
        for imported in imports_of(importer)
        if imported.rpartition(".")[2].startswith("_")
        and not importer.startswith(imported.rpartition(".")[0])
    ]

    assert found == []
