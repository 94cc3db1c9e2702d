"""The method comparison: distil with each method and seed, evaluate, and compare.

The comparison is not a DVC stage. Each trial runs in a scratch project, and its predictions are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from experiments.comparison import RIVAL, TEACHER, Completion, MethodComparison, compare_domains
from experiments.comparison_page import markdown
from experiments.forest_plot import forest
from experiments.methods import DEFAULT, UNDISTILLED, Method, compared_methods
from experiments.paired import PairedScores
from experiments.scratch import require_embeddings, task_groups
from experiments.trials import Trial, TrialStore, run_missing
from polydistill.config.overrides import changed
from polydistill.config.params import Params
from polydistill.contracts import Progress, silent
from polydistill.errors import MissingDataError
from polydistill.project.layout import Layout
from polydistill.project.reports import unavailable_rivals
from polydistill.report.results import write_results
from polydistill.stages.evaluate import STUDENTS
from polydistill.stages.resolve import resolve

SEEDS = (0, 1, 2)
NAME = "methods"


@dataclass(frozen=True)
class Outcome:
    """The finished trials.

    Attributes:
        completion: The numbers of finished and of all trials, and the diverged trials.
        paired: The scores of methods, `undistilled`, teachers and rivals; see `comparison.TEACHER` and `RIVAL`.
        students: The sha256 of the student's weights, by method and seed.
    """

    completion: Completion
    paired: PairedScores
    students: dict[str, dict[str, str]]


def compare_methods(  # noqa: PLR0913 - methods and seeds are there for smaller comparisons
    root: Path,
    params: Params,
    modality: str,
    *,
    methods: Sequence[Method] | None = None,
    seeds: Sequence[int] = SEEDS,
    at_most: int | None = None,
    progress: Progress = silent,
) -> MethodComparison:
    """Run the missing trials. When all are finished, write `docs/results/<modality>/methods.{json,md,svg}`.

    Args:
        root: The project folder, whose embeddings of teachers and rivals are up to date.
        params: The parameters of the project, which define the default method.
        modality: A block of `params.yaml`.
        methods: The methods to compare, the default first; None compares all `compared_methods`.
        seeds: The seeds of each method.
        at_most: The maximum number of trials to run; None runs all, 0 only summarises the finished ones.
        progress: Called during each trial and after it.

    Raises:
        MissingDataError: The embeddings of a teacher or rival are missing, or no trial of the default is finished.
        PolydistillError: See the distill and evaluate stages.
    """
    methods = methods or compared_methods(params, modality)
    found = run_trials(root, params, modality, methods, seeds, at_most=at_most, progress=progress)
    report = MethodComparison(
        modality=modality,
        seeds=tuple(seeds),
        completion=found.completion,
        methods={method.name: method.about for method in methods},
        domains=compare_domains(found.paired, methods),
        students=found.students,
    )
    if report.completion.is_complete:
        write_comparison(report, Layout(root, modality).results)
    return report


def method_trials(
    root: Path, params: Params, modality: str, methods: Sequence[Method], seeds: Sequence[int]
) -> list[Trial]:
    """Return the trials of every method with the first seed, then with the next one, and so on.

    The default's trials also evaluate the undistilled student, which does not depend on the method. The default's
    first trial also evaluates the teachers and the available rivals, which depend on neither the method nor the seed.
    """
    block = params.modality(modality)
    unavailable = unavailable_rivals(Layout(root, modality), block.enabled_rivals)
    rivals = [name for name in block.enabled_rivals if name not in unavailable]
    references = (*block.enabled_teachers, *rivals, *block.evaluation.rivals)
    return [
        Trial(
            method.name,
            changed(params, {**method.overrides, "seed": seed}),
            (
                STUDENTS[:1]
                if method.name != DEFAULT
                else (*STUDENTS, *(references if seed == seeds[0] else ()))
            ),
        )
        for seed in seeds
        for method in methods
    ]


def run_trials(  # noqa: PLR0913 - those of `compare_methods`
    root: Path,
    params: Params,
    modality: str,
    methods: Sequence[Method],
    seeds: Sequence[int],
    *,
    at_most: int | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Run the missing trials and return the scores of the finished ones. See `compare_methods`."""
    trials = method_trials(root, params, modality, methods, seeds)
    for trial in trials:
        resolve(trial.params, modality)
    require_embeddings(root, params, modality)
    store = TrialStore(root, modality, NAME)
    run_missing(store, trials, progress, at_most=at_most)
    finished = [trial for trial in trials if store.is_finished(trial)]
    tables = _tables(modality, finished, store)
    if not any((table["model"] == DEFAULT).any() for table in tables.values()):
        raise MissingDataError(
            "No student of the default to compare with: its trials are not finished, or have diverged."
        )
    records = [(trial, store.record(trial)) for trial in finished]
    students: dict[str, dict[str, str]] = {}
    for trial, record in records:
        if "student_sha256" in record:
            by_seed = students.setdefault(trial.name, {})
            by_seed[str(trial.params.seed)] = str(record["student_sha256"])
    tasks, groups = params.modality(modality).tasks, task_groups(root, params, modality)
    return Outcome(
        completion=Completion(
            finished=len(finished),
            trials=len(trials),
            diverged=tuple(trial.label for trial, record in records if "diverged" in record),
        ),
        paired=PairedScores(tables, tasks, groups),
        students=students,
    )


def write_comparison(report: MethodComparison, folder: Path) -> None:
    """Write the results. Equal reports give identical files."""
    scores = report.domains["all"].scores
    gains = {
        kind: {
            method: gain
            for method, by_kind in scores.items()
            if (gain := by_kind[kind].gain) is not None and method != UNDISTILLED
        }
        for kind in reversed(scores[DEFAULT])
    }
    figure = forest(NAME, gains, "main score, minus the default")
    write_results(folder, NAME, asdict(report), markdown(report), figure=figure)


def _tables(modality: str, finished: Sequence[Trial], store: TrialStore) -> dict[int, pd.DataFrame]:
    """Return the predictions by seed, with the names of methods, `undistilled`, teachers and rivals as models.

    Teachers and rivals have no seed: their predictions are computed once and added to every seed.
    """
    by_seed: dict[int, list[pd.DataFrame]] = {}
    references: list[pd.DataFrame] = []
    for trial in finished:
        table = store.predictions(trial)
        if table is None:
            continue
        teachers = trial.params.enabled_teachers(modality)
        names = {model: (TEACHER if model in teachers else RIVAL) + model for model in trial.models}
        names |= {"student": trial.name, "undistilled": UNDISTILLED}
        named = table.assign(model=table["model"].map(names))
        is_student = table["model"].isin(STUDENTS)
        by_seed.setdefault(trial.params.seed, []).append(named[is_student])
        references.append(named[~is_student])
    for tables in by_seed.values():
        tables.extend(references)
    return {seed: pd.concat(tables, ignore_index=True) for seed, tables in by_seed.items()}
