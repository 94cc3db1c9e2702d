"""Files for the gate that are published with a version, computed from the data of its training and evaluation."""

import hashlib
import json
import shutil
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from polydistill.config.params import Params
from polydistill.contracts import Example, FloatArray, Modality
from polydistill.data import modalities
from polydistill.data.corpora import open_corpus
from polydistill.data.files import read_table
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import read_tasks
from polydistill.errors import StoreError, short
from polydistill.evaluation.contamination import contamination
from polydistill.project.card import damaged
from polydistill.project.layout import Layout
from polydistill.project.reports import read_report
from polydistill.registry.evidence import Evidence, Finding
from polydistill.students import encode, load_student

EVIDENCE, GROUPS, SMOKE_TEST = "evidence.json", "groups.parquet", "smoke_test.json"
FORMER_SMOKE_TEST = "canary.json"
"""Name of the smoke test file in versions that earlier releases published."""
REMEDY = "publish the student again"
FORMAT = 1
SAMPLES = Path(modalities.__file__).parent / "samples"
N_EXAMPLES = 8
"""Number of examples in a smoke test, which compares a bundle's embeddings with those stored at publication."""
TOLERANCE = 1e-4
"""Tolerance relative to the largest absolute value; greater than float32 rounding differences between processors."""


def write_evidence(folder: Path, params: Params, layout: Layout, lock: Mapping[str, Any]) -> None:
    """Write `evidence.json`, `groups.parquet`, `smoke_test.json` and a copy of `validation.json`.

    The files are deterministic: they contain no time, host or path.

    Args:
        folder: An existing folder.
        params: The parameters of the run.
        layout: The layout of the modality's files.
        lock: The modality's stages in `dvc.lock`, with the hashes of the data that each stage read.

    Raises:
        MissingDataError: The corpus, a task or the student is missing.
    """
    block, kind = params.modality(layout.modality), MODALITIES.get(layout.modality)()
    frames = read_tasks(layout.root, block.tasks, kind)
    corpus = open_corpus(layout.corpus, block.corpus, kind).examples
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
        DataError: The file is damaged, or has an unsupported format version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] == FORMAT:
            return TypeAdapter(Evidence).validate_python(content)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise damaged(path, error, REMEDY) from error
    raise damaged(path, f"it must have format {FORMAT}, got {short(content['format'])}", REMEDY)


def read_groups(path: Path) -> pd.DataFrame:
    """Return the content of `groups.parquet`: the columns `task`, `id` and `group`, one row per example.

    Raises:
        DataError: The file is damaged.
    """
    try:
        return pd.read_parquet(path)[["task", "id", "group"]]
    except (OSError, ValueError, LookupError) as error:  # pyarrow's errors are among them
        raise damaged(path, error, REMEDY) from error


def validated(layout: Layout, lock: Mapping[str, Any]) -> Finding:
    """Check whether the data for training and evaluating the student was validated."""
    path = layout.validation.relative_to(layout.root).as_posix()
    if not layout.validation.exists():
        return Finding(holds=False, because=f"there is no {path}: the data was not validated.")
    written, read = (hashes(lock, f"validate@{layout.modality}", side) for side in ("outs", "deps"))
    seen, own = {**read, **written}, (layout.local, layout.corpus)
    checked = {f"data/{layout.modality}", *(one.relative_to(layout.root).as_posix() for one in own)}
    other = [
        f"{stage} used another {data}"
        for stage in ("distill", "evaluate")
        for data, md5 in hashes(lock, f"{stage}@{layout.modality}", "deps").items()
        if data in checked and md5 != seen.get(data)
    ]
    report = read_report(layout.validation, "validate")
    n_rules, n_broken = len(report["rules"]), sum(not rule["success"] for rule in report["rules"])
    if written.get(path) != dvc_hash(layout.validation):
        because = f"{path} is not what the validate stage wrote, according to dvc.lock."
    elif other:
        because = f"{other[0]} than was validated, according to dvc.lock."
    elif n_broken or not report["success"]:
        because = f"{n_broken} of {n_rules} expectations about the data failed."
    else:
        return Finding(holds=True, because=f"all {n_rules} expectations about the data hold.")
    return Finding(holds=False, because=because)


