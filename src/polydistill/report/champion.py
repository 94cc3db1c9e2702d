"""The version that the gate compared the student with: its predictions, and how its data and settings differ."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from polydistill.config.describe import flatten
from polydistill.config.params import RESOLVED_FILE, Params, read_mapping
from polydistill.config.tree import NOT_AFFECTING_SCORES
from polydistill.errors import DataError
from polydistill.project.layout import Layout
from polydistill.project.reports import Json, read_report
from polydistill.project.workspace import DATA_FILE
from polydistill.report.gate import DASH
from polydistill.report.tables import STUDENT

COLUMNS = ["task", "example", "model", "target", "score"]
ATTACHED = "project"
METRICS = {
    "n_train": "training rows",
    "n_parameters": "parameters",
    "steps": "optimiser steps",
    "dim": "dimensions",
}


@dataclass(frozen=True, eq=False)
class Champion:
    """A version of the student that the gate has compared with another.

    Attributes:
        version: Its number in the registry.
        predictions: Its scores per example, with the columns of `COLUMNS`.
        distillation: The metrics of its training.
        settings: Its settings by dotted key; None if they were not published with it.
        data_md5: DVC's hash of its data; None if it was not published with it.
    """

    version: int
    predictions: pd.DataFrame
    distillation: Json
    settings: Mapping[str, object] | None
    data_md5: str | None


@dataclass(frozen=True)
class Change:
    """One difference between the champion and the student.

    Attributes:
        about: `data`, `teachers`, `training` or `settings`.
        name: What differs.
        before: The champion's value.
        after: The student's value.
    """

    about: str
    name: str
    before: str
    after: str


def read_champion(layout: Layout) -> Champion | None:
    """Return the version that `promote` compared the student with; None if there was none, or nothing was kept.

    Raises:
        DataError: A file is damaged.
    """
    folder = layout.champion
    if not (folder / "version.json").exists():
        return None
    try:
        version = json.loads((folder / "version.json").read_text(encoding="utf-8"))["version"]
        predictions = pd.read_parquet(folder / "predictions.parquet")
        if "variant" in predictions:
            predictions = predictions[predictions["variant"] == ""]
        predictions = predictions.loc[predictions["model"] == STUDENT, COLUMNS]
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
        raise DataError(f"{folder} is damaged: {error}. Run promote again.") from error
    resolved = folder / ATTACHED / RESOLVED_FILE.name
    return Champion(
        version=int(version),
        predictions=predictions,
        distillation=read_report(folder / "distill.json", "distill"),
        settings=_settings(read_mapping(resolved), layout.modality) if resolved.exists() else None,
        data_md5=data_md5(folder / ATTACHED),
    )


def comparable(champion: pd.DataFrame, student: pd.DataFrame) -> pd.DataFrame:
    """Return the champion's predictions on the tasks whose examples and targets are the student's too."""
    same = []
    for task, rows in champion.groupby("task", sort=False):
        own = student[(student["task"] == task) & (student["model"] == STUDENT)]
        first, second = (
            one[["example", "target"]].drop_duplicates().sort_values("example").to_numpy().tolist()
            for one in (rows, own)
        )
        if first == second:
            same.append(rows)
    return pd.concat(same, ignore_index=True) if same else champion.iloc[:0]


def changes(
    champion: Champion, params: Params, layout: Layout, distillation: Mapping[str, Any] | None
) -> list[Change]:
    """Return what differs between the champion and the student: data, teachers, training and settings."""
    found = []
    now = data_md5(layout.root)
    if champion.data_md5 and now and champion.data_md5 != now:
        found.append(Change("data", f"hash of {DATA_FILE}", champion.data_md5[:12], now[:12]))
    if distillation is not None:
        for key, name in METRICS.items():
            before, after = champion.distillation.get(key), distillation.get(key)
            if before != after:
                about = "data" if key == "n_train" else "training"
                found.append(Change(about, name, f"{before:,}", f"{after:,}"))
    if champion.settings is not None:
        found += _changed_settings(champion.settings, _own_settings(params, layout.modality))
    return found


def data_md5(folder: Path) -> str | None:
    """Return DVC's hash of `data/` in `data.dvc` of a folder, or None."""
    path = folder / DATA_FILE
    if not path.exists():
        return None
    outs = read_mapping(path).get("outs") or [{}]
    return str(outs[0].get("md5") or "") or None


def _own_settings(params: Params, modality: str) -> dict[str, object]:
    tree = params.of_modality(modality)
    tree["enabled"] = {"teachers": {modality: list(params.enabled_teachers(modality))}}
    return _settings(tree, modality)


def _settings(tree: Mapping[str, Any], modality: str) -> dict[str, object]:
    """Return the settings that affect the student or its scores, by dotted key; of disabled teachers none."""
    block = dict(tree.get(modality) or {})
    enabled = ((tree.get("enabled") or {}).get("teachers") or {}).get(modality) or []
    for key in NOT_AFFECTING_SCORES:
        block.pop(key, None)
    rows = block.pop("teachers", None) or {}
    teachers = {
        name: {key: value for key, value in rows[name].items() if key != "enabled"}
        for name in enabled
        if name in rows
    }
    shared = {key: tree[key] for key in ("seed", "threads", "precision") if key in tree}
    return flatten({**shared, "teachers": teachers, **block})


def _changed_settings(before: Mapping[str, object], after: Mapping[str, object]) -> list[Change]:
    names_before, names_after = (
        {key.split(".")[1] for key in one if key.startswith("teachers.")} for one in (before, after)
    )
    found = [
        Change("teachers", name, "learnt from", DASH) for name in sorted(names_before - names_after)
    ]
    found += [
        Change("teachers", name, DASH, "learns from") for name in sorted(names_after - names_before)
    ]
    new_or_gone = names_before ^ names_after
    for key in dict.fromkeys((*before, *after)):
        parts = key.split(".")
        if parts[0] == "teachers" and parts[1] in new_or_gone:
            continue
        one, other = (_shown(values.get(key, DASH)) for values in (before, after))
        if one != other:
            about = "teachers" if parts[0] == "teachers" else "settings"
            found.append(Change(about, key.removeprefix("teachers."), one, other))
    return found


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return "none" if value is None else str(value)
