"""The headline: the default against single teachers, the paper's likelihood, rivals and teachers, as one table.

The trials are those of the method comparison, and both use the same store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from experiments import comparison
from experiments.headline_page import (
    NAME,
    REFERENCE,
    RIVAL,
    STORED,
    STUDENT,
    TEACHER,
    Headline,
    Model,
    markdown,
)
from experiments.method_comparison import SEEDS, run_trials
from experiments.method_scores import method_scores
from experiments.methods import (
    DEFAULT,
    PAPER,
    SINGLE,
    UNDISTILLED,
    chosen_methods,
    compared_methods,
)
from experiments.paired import PairedScores
from polydistill.config.params import Params
from polydistill.contracts import Progress, silent
from polydistill.evaluation.rivals.teachers_pca import TeachersPca
from polydistill.evaluation.statistics.kinds import OVERALL
from polydistill.project.layout import Layout
from polydistill.report import tables
from polydistill.report.costs import Size, known_speeds, model_sizes
from polydistill.report.results import rounded, write_results


def headline(
    root: Path,
    params: Params,
    modality: str,
    *,
    seeds: Sequence[int] = SEEDS,
    at_most: int | None = None,
    progress: Progress = silent,
) -> Headline:
    """Run the missing trials. When all are finished, write `docs/results/<modality>/headline.{json,md}`.

    The arguments and errors are those of `compare_methods`.
    """
    block = params.modality(modality)
    names = [method.name for method in compared_methods(params, modality)]
    methods = chosen_methods(
        params, modality, [name for name in names if name == PAPER or name.startswith(SINGLE)]
    )
    found = run_trials(root, params, modality, methods, seeds, at_most=at_most, progress=progress)
    report = Headline(
        modality=modality,
        seeds=tuple(seeds),
        completion=found.completion,
        threads=params.threads,
        tasks=found.paired.tasks["all"],
        models=compared_models(
            found.paired,
            [*block.enabled_rivals, *block.evaluation.rivals],
            list(block.enabled_teachers),
            model_sizes(root, params, modality),
            {one.model: one.examples_per_s for one in known_speeds(root, params, modality)},
        ),
    )
    report = STORED.validate_python(rounded(asdict(report)))  # README is made from rounded numbers
    if report.completion.is_complete:
        write_results(Layout(root, modality).results, NAME, asdict(report), markdown(report))
    return report


def compared_models(
    paired: PairedScores,
    rivals: Sequence[str],
    teachers: Sequence[str],
    sizes: Mapping[str, Size],
    speeds: Mapping[str, float | None],
) -> tuple[Model, ...]:
    """Return the models that have scores, in the order of `Headline.models`.

    Args:
        paired: See `method_comparison.Outcome`.
        rivals: The names of rivals.
        teachers: The names of teachers.
        sizes: The known sizes of the student, the rivals and the teachers.
        speeds: The known speeds of the same models, in examples per second.
    """
    singles = [name for name in paired.models if name.startswith(SINGLE)]
    singles.sort(key=lambda name: -paired.mean("all", OVERALL, name))
    known = {name: (name, STUDENT) for name in (DEFAULT, *singles, PAPER, UNDISTILLED)}
    known |= {
        comparison.RIVAL + name: (name, REFERENCE if name == TeachersPca.name else RIVAL)
        for name in rivals
    }
    known |= {comparison.TEACHER + name: (name, TEACHER) for name in teachers}
    present = [name for name in known if name in paired.models]
    models = []
    for key, scores in method_scores(paired, "all", present, DEFAULT).items():
        name, role = known[key]
        measured = tables.STUDENT if role == STUDENT else name  # all students share the encoder
        megabytes = sizes.get(measured, Size()).megabytes
        models.append(Model(name, role, scores, megabytes, speeds.get(measured)))
    return tuple(models)
