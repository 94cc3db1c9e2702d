"""The evidence that is published with a version, made from the files that it was trained on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from polydistill.config.params import Params
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import read_corpus, read_tasks
from polydistill.errors import DataError
from polydistill.evaluation.contamination import Contamination, contamination
from polydistill.project.layout import Layout
from polydistill.registry.evidence import Evidence, Finding
from polydistill.registry.smoke_test import write_smoke_test

EVIDENCE, GROUPS, SMOKE_TEST = "evidence.json", "groups.parquet", "smoke_test.json"
FORMER_SMOKE_TEST = "canary.json"
"""The name of the same file in versions that were published before it was `smoke_test.json`."""
FORMAT = 1


def write_evidence(folder: Path, params: Params, layout: Layout, lock: Mapping[str, Any]) -> None:
    """Write `evidence.json`, `groups.parquet`, `smoke_test.json` and a copy of `validation.json`.

    The same project writes the same bytes; they hold no time, host or path.

    Args:
        folder: An existing one.
        params: Of the run.
        layout: Of the modality's files.
        lock: The modality's stages in `dvc.lock`: they record which data each stage has read.

    Raises:
        MissingDataError: The corpus, a task or the student is not there.
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
    """Return what `write_evidence` found out.

    Raises:
        DataError: The file is of another format.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("format") != FORMAT:
        raise DataError(f"{path.name} must have format {FORMAT}, got {content.get('format')}.")
    return Evidence(
        contamination=Contamination(**content["contamination"]),
        validation=Finding(**content["validation"]),
        licences=content["licences"],
    )


def read_groups(path: Path) -> dict[str, dict[str, str]]:
    """Return task: example's id: its group."""
    frame = pd.read_parquet(path)
    return {
        str(task): dict(zip(rows["id"], rows["group"], strict=True))
        for task, rows in frame.groupby("task")
    }


def validated(layout: Layout, lock: Mapping[str, Any]) -> Finding:
    """Return whether the data that the student was trained and scored on was validated."""
    path = layout.validation.relative_to(layout.root).as_posix()
    if not layout.validation.exists():
        return Finding(holds=False, because=f"there is no {path}: the data was not validated.")
    modality = layout.modality
    validate = lock.get(f"validate@{modality}", {})
    written = _hashes(validate, "outs").get(path)
    found = hashlib.md5(layout.validation.read_bytes(), usedforsecurity=False).hexdigest()
    if written != found:
        because = f"{path} is not what the validate stage wrote, according to dvc.lock."
        return Finding(holds=False, because=because)
    seen = _hashes(validate, "deps")
    for stage in ("distill", "evaluate"):
        used = _hashes(lock.get(f"{stage}@{modality}", {}), "deps")
        for data in (f"data/{modality}", layout.local.relative_to(layout.root).as_posix()):
            if data in used and used[data] != seen.get(data):
                because = f"{stage} used another {data} than was validated, according to dvc.lock."
                return Finding(holds=False, because=because)
    content = json.loads(layout.validation.read_text(encoding="utf-8"))
    broken = [rule for rule in content["rules"] if not rule["success"]]
    if not content["success"] or broken:
        because = f"{len(broken)} of {len(content['rules'])} expectations about the data failed."
        return Finding(holds=False, because=because)
    because = f"all {len(content['rules'])} expectations about the data hold."
    return Finding(holds=True, because=because)


def _hashes(entry: Mapping[str, Any], side: str) -> dict[str, str]:
    return {row["path"]: row["md5"] for row in entry.get(side, ()) if "md5" in row}
