"""The commands that look at what a run has made, rather than make it; `cli` adds them to its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polydistill.cli.console import ProgressLines, errors_for_people, plain, show

ROOT = Path()
Modality = Annotated[str, typer.Argument(help="A block of params.yaml: text.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
analyses = typer.Typer()


@analyses.command(epilog="Example: polydistill attribution text")
def attribution(modality: Modality, *, as_json: AsJson = False) -> None:
    """Say what each teacher adds to the others, per task, gigabyte and minute: docs/results/."""
    with errors_for_people():
        from polydistill.config.params import load_params
        from polydistill.stages.attribution import adds_per_minute
        from polydistill.stages.attribution import attribution as attribute_scores

        params, progress = load_params(ROOT), ProgressLines("attribution")
        report = attribute_scores(ROOT, params, modality, progress=progress)
        here = adds_per_minute(ROOT, params, report)
        if as_json:
            show({**plain(report), "on_this_machine": here}, as_json=True)
            return
        teachers = {
            one.teacher: {
                "adds": one.adds.mean,
                "low": one.adds.low,
                "high": one.adds.high,
                "alone": one.alone["mean"],
                "per GB": one.adds_per_gb,
                "minutes": here[one.teacher].minutes,
                "per minute": here[one.teacher].adds_per_minute,
                "flag": "adds nothing" if one.adds_nothing else None,
            }
            for one in report.contributions
        }
        show(
            {"modality": modality, "ensemble": report.ensemble, "teachers": teachers},
            as_json=False,
        )


@analyses.command(epilog="Example: polydistill costs text")
def costs(modality: Modality, *, as_json: AsJson = False) -> None:
    """Say how large and how fast student and teachers are, and what they keep: docs/results/."""
    with errors_for_people():
        from polydistill.config.params import load_params
        from polydistill.report.costs import costs as measure_costs

        show(measure_costs(ROOT, load_params(ROOT), modality), as_json=as_json)


@analyses.command(epilog="Example: polydistill information text --rows 20000")
def information(
    modality: Modality,
    *,
    rows: Annotated[int, typer.Option(min=1, help="Rows to fit on, at most.")] = 8_000,
    as_json: AsJson = False,
) -> None:
    """Say how many nats student and teachers tell of each teacher, and for how many parameters."""
    with errors_for_people():
        from polydistill.config.params import load_params
        from polydistill.stages.information import information as measure_information

        progress = ProgressLines("information")
        report = measure_information(
            ROOT, load_params(ROOT), modality, rows=rows, progress=progress
        )
        show(report if as_json else {"density": plain(report)["density"]}, as_json=as_json)


@analyses.command(epilog="Example: polydistill predictions text")
def predictions(modality: Modality, *, as_json: AsJson = False) -> None:
    """Say what the heads' predictions are worth: search, intervals, novelty: docs/results/."""
    with errors_for_people():
        from polydistill.config.params import load_params
        from polydistill.stages.predictions import predictions as measure_predictions

        progress = ProgressLines("predictions")
        show(
            measure_predictions(ROOT, load_params(ROOT), modality, progress=progress),
            as_json=as_json,
        )


@analyses.command(
    "predict-teacher",
    epilog="Example: polydistill predict-teacher text minilm-l6 texts.txt -o out.npz",
)
def predict_teacher(
    modality: Modality,
    teacher: Annotated[str, typer.Argument(help="A teacher that the student was distilled from.")],
    examples: Annotated[
        Path, typer.Argument(help="A text file, one example (or its path) a line.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where mean, std and novelty go: an .npz.")
    ],
    *,
    model: Annotated[
        str | None,
        typer.Option(
            help="A folder with student/ and heads/, or a model of the registry [artifacts/<modality>]."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict a teacher's embeddings, with a calibrated std and a novelty score, from the student."""
    with errors_for_people():
        from tempfile import TemporaryDirectory

        from polydistill.config.params import load_params
        from polydistill.data.modalities import MODALITIES
        from polydistill.data.tables import read_examples
        from polydistill.export.predicted_embeddings import predict_teacher as run_prediction
        from polydistill.project.layout import Layout

        load_params(ROOT).modality(modality)  # an unknown one is an error before anything runs
        rows = read_examples(examples, MODALITIES.get(modality)())
        with TemporaryDirectory(prefix="polydistill-") as place:
            folder = student_and_heads(model or str(Layout(ROOT, modality).artifacts), Path(place))
            report = run_prediction(folder, teacher, rows, output)
        show(report, as_json=as_json)


def student_and_heads(model: str, place: Path) -> Path:
    """Return the folder that holds both: `model` itself, or `place`, where a registered one is brought.

    Raises:
        PolydistillError: See `mlflow_bundle.version_folder`.
    """
    from polydistill.integrations.mlflow.bundle import REGISTRY_SCHEMES, version_folder

    return version_folder(ROOT, model, place) if model.startswith(REGISTRY_SCHEMES) else Path(model)
