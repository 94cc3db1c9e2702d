"""The ablation as DVC experiments in a workspace. Trials run one by one, and an interrupted run can be resumed."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Protocol

import pandas as pd

from experiments.ablation import AblationReport, compare_levels, markdown
from experiments.factors import Level, levels
from experiments.forest_plot import forest
from experiments.methods import DEFAULT
from experiments.paired import PairedScores
from experiments.scratch import task_groups
from experiments.trials import trial_code
from polydistill.config.overrides import changed
from polydistill.config.params import Params
from polydistill.config.tree import NOT_AFFECTING_SCORES
from polydistill.contracts import Progress, silent
from polydistill.embeddings.shards import read_entries, read_index, write_entry
from polydistill.errors import InfrastructureError, MissingDataError, StageError
from polydistill.evaluation.predictions import read_predictions
from polydistill.evaluation.statistics.kinds import OVERALL
from polydistill.project.files import put_in_place
from polydistill.project.layout import Layout
from polydistill.project.workspace import WORKSPACES, make_workspace
from polydistill.report.results import write_results
from polydistill.stages.resolve import resolve

NAME = "ablation"
SEEDS = (0, 1, 2)
ALWAYS: Mapping[str, object] = {"evaluation.models": ["student"]}
"""Only students are evaluated: the teachers' scores are the same in every trial."""
SMALL: Mapping[str, Mapping[str, object]] = {
    "text": {
        "corpus.rows": 12_288,  # three whole shards, so that the project's embeddings can be copied
        "training.epochs": 3,
        **{
            f"tasks.{task}{part}.max_rows": 2_500
            for task in ("wordnet-lexfile", "debian-section")
            for part in ("", "-clusters")
        },
        "tasks.brown-genre.max_rows": 900,
        **{f"tasks.vader-{part}.max_rows": 500 for part in ("tweets", "movie", "amazon", "nyt")},
    },
    "vision": {"corpus.rows": 4_096, "training.epochs": 6},
    "molecules": {"corpus.rows": 4_096, "training.epochs": 6},
}
"""The small setting of each modality, by dotted key in its block. Other modalities run at full size."""


class Experiments(Protocol):
    """Named runs with changed parameters; see `experiments.dvc_experiments.DvcExperiments`."""

    def commit(self, message: str) -> None:
        """Make the current state of the workspace the baseline."""

    def names(self) -> set[str]:
        """Return the names of the finished experiments on the baseline."""

    def run(self, name: str, changes: Mapping[str, object], target: str) -> None:
        """Run an experiment and store it."""

    def remove(self, name: str) -> None:
        """Delete an experiment."""


class Ablation:
    """The ablation of a project.

    Args:
        root: The project folder.
        params: The parameters of the project.
        modality: A block of `params.yaml`.
        setting: The small setting, by dotted key in the modality's block; None uses `SMALL`.
        seeds: The seeds of each level.
        chosen: The names of the levels to run, including the default; None runs all.
    """

    def __init__(
        self,
        root: Path,
        params: Params,
        modality: str,
        *,
        setting: Mapping[str, object] | None = None,
        seeds: Sequence[int] = SEEDS,
        chosen: Sequence[str] | None = None,
    ) -> None:
        params.modality(modality)  # an unknown modality fails here, before its setting is read
        self.root, self.modality, self.seeds = root.resolve(), modality, tuple(seeds)
        small = SMALL.get(modality, {}) if setting is None else setting
        self.setting = {f"{modality}.{key}": value for key, value in {**small, **ALWAYS}.items()}
        self.params = changed(params, self.setting)
        grid = levels(self.params, modality)
        self.levels = [one for one in grid if chosen is None or one.name in chosen]
        for level in self.levels:
            resolve(changed(self.params, {**level.overrides, "seed": 0}), modality)
        self.workspace = self.root / WORKSPACES / NAME
        self.version = self._version()
        self._stored = Layout(self.root, modality).scratch / NAME / modality / self.version

    @property
    def trials(self) -> list[tuple[Level, int]]:
        """All levels with the first seed, then with the next one, and so on."""
        return [(level, seed) for seed in self.seeds for level in self.levels]

    def predictions(self, level: Level, seed: int) -> Path:
        """Return the file with the predictions of a trial."""
        return self._stored / f"{_name(level, seed)}.parquet"

    @property
    def missing(self) -> list[tuple[Level, int]]:
        """The trials that have not run yet."""
        return [trial for trial in self.trials if not self.predictions(*trial).exists()]

    def _version(self) -> str:
        """Return a digest of everything that the trials depend on: code, data and the default's parameters."""
        pointer = self.root / "data.dvc"
        if not pointer.exists():
            raise MissingDataError(f"No data.dvc in {self.root}: run in a project folder.")
        code = trial_code(
            [changed(self.params, {**one.overrides, "seed": 0}) for one in self.levels],
            self.modality,
        )
        tree = self.params.model_dump(mode="json")
        tree.pop("notify", None)
        tree[self.modality] = {
            key: value
            for key, value in tree[self.modality].items()
            if key not in NOT_AFFECTING_SCORES
        }
        content = [code, pointer.read_text("utf-8"), {**tree, "seed": None}]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def prepare_workspace(ablation: Ablation) -> Path:
    """Make the workspace, unless it already holds this version of the project, and return its folder.

    The project's embeddings of the first corpus rows are copied to the folder where the embed stage finds them.
    """
    from experiments.dvc_experiments import DvcExperiments
    from polydistill.integrations.dvc.stages import reproduce, stage_groups, sync_data

    folder, mark = ablation.workspace, ablation.workspace / "version"
    if mark.exists() and mark.read_text("utf-8").strip() == ablation.version:
        return folder
    experiments = DvcExperiments(folder)
    experiments.restore()
    mark.unlink(missing_ok=True)
    make_workspace(ablation.root, NAME, ablation.setting)
    experiments.begin()
    ignored = ablation.root / ".gitignore"
    if ignored.exists():
        shutil.copyfile(ignored, folder / ".gitignore")
    sync_data(folder)
    _copy_shards(ablation)
    for group in stage_groups(folder, ablation.modality):
        for stage in group:
            if stage.partition("@")[0] not in {"distill", "evaluate"}:
                reproduce(folder, stage)
    mark.write_text(ablation.version + "\n", encoding="utf-8")
    experiments.commit(f"Baseline of the ablation {ablation.version}")
    return folder


