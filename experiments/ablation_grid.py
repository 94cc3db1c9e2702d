"""The ablation, as DVC experiments in a workspace: made cell by cell, gone on with wherever it ended."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import pandas as pd

from experiments.ablation import AblationReport, compare_levels, markdown
from experiments.factors import Level, levels
from experiments.forest_plot import forest
from experiments.methods import DEFAULT
from experiments.scratch import task_groups
from experiments.trials import cell_code
from polydistill.config.overrides import changed
from polydistill.config.params import NOT_AFFECTING_SCORES, Params
from polydistill.contracts import Progress, silent
from polydistill.errors import InfrastructureError, MissingDataError, StageError
from polydistill.evaluation.statistics.paired import OVERALL, PairedScores
from polydistill.project.files import put_in_place
from polydistill.project.layout import Layout
from polydistill.project.workspace import WORKSPACES, make_workspace
from polydistill.report.results import write_results
from polydistill.stages.resolve import resolve

NAME = "ablation"
SEEDS = (0, 1, 2)
ALWAYS: Mapping[str, object] = {"evaluation.models": ["student"]}
"""No cell changes another's teachers."""
SMALL: Mapping[str, Mapping[str, object]] = {
    "text": {
        "corpus.rows": 12_288,  # three whole shards: the project's embeddings of them are taken over
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
"""The small setting below a modality's block; a modality without one has the cells at full size."""


class Experiments(Protocol):
    """Named runs with changed parameters; see `integrations.dvc_experiments.DvcExperiments`."""

    def commit(self, message: str) -> None:
        """Make the workspace as it is the baseline."""

    def names(self) -> set[str]:
        """Return the finished ones on the baseline."""

    def run(self, name: str, changes: Mapping[str, object], target: str) -> None:
        """Run one and keep it."""

    def remove(self, name: str) -> None:
        """Forget one."""


class Ablation:
    """The ablation of a project.

    Args:
        root: The project folder.
        params: Its parameters.
        modality: A block of them.
        setting: Of the small setting, dotted keys below the modality's block; none: those of `SMALL`.
        seeds: Of each cell.
        chosen: Names of the cells that are wanted, the default among them; none: all.
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
        params.modality(modality)  # an unknown one is an error before its setting is
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
        self._kept = Layout(self.root, modality).scratch / NAME / modality / self.version

    @property
    def cells(self) -> list[tuple[Level, int]]:
        """Every level with the first seed, then with the next."""
        return [(level, seed) for seed in self.seeds for level in self.levels]

    def predictions(self, level: Level, seed: int) -> Path:
        """Return where a cell's predictions are kept."""
        return self._kept / f"{_name(level, seed)}.parquet"

    @property
    def missing(self) -> list[tuple[Level, int]]:
        """The cells that are not there yet."""
        return [cell for cell in self.cells if not self.predictions(*cell).exists()]

    def _version(self) -> str:
        """Return a name for whatever the cells depend on: code, data, and the default's parameters."""
        pointer = self.root / "data.dvc"
        if not pointer.exists():
            raise MissingDataError(f"No data.dvc in {self.root}: run in a project folder.")
        code = cell_code(
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
    """Make the workspace, unless it holds this version of the project already; return its folder.

    Embeddings that the project has of the corpus' first rows are laid where the embed stage finds them.
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
    _take_over_shards(ablation)
    for group in stage_groups(folder, ablation.modality):
        for stage in group:
            if stage.partition("@")[0] not in {"distill", "evaluate"}:
                reproduce(folder, stage)
    mark.write_text(ablation.version + "\n", encoding="utf-8")
    experiments.commit(f"Baseline of the ablation {ablation.version}")
    return folder


def make_missing(
    ablation: Ablation,
    experiments: Experiments,
    *,
    at_most: int | None = None,
    progress: Progress = silent,
) -> list[str]:
    """Run the experiments whose predictions are not kept yet, `at_most` so many; return those that failed.

    Raises:
        InfrastructureError: Something from outside stopped one: run again.
    """
    finished, failed, made = experiments.names(), [], 0
    missing = ablation.missing
    for number, (level, seed) in enumerate(ablation.cells, 1):
        target, name = ablation.predictions(level, seed), _name(level, seed)
        if (level, seed) not in missing:
            continue
        if at_most is not None and made >= at_most:
            break
        if name in finished:  # killed before its predictions were copied: DVC's cache has the rest
            experiments.remove(name)
        started, made = time.monotonic(), made + 1
        try:
            experiments.run(
                name, {**level.overrides, "seed": seed}, f"evaluate@{ablation.modality}"
            )
        except InfrastructureError:
            raise
        except StageError as error:
            failed.append(f"{name} ({str(error).splitlines()[-1]})")
            continue
        made_there = Layout(ablation.workspace, ablation.modality).predictions
        beside = target.with_name(f".{target.name}")
        beside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made_there, beside)
        put_in_place(beside, target)
        seconds = time.monotonic() - started
        progress(f"cell {name}", number, len(ablation.cells), seconds=seconds)
    return failed


def summarise(ablation: Ablation, failed: Sequence[str] = ()) -> AblationReport:
    """Compare what is there; write `docs/results/<modality>/ablation.{json,md,svg}` when no cell is missing or failed alone.

    Raises:
        MissingDataError: No cell of the default is finished.
    """
    tables: dict[int, list[pd.DataFrame]] = {}
    for level, seed in ablation.cells:
        path = ablation.predictions(level, seed)
        if path.exists():
            table = pd.read_parquet(path)
            students = table[table["model"] == "student"]
            tables.setdefault(seed, []).append(students.assign(model=level.name))
    by_seed = {seed: pd.concat(some, ignore_index=True) for seed, some in tables.items()}
    if not any((table["model"] == DEFAULT).any() for table in by_seed.values()):
        raise MissingDataError("No cell of the default is finished yet: nothing to compare with.")
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
    """Write the results; the same report writes the same bytes."""
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


def _take_over_shards(ablation: Ablation) -> None:
    """Copy the whole shards of the corpus that the project has, with their checksums.

    A shard's key hangs on its rows and on the teacher alone, so they are the workspace's shards too.
    """
    block = ablation.params.modality(ablation.modality)
    rows = block.corpus.rows
    whole = None if rows is None else rows // block.store.shard_rows
    there, here = (Layout(at, ablation.modality) for at in (ablation.root, ablation.workspace))
    for teacher in ablation.params.enabled_teachers(ablation.modality):
        source, target = there.embeddings("corpus", teacher), here.embedding_work("corpus", teacher)
        if not source.exists() or here.embeddings("corpus", teacher).exists():
            continue
        entries = json.loads((source / "index.json").read_text("utf-8"))["shards"][:whole]
        target.mkdir(parents=True, exist_ok=True)
        for entry in entries:
            shutil.copyfile(source / entry["file"], target / entry["file"])
            (target / entry["file"]).with_suffix(".sha256").write_text(entry["sha256"], "utf-8")
