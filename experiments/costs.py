"""What student and teachers cost and are worth, side by side: a page that is committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from polydistill.config.params import Params
from polydistill.evaluation.scores import read_scores
from polydistill.project.layout import Layout
from polydistill.report.results import write_results
from polydistill.report.speed import Measured, measure
from polydistill.report.tables import MEAN, STUDENT, best_teacher, means, require_known

NAME = "costs"
UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True)
class Costs:
    """What a model costs and is worth.

    Attributes:
        model: `student`, or a teacher's name.
        n_parameters: Of what runs; None where nothing says, or there are no weights.
        megabytes: Of the weights' files; None where there are none.
        examples_per_s: On this machine, all models in turn; None where it could not be measured.
        shares: Task kind, and `mean`: its score over the best teacher's.
    """

    model: str
    n_parameters: int | None
    megabytes: float | None
    examples_per_s: float | None
    shares: dict[str, float]


@dataclass(frozen=True)
class CostsReport:
    """What `docs/results/<modality>/costs.json` holds.

    Attributes:
        modality: Of the student.
        threads: Of each model.
        models: The student first.
    """

    modality: str
    threads: int
    models: tuple[Costs, ...]


def costs(root: Path, params: Params, modality: str) -> CostsReport:
    """Measure student and teachers, and write `docs/results/<modality>/costs.{json,md}`.

    Raises:
        MissingDataError: There is no student, no corpus or no `scores.json`.
        DataError: The scores do not belong to these parameters.
    """
    layout, tasks = Layout(root, modality), params.modality(modality).tasks
    scores = read_scores(layout.scores)
    require_known(scores, tasks)
    by_model = means(scores, tasks)
    models = tuple(_costs(one, by_model) for one in measure(root, params, modality))
    report = CostsReport(modality, params.threads, models)
    write_results(layout.results, NAME, asdict(report), markdown(report))
    return report


def markdown(report: CostsReport) -> str:
    """Return the report as one table."""
    kinds = list(report.models[0].shares)
    own = report.models[0].examples_per_s
    lines = [
        f"# What the {report.modality} student costs, and what its teachers do",
        "",
        (
            f"Examples of the corpus, {report.threads} threads, all models in turn on one machine: the ratios say more "
            "than the rates. A share is of the best teacher's score in that kind of task, for the student that lies in "
            f"`artifacts/{report.modality}`. `python -m experiments costs {report.modality}` writes this page."
        ),
        "",
        f"| | parameters | MB | examples/s | student is | {' | '.join(kinds)} |",
        f"|---|---:|---:|---:|---:|{'---:|' * len(kinds)}",
    ]
    for one in report.models:
        faster = None if own is None or not one.examples_per_s else own / one.examples_per_s
        cells = [
            f"**{one.model}**" if one.model == STUDENT else one.model,
            UNKNOWN if one.n_parameters is None else f"{one.n_parameters / 1e6:.1f} M",
            UNKNOWN if one.megabytes is None else f"{one.megabytes:.1f}",
            UNKNOWN if one.examples_per_s is None else f"{one.examples_per_s:,.0f}",
            UNKNOWN if faster is None or one.model == STUDENT else f"{faster:,.1f} times as fast",
            *(f"{one.shares[kind]:.0%}" if kind in one.shares else UNKNOWN for kind in kinds),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _costs(measured: Measured, by_model: Mapping[str, Mapping[str, float]]) -> Costs:
    own, size = by_model.get(measured.model, {}), measured.size
    return Costs(
        model=measured.model,
        n_parameters=size.n_parameters,
        megabytes=None if size.weight_bytes is None else size.weight_bytes / 1e6,
        examples_per_s=measured.examples_per_s,
        shares=_shares(own, by_model, [*(kind for kind in own if kind != MEAN), MEAN]),
    )


def _shares(
    own: Mapping[str, float], by_model: Mapping[str, Mapping[str, float]], kinds: Sequence[str]
) -> dict[str, float]:
    shares = {}
    for kind in kinds:
        teacher = best_teacher(by_model, kind)
        if teacher is not None and kind in own and by_model[teacher][kind] > 0:
            shares[kind] = own[kind] / by_model[teacher][kind]
    return shares
