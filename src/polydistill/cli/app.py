"""The command line: parses, hands integrations to a stage, prints. Heavy imports wait in the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polydistill.cli.console import (
    ProgressLines,
    errors_for_people,
    plain,
    print_rich,
    relative,
    show,
    stage_errors,
)
from polydistill.cli.exports import exports
from polydistill.cli.look import AsJson, Modality, analyses, student_and_heads
from polydistill.cli.operations import operations
from polydistill.cli.params import settings
from polydistill.cli.registry import registry
from polydistill.cli.versions import versions
from polydistill.config import environment

EPILOG = (
    "Exit codes: 0 done · 1 error · 2 params or usage · 3 data · 4 store or disk · "
    "5 stage or service failed · 6 the gate refused · 7 drift found."
)
app = typer.Typer(
    help="Distil many pretrained embedding models into one small student.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)

ROOT = Path()


def main() -> None:
    """Run the command line."""
    environment.prepare()
    environment.end_on_request()
    app()


@app.command(epilog="Example: polydistill validate text")
def validate(modality: Modality, *, as_json: AsJson = False) -> None:
    """Check the corpus and every task against the expectations."""
    with stage_errors():
        from polydistill.integrations.dvc.stage_inputs import stage_params
        from polydistill.integrations.great_expectations import GreatExpectationsChecker
        from polydistill.project.layout import Layout
        from polydistill.stages.validate import validate as run_validation

        checker = GreatExpectationsChecker(Layout(ROOT, modality).data_docs)
        show(run_validation(ROOT, stage_params(ROOT), modality, checker), as_json=as_json)


@app.command(epilog="Example: polydistill embed text minilm-l6")
def embed(
    modality: Modality,
    teacher: Annotated[str, typer.Argument(help="An enabled teacher.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Embed the corpus and the benchmark inputs with one teacher."""
    with stage_errors():
        from polydistill.integrations.dvc.stage_inputs import stage_params
        from polydistill.stages.embed import embed as run_embedding

        progress = ProgressLines("embed")
        report = run_embedding(ROOT, stage_params(ROOT), modality, teacher, progress=progress)
        show(report, as_json=as_json)


@app.command(epilog="Example: polydistill distill text")
def distill(modality: Modality, *, as_json: AsJson = False) -> None:
    """Train the student on the embeddings of all teachers."""
    with stage_errors():
        from polydistill.integrations.dvc.stage_inputs import stage_params
        from polydistill.integrations.mlflow.tracker import MlflowTracker
        from polydistill.stages.distill import distill as run_distillation

        params = stage_params(ROOT)
        tracker = MlflowTracker(ROOT, modality)
        progress = ProgressLines("distill")
        report = run_distillation(ROOT, params, modality, tracker=tracker, progress=progress)
        show(report, as_json=as_json)


@app.command(epilog="Example: polydistill evaluate text")
def evaluate(modality: Modality, *, as_json: AsJson = False) -> None:
    """Score student, undistilled student and teachers on every task."""
    with stage_errors():
        from polydistill.integrations.dvc.stage_inputs import stage_params
        from polydistill.stages.evaluate import evaluate as run_evaluation

        progress = ProgressLines("evaluate")
        report = plain(run_evaluation(ROOT, stage_params(ROOT), modality, progress=progress))
        if not as_json:
            report.pop("scores")  # every task of every model: the report has a table for that
        show(report, as_json=as_json)


