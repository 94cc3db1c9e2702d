"""Cells of a comparison: distil and evaluate once, and keep what was predicted under what it hangs on."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pandas as pd

from experiments.scratch import PARTS, borrow_project
from polydistill.config.params import NOT_AFFECTING_SCORES, Params
from polydistill.contracts import Progress
from polydistill.embeddings.shards import read_index
from polydistill.errors import DivergedError
from polydistill.evaluation.scores import mean_score
from polydistill.project.files import put_in_place
from polydistill.project.layout import Layout
from polydistill.stages.code import stage_code
from polydistill.stages.distill import distill
from polydistill.stages.evaluate import STUDENTS, evaluate

PREDICTIONS, RECORD = "predictions.parquet", "cell.json"


@dataclass(frozen=True)
class Cell:
    """One distillation and its evaluation.

    Attributes:
        name: Of the method.
        params: With the method's changes and the seed.
        models: Which are evaluated; see `evaluate`.
    """

    name: str
    params: Params
    models: tuple[str, ...]

    @property
    def label(self) -> str:
        """What a person reads."""
        return f"{self.name}, seed {self.params.seed}"


class KeptCells:
    """The finished cells of a comparison in a project, below `.polydistill/<comparison>/<modality>`.

    A cell's key is the digest of its parameters, of corpus and tasks, of the teachers' embeddings, and of the
    code and libraries that it runs; one that is there is not made again.
    """

    def __init__(self, root: Path, modality: str, comparison: str) -> None:
        self._root, self._modality = root.resolve(), modality
        self._layout = Layout(self._root, modality)
        self._kept = self._layout.scratch / comparison / modality
        self._work = self._layout.work(comparison, modality)
        self._digests: dict[Path, str] = {}
        self._keys: dict[str, str] = {}

    def folder(self, cell: Cell) -> Path:
        """Return where the cell lies when it is finished."""
        if cell.label not in self._keys:  # once a process, whose code stays as it was loaded
            content = json.dumps(self._hangs_on(cell), sort_keys=True)
            self._keys[cell.label] = hashlib.sha256(content.encode()).hexdigest()[:16]
        name = f"{cell.name.replace(' ', '-')}-s{cell.params.seed}"
        return self._kept / f"{name}-{self._keys[cell.label]}"

    def is_finished(self, cell: Cell) -> bool:
        """Say whether it need not be made."""
        return (self.folder(cell) / RECORD).exists()

    def make(self, cell: Cell, progress: Progress) -> None:
        """Distil and evaluate in a scratch project, and keep the predictions, with one rename at the end.

        A run of the same cell that was killed is gone on with. One that diverged is kept as such: it would
        diverge again.
        """
        target = self.folder(cell)
        place = self._work / target.name
        borrow_project(self._root, place, cell.params, self._modality)

        def told(what: str, done: int, total: int, **figures: float) -> None:
            progress(f"{cell.name} {what}", done, total, **figures)

        result = place / "result"
        shutil.rmtree(result, ignore_errors=True)
        result.mkdir(parents=True)
        record: dict[str, object] = {"method": cell.name, "seed": cell.params.seed}
        try:
            report = distill(place, cell.params, self._modality, progress=told)
        except DivergedError as error:
            record["diverged"] = str(error)
        else:
            evaluate(place, cell.params, self._modality, models=cell.models, progress=told)
            shutil.move(Layout(place, self._modality).predictions, result / PREDICTIONS)
            record |= {
                "best_step": report.best_step,
                "steps": report.steps,
                "student_sha256": report.student_sha256,
            }
        text = json.dumps(record, indent=1, sort_keys=True) + "\n"
        (result / RECORD).write_text(text, encoding="utf-8")
        put_in_place(result, target)
        shutil.rmtree(place)

    def record(self, cell: Cell) -> dict[str, object]:
        """Return what is known of a finished cell: steps, best step, the student's digest, or its end."""
        text = (self.folder(cell) / RECORD).read_text(encoding="utf-8")
        record: dict[str, object] = json.loads(text)
        return record

    def predictions(self, cell: Cell) -> pd.DataFrame | None:
        """Return the predictions of a finished cell; none if it diverged."""
        path = self.folder(cell) / PREDICTIONS
        return pd.read_parquet(path) if path.exists() else None

    def score(self, cell: Cell) -> float:
        """Return the student's mean over task kinds; not a number if the cell diverged."""
        table = self.predictions(cell)
        if table is None:
            return float("nan")
        tasks, by_kind = cell.params.modality(self._modality).tasks, dict[str, list[float]]()
        for task, score in (
            table[table["model"] == "student"].groupby("task")["score"].mean().items()
        ):
            by_kind.setdefault(tasks[str(task)].kind, []).append(score)
        return mean_score({kind: fmean(scores) for kind, scores in by_kind.items()})

    def _hangs_on(self, cell: Cell) -> dict[str, object]:
        params, block = cell.params, cell.params.modality(self._modality)
        # the embeddings say what teachers and store were
        frame = {*NOT_AFFECTING_SCORES, "store", "teachers"}
        parts = PARTS if set(cell.models) - set(STUDENTS) else PARTS[:1]
        return {
            "code": cell_code([params], self._modality),
            "data": [
                self._digest(self._root / path)
                for path in (block.corpus.path, *(task.path for task in block.tasks.values()))
            ],
            "embeddings": [
                read_index(self._layout.embeddings(part, teacher))
                for part in parts
                for teacher in params.enabled_teachers(self._modality)
            ],
            "models": sorted(cell.models),
            "params": [params.seed, params.threads, params.precision],
            "settings": block.model_dump(mode="json", exclude=frame, exclude_unset=True),
        }

    def _digest(self, path: Path) -> str | None:
        """Return a file's sha256, read once; none where a third-party task is not there."""
        if not path.exists():
            return None
        if path not in self._digests:
            with path.open("rb") as file:
                self._digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[path]


def make_missing(
    kept: KeptCells, cells: Sequence[Cell], progress: Progress, *, at_most: int | None = None
) -> None:
    """Make the cells that are not there yet, in order; `at_most` so many."""
    made, missing = 0, [cell for cell in cells if not kept.is_finished(cell)]
    for number, cell in enumerate(cells, 1):
        if cell not in missing:
            continue
        if at_most is not None and made >= at_most:
            return
        started = time.monotonic()
        kept.make(cell, progress)
        made += 1
        seconds = time.monotonic() - started
        progress(f"cell {cell.label}", number, len(cells), score=kept.score(cell), seconds=seconds)


def cell_code(params: Sequence[Params], modality: str) -> str:
    """Return a digest of the code and the libraries that cells with these parameters run."""
    return stage_code(("distill", "evaluate"), params, modality)