def hashes(lock: Mapping[str, Any], stage: str, side: str) -> dict[str, str]:
    """Return the md5 hash by path of a stage's `deps` or `outs` in `dvc.lock`."""
    rows = lock.get(stage, {}).get(side, ())
    return {row["path"]: row["md5"] for row in rows if "md5" in row}


def require_outputs(root: Path, lock: Mapping[str, Any], modality: str) -> None:
    """Check that all outputs of the stages that make a student and its evidence have the hashes in `dvc.lock`.

    Raises:
        StoreError: A file or folder is missing, or has another content.
    """
    for stage in ("validate", "distill", "evaluate"):
        for path, md5 in hashes(lock, f"{stage}@{modality}", "outs").items():
            found = dvc_hash(root / path)
            if found != md5:
                state = "is missing" if found is None else "is not what the stage wrote"
                raise StoreError(
                    f"{path} {state}, according to dvc.lock: `dvc repro {stage}@{modality}` makes it again."
                )


def dvc_hash(path: Path) -> str | None:
    """Return DVC's hash of a file or folder: the MD5 of the content, or of a list of files. None: it is missing."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, _md5).hexdigest()
    if not path.is_dir():
        return None
    files = {one.relative_to(path).as_posix(): one for one in path.rglob("*") if one.is_file()}
    rows = [{"md5": dvc_hash(files[name]), "relpath": name} for name in sorted(files)]
    return f"{_md5(json.dumps(rows).encode()).hexdigest()}.dir"


def _md5(content: bytes = b"") -> Any:
    return hashlib.md5(content, usedforsecurity=False)


def sample(kind: Modality) -> list[Example]:
    """Return the sample examples of a modality, from `samples/<name>.csv`, or `<name>.parquet` for bytes."""
    path = next(SAMPLES.glob(f"{kind.name}.*"), SAMPLES / f"{kind.name}.csv")
    return [kind.coerce(example) for example in read_table(path)[kind.column]]


def write_smoke_test(path: Path, bundle: Path, kind: Modality) -> None:
    """Write the first examples of a modality's sample, and their embeddings by a bundle, as JSON.

    Examples that are bytes are encoded in base64.
    """
    examples = sample(kind)[:N_EXAMPLES]
    tree = {
        "examples": [
            one if isinstance(one, str) else {"base64": b64encode(one).decode("ascii")}
            for one in examples
        ],
        "embeddings": [list(map(float, row)) for row in encode(load_student(bundle), examples)],
    }
    path.write_text(json.dumps(tree, sort_keys=True) + "\n", encoding="utf-8")


def same_answers(path: Path, answers: FloatArray) -> Finding:
    """Compare a bundle's embeddings with those that `write_smoke_test` wrote when the bundle was published."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        expected = np.asarray(content["embeddings"], dtype=np.float32)
    except (ValueError, TypeError, LookupError) as error:
        because = f"{path.name} of the version is damaged: {short(str(error), 200)}."
        return Finding(holds=False, because=because)
    if answers.shape != expected.shape:
        because = f"the published bundle answers with shape {answers.shape}, not {expected.shape}."
        return Finding(holds=False, because=because)
    if not np.isfinite(answers).all():
        return Finding(holds=False, because="the published bundle answers with NaN or infinity.")
    difference = float(np.abs(answers - expected).max())
    allowed = TOLERANCE * max(float(np.abs(expected).max()), 1e-12)
    examples = f"{len(expected)} examples in a fresh process"
    because = f"the published bundle gives the same answers to {examples}."
    if difference > allowed:
        because = (
            f"the published bundle's answers to {examples} differ from those at its publication "
            f"by up to {difference:.3g}, and {allowed:.3g} is allowed."
        )
    return Finding(holds=difference <= allowed, because=because)
