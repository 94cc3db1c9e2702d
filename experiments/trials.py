"""Trials of a comparison: distil and evaluate once, and store the predictions under a digest of all inputs."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from experiments.scratch import PARTS, borrow_project
from polydistill.config.params import Params
from polydistill.config.tree import NOT_AFFECTING_SCORES
from polydistill.contracts import Progress
from polydistill.embeddings.shards import read_index
from polydistill.errors import DivergedError
from polydistill.evaluation.predictions import read_predictions
from polydistill.evaluation.rivals import RIVALS
from polydistill.project.code_version import code_version
from polydistill.project.files import put_in_place
from polydistill.project.layout import Layout
from polydistill.stages.code import NOT_FOLLOWED, stage_code
from polydistill.stages.distill import distill
from polydistill.stages.evaluate import STUDENTS, evaluate

PREDICTIONS, RECORD = "predictions.parquet", "trial.json"


@dataclass(frozen=True)
class Trial:
    """One distillation and its evaluation.

    Attributes:
        name: The name of the method.
        params: The parameters, with the method's changes and the seed.
        models: The models to evaluate; see `evaluate`.
    """

    name: str
    params: Params
    models: tuple[str, ...]

    @property
    def label(self) -> str:
        """The method and the seed, for messages."""
        return f"{self.name}, seed {self.params.seed}"


class TrialStore:
    """The finished trials of a comparison, stored below `.polydistill/<comparison>/<modality>`.

    The key of a trial is a digest of its parameters, the corpus, the tasks, the embeddings of teachers and of the rivals
    that it scores, the code and the libraries. A trial whose key is in the store is not run again.
    """

    def __init__(self, root: Path, modality: str, comparison: str) -> None:
        self._root, self._modality = root.resolve(), modality
        self._layout = Layout(self._root, modality)
        self._stored = self._layout.scratch / comparison / modality
        self._work = self._layout.work(comparison, modality)
        self._digests: dict[Path, str] = {}
        self._keys: dict[str, str] = {}

    def folder(self, trial: Trial) -> Path:
        """Return the folder of the finished trial."""
        if trial.label not in self._keys:  # computed once, because loaded code stays the same
            content = json.dumps(self._key_content(trial), sort_keys=True)
            self._keys[trial.label] = hashlib.sha256(content.encode()).hexdigest()[:16]
        name = f"{trial.name.replace(' ', '-')}-s{trial.params.seed}"
        return self._stored / f"{name}-{self._keys[trial.label]}"

    def is_finished(self, trial: Trial) -> bool:
        """Return whether the trial is in the store."""
        return (self.folder(trial) / RECORD).exists()

    def run(self, trial: Trial, progress: Progress) -> None:
        """Distil and evaluate in a scratch project, then store the predictions with one rename.

        A trial that was killed resumes from its last checkpoint. A trial that diverges is stored as diverged,
        because it would diverge again.
        """
        target = self.folder(trial)
        scratch = self._work / target.name
        borrow_project(self._root, scratch, trial.params, self._modality)

        def report_progress(what: str, done: int, total: int, **figures: float) -> None:
            progress(f"{trial.name} {what}", done, total, **figures)

        result = scratch / "result"
        shutil.rmtree(result, ignore_errors=True)
        result.mkdir(parents=True)
        record: dict[str, object] = {"method": trial.name, "seed": trial.params.seed}
        try:
            report = distill(scratch, trial.params, self._modality, progress=report_progress)
        except DivergedError as error:
            record["diverged"] = str(error)
        else:
            evaluate(
                scratch, trial.params, self._modality, models=trial.models, progress=report_progress
            )
            shutil.move(Layout(scratch, self._modality).predictions, result / PREDICTIONS)
            record |= {
                "best_step": report.best_step,
                "steps": report.steps,
                "student_sha256": report.student_sha256,
            }
        text = json.dumps(record, indent=1, sort_keys=True) + "\n"
        (result / RECORD).write_text(text, encoding="utf-8")
        put_in_place(result, target)
        shutil.rmtree(scratch)

    def record(self, trial: Trial) -> dict[str, object]:
        """Return the record of a finished trial: steps, best step and the student's sha256, or why it diverged."""
        text = (self.folder(trial) / RECORD).read_text(encoding="utf-8")
        record: dict[str, object] = json.loads(text)
        return record

    def predictions(self, trial: Trial) -> pd.DataFrame | None:
        """Return the predictions of a finished trial; None if it diverged."""
        path = self.folder(trial) / PREDICTIONS
        return read_predictions(path) if path.exists() else None

    def score(self, trial: Trial) -> float:
        """Return the student's mean score over task kinds; NaN if the trial diverged."""
        table = self.predictions(trial)
        if table is None:
            return float("nan")
        tasks, by_kind = trial.params.modality(self._modality).tasks, dict[str, list[float]]()
        for task, score in (
            table[table["model"] == "student"].groupby("task")["score"].mean().items()
        ):
            by_kind.setdefault(tasks[str(task)].kind, []).append(score)
        return fmean(map(fmean, by_kind.values()))

    def _key_content(self, trial: Trial) -> dict[str, object]:
        params, block = trial.params, trial.params.modality(self._modality)
        # the digests of the embeddings already cover the settings of teachers, rivals and store
        not_settings = (*NOT_AFFECTING_SCORES, "store", "teachers", "rivals")
        excluded: dict[str, Any] = dict.fromkeys(not_settings, True)
        excluded |= {"evaluation": {"rivals": True}}  # `models` names the rivals that it scores
        parts = PARTS if set(trial.models) - set(STUDENTS) else PARTS[:1]
        rivals = [name for name in block.enabled_rivals if name in trial.models]
        content: dict[str, object] = {
            "code": trial_code([params], self._modality),
            "data": [
                self._digest(self._root / path)
                for path in (block.corpus.path, *(task.path for task in block.tasks.values()))
            ],
            "embeddings": [
                read_index(self._layout.embeddings(part, teacher))
                for part in parts
                for teacher in params.enabled_teachers(self._modality)
            ]
            + [read_index(self._layout.embeddings(PARTS[1], rival)) for rival in rivals],
            "models": sorted(trial.models),
            "params": [params.seed, params.threads, params.precision],
            "settings": block.model_dump(mode="json", exclude=excluded, exclude_unset=True),
        }
        computed = [name for name in block.evaluation.rivals if name in trial.models]
        if computed:  # the stage imports their code by name
            modules = [f"{RIVALS.package}.{name.replace('-', '_')}" for name in computed]
            content["rivals"] = code_version(modules, NOT_FOLLOWED)
        return content

    def _digest(self, path: Path) -> str | None:
        """Return the sha256 of a file, computed once; None for a third-party task that was not fetched."""
        if not path.exists():
            return None
        if path not in self._digests:
            with path.open("rb") as file:
                self._digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[path]


def run_missing(
    store: TrialStore, trials: Sequence[Trial], progress: Progress, *, at_most: int | None = None
) -> None:
    """Run the trials that are not in the store, in order; at most `at_most` of them."""
    n_run, missing = 0, [trial for trial in trials if not store.is_finished(trial)]
    for number, trial in enumerate(trials, 1):
        if trial not in missing:
            continue
        if at_most is not None and n_run >= at_most:
            return
        started = time.monotonic()
        store.run(trial, progress)
        n_run += 1
        progress(
            f"trial {trial.label}",
            number,
            len(trials),
            score=store.score(trial),
            seconds=time.monotonic() - started,
        )


def trial_code(params: Sequence[Params], modality: str) -> str:
    """Return a digest of the code and the libraries that trials with these parameters use."""
    return stage_code(("distill", "evaluate"), params, modality)