def run_missing(
    ablation: Ablation,
    experiments: Experiments,
    *,
    at_most: int | None = None,
    progress: Progress = silent,
) -> list[str]:
    """Run the missing trials, at most `at_most` of them, and return the failed ones.

    Raises:
        InfrastructureError: A lock or a signal stopped a trial: run again.
    """
    finished, failed, n_run = experiments.names(), [], 0
    missing = ablation.missing
    for number, (level, seed) in enumerate(ablation.trials, 1):
        target, name = ablation.predictions(level, seed), _name(level, seed)
        if (level, seed) not in missing:
            continue
        if at_most is not None and n_run >= at_most:
            break
        if (
            name in finished
        ):  # the trial was killed before its predictions were copied; DVC's cache has its other outputs
            experiments.remove(name)
        started, n_run = time.monotonic(), n_run + 1
        try:
            experiments.run(
                name, {**level.overrides, "seed": seed}, f"evaluate@{ablation.modality}"
            )
        except InfrastructureError:
            raise
        except StageError as error:
            failed.append(f"{name} ({str(error).splitlines()[-1]})")
            continue
        predictions = Layout(ablation.workspace, ablation.modality).predictions
        unfinished = target.with_name(f".{target.name}")
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(predictions, unfinished)
        put_in_place(unfinished, target)
        seconds = time.monotonic() - started
        progress(f"trial {name}", number, len(ablation.trials), seconds=seconds)
    return failed


def summarise(ablation: Ablation, failed: Sequence[str] = ()) -> AblationReport:
    """Compare the finished trials. Write the results once every trial has finished or failed.

    The results are `docs/results/<modality>/ablation.{json,md,svg}`.

    Raises:
        MissingDataError: No trial of the default is finished.
    """
    tables: dict[int, list[pd.DataFrame]] = {}
    for level, seed in ablation.trials:
        path = ablation.predictions(level, seed)
        if path.exists():
            table = read_predictions(path)
            students = table[table["model"] == "student"]
            tables.setdefault(seed, []).append(students.assign(model=level.name))
    by_seed = {seed: pd.concat(some, ignore_index=True) for seed, some in tables.items()}
    if not any((table["model"] == DEFAULT).any() for table in by_seed.values()):
        raise MissingDataError("No trial of the default is finished yet: nothing to compare with.")
    block = ablation.params.modality(ablation.modality)
    groups = task_groups(ablation.workspace, ablation.params, ablation.modality)
    paired = PairedScores(by_seed, block.tasks, groups)
    default, factors = compare_levels(paired, ablation.levels)
    report = AblationReport(
        modality=ablation.modality,
        seeds=ablation.seeds,
        setting={key.partition(".")[2]: value for key, value in ablation.setting.items()},
        tasks=paired.tasks["all"],
        default=default,
        factors=factors,
        failed=tuple(failed),
        missing=len(ablation.missing) - len(failed),
    )
    if not report.missing:
        write_ablation(report, Layout(ablation.root, ablation.modality).results)
    return report


def write_ablation(report: AblationReport, folder: Path) -> None:
    """Write the results. Equal reports give identical files."""
    gains = {
        factor: {
            level: gain
            for level, by_kind in some.items()
            if (gain := by_kind[OVERALL].gain) is not None
        }
        for factor, some in report.factors.items()
    }
    figure = forest("ablation", gains, "mean score over task kinds, minus the default")
    write_results(folder, NAME, asdict(report), markdown(report), figure=figure)


def _name(level: Level, seed: int) -> str:
    return f"{level.name}-s{seed}"


def _copy_shards(ablation: Ablation) -> None:
    """Copy the project's embeddings of whole corpus shards, with their checksums.

    A shard's key depends on its rows and on the teacher alone, so the shards are valid in the workspace too.
    """
    block = ablation.params.modality(ablation.modality)
    rows = block.corpus.rows
    whole = None if rows is None else rows // block.store.shard_rows
    project, workspace = (
        Layout(root, ablation.modality) for root in (ablation.root, ablation.workspace)
    )
    for teacher in ablation.params.enabled_teachers(ablation.modality):
        source = project.embeddings("corpus", teacher)
        target = workspace.embedding_work("corpus", teacher)
        if not source.exists() or workspace.embeddings("corpus", teacher).exists():
            continue
        for entry in islice(read_entries(source, read_index(source)), whole):
            (target / entry.file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / entry.file, target / entry.file)
            write_entry(target, entry)
