"""Build a modality's folder in `data/` with its recipe, from public packages that may be redistributed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from polydistill.contracts import Progress, silent
from polydistill.errors import DataError
from polydistill.project.files import put_in_place
from polydistill.project.layout import Layout
from recipes.contracts import BuiltData, Recipe
from recipes.modalities import RECIPES

PARQUET = {"compression": "zstd", "compression_level": 19, "write_statistics": False}


@dataclass(frozen=True)
class DataReport:
    """A summary of the built data.

    Attributes:
        modality: The modality of the folder.
        rows: The number of rows of each table.
        left_out: The numbers of rows left out, by source or table, and by reason. A row left out of one table may be
            in another.
        data_bytes: The size of all of `data/`, in bytes.
    """

    modality: str
    rows: dict[str, int]
    left_out: Mapping[str, Mapping[str, int]]
    data_bytes: int


def build_data(
    root: Path, modality: str, *, refetch: bool = False, progress: Progress = silent
) -> DataReport:
    """Build `data/<modality>` and rewrite `data/SOURCES.md`, which lists the tables of all recipes. Other files stay.

    Args:
        root: The project folder.
        modality: The name of a recipe.
        refetch: Whether to read the current version of changing sources instead of the frozen copies in `data/`.
        progress: Called after each step.

    Raises:
        UnknownNameError: There is no recipe of that name.
        DataError: The recipe gives no origin for one of its tables, or a package is not the pinned one.
        StageError: A source is not available.
    """
    layout, folder = Layout(root, modality), root / "data"
    recipe: Recipe = RECIPES.get(modality)()
    built = recipe.build(layout.downloads, folder / modality, refetch=refetch, progress=progress)
    _require_origins(modality, recipe, built)
    scratch = layout.work("data", modality)
    shutil.rmtree(scratch, ignore_errors=True)
    for name, frame in built.frames.items():
        _write(frame, scratch / modality / name)
    for name, text in built.texts.items():
        _write_text(text, scratch / name)
    for path in sorted(path for path in scratch.rglob("*") if path.is_file()):
        put_in_place(path, folder / path.relative_to(scratch))
    _write_text(_sources(folder), scratch / "SOURCES.md")
    put_in_place(scratch / "SOURCES.md", folder / "SOURCES.md")
    shutil.rmtree(scratch)
    rows = {name: len(frame) for name, frame in built.frames.items()}
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return DataReport(modality, rows, built.left_out, size)


def _require_origins(modality: str, recipe: Recipe, built: BuiltData) -> None:
    if unknown := sorted(set(built.frames) - set(recipe.origins)):
        raise DataError(
            f"The data recipe {modality!r} must give an origin for {unknown[0]}, "
            f"got {', '.join(sorted(recipe.origins)) or 'none'}."
        )


def _write(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, path, **PARQUET)


def _write_text(text: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _sources(folder: Path) -> str:
    """Return the content of `SOURCES.md`: the source and licence of every table that a recipe builds."""
    recipes: dict[str, Recipe] = {
        name: RECIPES.get(name)() for name in RECIPES.names() if (folder / name).is_dir()
    }
    lines = ["# Sources", ""]
    for recipe in recipes.values():
        lines += [recipe.notice, ""]
    lines += ["| file | source | licence | rows | sha256 |", "|---|---|---|---|---|"]
    origins = {
        folder / name / at: one
        for name, made in recipes.items()
        for at, one in made.origins.items()
    }
    for path in sorted(path for path in origins if path.exists()):
        origin, rows = origins[path], pq.read_metadata(path).num_rows
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        file = path.relative_to(folder)
        lines.append(f"| {file} | {origin.source} | {origin.licence} | {rows:,} | {digest} |")
    return "\n".join(lines) + "\n"