@app.command(epilog="Example: polydistill adopt text models:/student-text@champion")
def adopt(
    modality: Modality,
    model: Annotated[
        str, typer.Argument(help="A model of the registry, or a folder with student/ and heads/.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Bring an earlier student and its heads, so that `warm_start` can go on from them."""
    with errors_for_people():
        from tempfile import TemporaryDirectory

        from polydistill.config.params import load_params
        from polydistill.integrations.dvc import stages as dvc
        from polydistill.stages.adopt import adopt as adopt_version

        load_params(ROOT).modality(modality)  # an unknown one is an error before anything runs
        with TemporaryDirectory(prefix="polydistill-") as name:
            source = student_and_heads(model, Path(name))
            adopted = adopt_version(ROOT, modality, source)
        pointer = dvc.add(ROOT, adopted.folder) if (ROOT / ".dvc").is_dir() else None
        show({**plain(adopted), "pointer": pointer and str(pointer)}, as_json=as_json)


@app.command(epilog="Example: polydistill publish text")
def publish(modality: Modality, *, as_json: AsJson = False) -> None:
    """Register the student as challenger, once, whichever way it came."""
    with errors_for_people():
        from polydistill.config.params import load_params
        from polydistill.integrations.mlflow.publish import publish as publish_student

        published = publish_student(ROOT, load_params(ROOT), modality)
        show(published, as_json=as_json)
        if not published.reproducible:
            reasons = "\n  ".join([*published.reasons, published.detail]).rstrip()
            warning = f"Version {published.version} cannot be reproduced:\n  {reasons}"
            typer.secho(warning, err=True, fg=typer.colors.YELLOW)


@app.command(epilog="Example: polydistill report text")
def report(
    modality: Modality,
    *,
    speed: Annotated[bool, typer.Option(help="Measure student and teachers.")] = True,
    as_json: AsJson = False,
) -> None:
    """Draw the HTML report and print the table."""
    with errors_for_people():
        from polydistill.config.params import load_params
        from polydistill.report.page import write_report
        from polydistill.report.summary import render, summarise

        params = load_params(ROOT)
        page = write_report(ROOT, params, modality, speed=speed)
        summary = summarise(ROOT, params, modality)
        if as_json:
            show({"page": relative(page), **plain(summary)}, as_json=True)
            return
        print_rich(render(summary))
        typer.echo(f"Report: {relative(page)}")
        model = f"models:/student-{modality}@champion"
        typer.echo(f"Use it: polydistill encode {model} examples.txt -o out.npy")


@app.command(epilog="Example: polydistill export text")
def export(modality: Modality, *, as_json: AsJson = False) -> None:
    """Write the champion's run and the registry as sorted JSON to mlruns/exports/."""
    with errors_for_people():
        from polydistill.integrations.mlflow.registry_dump import export as export_champion

        show(
            {"files": [relative(path) for path in export_champion(ROOT, modality)]}, as_json=as_json
        )


@app.command(epilog="Example: polydistill run text --quick")
def run(
    modality: Annotated[str, typer.Argument(help="A block of params.yaml, or all: each in turn.")],
    *,
    quick: Annotated[
        bool, typer.Option(help="What the blocks say under `quick`, in a workspace of its own.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Do the whole main job: data, teachers, student, benchmark, registry, gate, report."""
    with errors_for_people():
        from polydistill.cli.flow_process import folder_of, run_flows
        from polydistill.config.params import load_params
        from polydistill.project.layout import Layout
        from polydistill.report.summary import summarise

        exit_codes = run_flows(ROOT, modality, quick=quick, aside=as_json)
        folder = folder_of(ROOT, quick=quick)
        for name, exit_code in exit_codes.items():
            page = str(Layout(folder, name).page)
            if exit_code == 0 and as_json:
                summary = summarise(folder, load_params(folder), name)
                show({"page": page, **plain(summary)}, as_json=True)
            elif exit_code == 0 and quick:
                typer.echo(f"This quick run lies in {folder}: run commands there. Report: {page}")
        raise typer.Exit(max(exit_codes.values()))


@app.command(epilog="Example: polydistill doctor")
def doctor(*, as_json: AsJson = False) -> None:
    """Check versions, disk, data, the DVC remote and the tracking store."""
    with errors_for_people():
        from polydistill.cli.doctor import examine

        findings = examine(ROOT)
        if as_json:
            show({"findings": [plain(finding) for finding in findings]}, as_json=True)
        else:
            for finding in findings:
                advice = f"  → {finding.advice}" if finding.advice else ""
                typer.echo(
                    f"{'✓' if finding.ok else '✗'} {finding.what:<22} {finding.found}{advice}"
                )
        if not all(finding.ok for finding in findings):
            raise typer.Exit(1)


@app.command(
    epilog="Example: polydistill encode models:/student-text@champion texts.txt -o out.npy"
)
def encode(
    model: Annotated[str, typer.Argument(help="A model of the registry, or a bundle's folder.")],
    examples: Annotated[
        Path, typer.Argument(help="A text file, one example (or its path) a line.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the (n, dim) array goes.")],
    *,
    modality: Annotated[
        str | None,
        typer.Option(help="Of the lines, where a bundle's folder does not say it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Embed the lines of a file with a student."""
    with errors_for_people():
        import numpy as np

        from polydistill.config.params import PARAMS_FILE, load_params
        from polydistill.data.modalities import MODALITIES
        from polydistill.data.tables import read_examples, read_lines
        from polydistill.errors import ParamsError
        from polydistill.integrations.mlflow.bundle import REGISTRY_SCHEMES, load_model
        from polydistill.project.layout import modality_of

        if output.suffix != ".npy":
            raise ParamsError(f"--output must end in .npy, got {str(output)!r}.")
        if model.startswith(REGISTRY_SCHEMES):  # a registered model knows its modality itself
            embeddings = load_model(ROOT, model).predict(read_lines(examples))
        else:
            listed = load_params(ROOT).modalities if (ROOT / PARAMS_FILE).exists() else ()
            name = modality or modality_of(ROOT, Path(model), listed)
            if name is None:
                raise ParamsError(f"--modality must say what {examples} holds for {model}.")
            rows = read_examples(examples, MODALITIES.get(name)())
            embeddings = load_model(ROOT, model).predict(rows)
        np.save(output, embeddings, allow_pickle=False)
        show(
            {"rows": len(embeddings), "dim": embeddings.shape[1], "file": str(output)},
            as_json=as_json,
        )


for group in (settings, registry, operations, analyses, exports, versions):
    app.registered_commands += group.registered_commands
