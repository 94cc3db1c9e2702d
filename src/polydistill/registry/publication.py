"""The files that are published with a version for the gate, made from the data that it was trained on."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from polydistill.config.params import Params
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import read_corpus, read_tasks
from polydistill.errors import DataError
from polydistill.evaluation.contamination import contamination
from polydistill.project.layout import Layout
from polydistill.registry.evidence import Evidence, Finding
from polydistill.registry.smoke_test import write_smoke_test

EVIDENCE, GROUPS, SMOKE_TEST = "evidence.json", "groups.parquet", "smoke_test.json"
FORMER_SMOKE_TEST = "canary.json"
"""The name of `smoke_test.json` in versions of earlier releases."""
FORMAT = 1


def write_evidence(folder: Path, params: Params, layout: Layout, lock: Mapping[str, Any]) -> None:
    """Write `evidence.json`, `groups.parquet`, `smoke_test.json` and a copy of `validation.json`.

    The same project gives the same bytes, without a time, host or path.

    Args:
        folder: An existing folder.
        params: The parameters of the run.
        layout: The layout of the modality's files.
        lock: The modality's stages in `dvc.lock`, which record the data that each stage has read.

    Raises:
        MissingDataError: The corpus, a task or the student is missing.
    """
    block, kind = params.modality(layout.modality), MODALITIES.get(layout.modality)()
    frames = read_tasks(layout.root, block.tasks, kind)
    corpus = read_corpus(layout.root, block.corpus, kind, with_groups=False)[kind.column]
    teachers = params.enabled_teachers(layout.modality)
    seen = params.labels_seen(layout.modality)
    content = {
        "format": FORMAT,
        "contamination": asdict(contamination(corpus, frames, block.tasks, kind, seen)),
        "licences": {name: row.licence for name, row in teachers.items()},
        "validation": asdict(validated(layout, lock)),
    }
    text = json.dumps(content, indent=1, sort_keys=True)
    (folder / EVIDENCE).write_text(text + "\n", encoding="utf-8")
    groups = [
        frame[["id", "group"]].astype(str).assign(task=name)
        for name, frame in frames.items()
        if "group" in frame
    ]
    empty = pd.DataFrame({"id": [], "group": [], "task": []}, dtype=str)
    pd.concat([empty, *groups], ignore_index=True).to_parquet(folder / GROUPS, index=False)
    write_smoke_test(folder / SMOKE_TEST, layout.student, kind)
    if layout.validation.exists():
        shutil.copyfile(layout.validation, folder / layout.validation.name)


def read_evidence(path: Path) -> Evidence:
    """Return the content of `evidence.json`.

    Raises:
        DataError: The file has another format.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("format") != FORMAT:
        raise DataError(f"{path.name} must have format {FORMAT}, got {content.get('format')}.")
    return TypeAdapter(Evidence).validate_python(content)


def read_groups(path: Path) -> dict[str, dict[str, str]]:
    """Return the content of `groups.parquet`: the group by task and example id."""
    return {
        str(task): dict(zip(rows["id"], rows["group"], strict=True))
        for task, rows in pd.read_parquet(path).groupby("task")
    }


def validated(layout: Layout, lock: Mapping[str, Any]) -> Finding:
    """Return whether the data that the student was trained and evaluated on was validated."""
    path = layout.validation.relative_to(layout.root).as_posix()
    if not layout.validation.exists():
        return Finding(holds=False, because=f"there is no {path}: the data was not validated.")
    written, seen = (hashes(lock, f"validate@{layout.modality}", side) for side in ("outs", "deps"))
    other = [
        f"{stage} used another {data}"
        for stage in ("distill", "evaluate")
        for data, md5 in hashes(lock, f"{stage}@{layout.modality}", "deps").items()
        if data in {f"data/{layout.modality}", layout.local.relative_to(layout.root).as_posix()}
        and md5 != seen.get(data)
    ]
    content = layout.validation.read_bytes()
    report = json.loads(content)
    n_rules, n_broken = len(report["rules"]), sum(not rule["success"] for rule in report["rules"])
    if written.get(path) != hashlib.md5(content, usedforsecurity=False).hexdigest():
        because = f"{path} is not what the validate stage wrote, according to dvc.lock."
    elif other:
        because = f"{other[0]} than was validated, according to dvc.lock."
    elif n_broken or not report["success"]:
        because = f"{n_broken} of {n_rules} expectations about the data failed."
    else:
        return Finding(holds=True, because=f"all {n_rules} expectations about the data hold.")
    return Finding(holds=False, because=because)


def hashes(lock: Mapping[str, Any], stage: str, side: str) -> dict[str, str]:
    """Return the hash by path of the `deps` or `outs` of a stage in `dvc.lock`."""
    rows = lock.get(stage, {}).get(side, ())
    return {row["path"]: row["md5"] for row in rows if "md5" in row}
