"""Size, speed and relative scores of the student and its teachers, as a committed page."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from polydistill.config.params import Params
from polydistill.project.layout import Layout
from polydistill.project.reports import read_report
from polydistill.report.costs import measure, model_sizes
from polydistill.report.results import write_results
from polydistill.report.tables import (
    STUDENT,
    known,
    mean_scores,
    require_known,
    shares_of_best_teacher,
)

NAME = "costs"
UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True)
class Costs:
    """The size, speed and relative scores of one model.

    Attributes:
        model: `student`, or the name of a teacher.
        n_parameters: The number of parameters; None if it is unknown or the model has no weights.
        megabytes: The size of the weight files; None if there are none.
        examples_per_s: The throughput on this machine, with the models measured in turn; None if not measurable.
        shares: The score divided by the best teacher's score, by task kind; the last kind is `mean`.
    """

    model: str
    n_parameters: int | None
    megabytes: float | None
    examples_per_s: float | None
    shares: dict[str, float]


@dataclass(frozen=True)
class CostsReport:
    """The content of `docs/results/<modality>/costs.json`.

    Attributes:
        modality: The student's modality.
        threads: The number of threads of each model.
        models: The models, the student first.
    """

    modality: str
    threads: int
    models: tuple[Costs, ...]


def costs(root: Path, params: Params, modality: str) -> CostsReport:
    """Measure student and teachers, and write `docs/results/<modality>/costs.{json,md}`.

    Raises:
        MissingDataError: The student, the corpus or `scores.json` is missing.
        DataError: The scores do not belong to these parameters.
    """
    layout, block = Layout(root, modality), params.modality(modality)
    tasks, teachers = block.tasks, list(block.enabled_teachers)
    scores = read_report(layout.scores, "evaluate")
    require_known(scores, tasks)
    shares = shares_of_best_teacher(mean_scores(scores, tasks, teachers), teachers)
    by_model = {str(model): known(row) for model, row in shares.iterrows()}
    sizes = model_sizes(root, params, modality)
    models = tuple(
        Costs(
            model=one.model,
            n_parameters=sizes[one.model].n_parameters,
            megabytes=sizes[one.model].megabytes,
            examples_per_s=one.examples_per_s,
            shares=by_model.get(one.model, {}),
        )
        for one in measure(root, params, modality)
    )
    report = CostsReport(modality, params.threads, models)
    write_results(layout.results, NAME, asdict(report), markdown(report))
    return report


def markdown(report: CostsReport) -> str:
    """Return the whole page, with one table."""
    kinds = list(report.models[0].shares)
    own = report.models[0].examples_per_s
    lines = [
        f"# Size and speed: the {report.modality} student and its teachers",
        "",
        (
            f"Throughput on corpus examples with {report.threads} threads, all models measured in turn on one machine; "
            "the ratios are more reliable than the absolute numbers. The columns of task kinds hold the score as a share "
            f"of the best teacher's. The student is the one in `artifacts/{report.modality}`. "
            f"`python -m experiments costs {report.modality}` writes this page."
        ),
        "",
        f"| | parameters | MB | examples/s | student is | {' | '.join(kinds)} |",
        f"|---|---:|---:|---:|---:|{'---:|' * len(kinds)}",
    ]
    for one in report.models:
        faster = None if own is None or not one.examples_per_s else own / one.examples_per_s
        columns = [
            f"**{one.model}**" if one.model == STUDENT else one.model,
            UNKNOWN if one.n_parameters is None else f"{one.n_parameters / 1e6:.1f} M",
            UNKNOWN if one.megabytes is None else f"{one.megabytes:.1f}",
            UNKNOWN if one.examples_per_s is None else f"{one.examples_per_s:,.0f}",
            UNKNOWN if faster is None or one.model == STUDENT else f"{faster:,.1f} times as fast",
            *(f"{one.shares[kind]:.0%}" if kind in one.shares else UNKNOWN for kind in kinds),
        ]
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines) + "\n"
