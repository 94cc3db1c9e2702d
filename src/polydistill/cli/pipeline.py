"""Commands that create a project and run the pipeline or single stages. They import large libraries when they run."""

import os
import sys
from os.path import relpath
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

import typer

from polydistill.cli.console import ProgressLines, plain, show
from polydistill.cli.options import ROOT, AsJson, Modality, Verify, project_params

commands = typer.Typer()
Policy = Literal["always", "on-new-data", "on-drift"]
NO_TASK = (
    "There is no task, so `polydistill run` cannot score and promote a student. "
    "Add a table with labels under `tasks` in params.yaml (docs/guides/your-own-data.md), or only train a student:"
)


@commands.command(epilog="Example: polydistill init my-project --corpus reviews.csv")
def init(  # noqa: PLR0913, PLR0917  each argument is an option of the command
    folder: Annotated[Path, typer.Argument(help="The project folder to create.")],
    corpus: Annotated[
        Path,
        typer.Option(
            help="File, folder or glob of examples: CSV, TSV, JSONL, Parquet, text or images."
        ),
    ],
    task: Annotated[
        Path | None,
        typer.Option(help="Labelled examples [a part of the corpus, if it has labels]."),
    ] = None,
    column: Annotated[str | None, typer.Option(help="Column of the examples [guessed].")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the labels [guessed].")] = None,
    modality: Annotated[
        str | None, typer.Option(help="text, vision or molecules [guessed].")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="Kind of task: classification, regression, clustering, sts [guessed]."),
    ] = None,
    encoding: Annotated[
        str, typer.Option(help="Encoding of the files, such as latin-1 or cp1252.")
    ] = "utf-8",
    *,
    as_json: AsJson = False,
) -> None:
    """Create a project from your own data."""
    from typing import cast, get_args

    from polydistill.config.data import TaskKind, checked_encoding
    from polydistill.data.intake import Named
    from polydistill.errors import UnknownNameError
    from polydistill.integrations.new_project import create_project

    if kind is not None and kind not in get_args(TaskKind):
        raise UnknownNameError("task kind", kind, get_args(TaskKind))
    named = Named(column, label, cast("TaskKind | None", kind), checked_encoding(encoding))
    made = create_project(folder, corpus, task, modality, named)
    fields = {key: value for key, value in plain(made).items() if value}
    notes = fields.pop("notes", [])
    show(made, as_json=as_json, human=fields)
    if as_json:
        return
    for note in notes:
        typer.echo(f"  {note}")
    if made.task is None:
        typer.echo(NO_TASK)
        typer.echo(f"\n  cd {quote(str(folder))} && dvc repro distill@{made.modality}")
    else:
        typer.echo(f"Next:\n\n  cd {quote(str(folder))}\n  polydistill run")


@commands.command(epilog="Example: polydistill run text --quick")
def run(
    modality: Annotated[
        str, typer.Argument(help="A block of params.yaml, or `all`.", show_default=False)
    ] = "all",
    *,
    quick: Annotated[
        bool, typer.Option(help="Use the settings under `quick`, in the workspace `quick`.")
    ] = False,
    workspace: Annotated[
        str | None,
        typer.Option(help="Run in this workspace, so that the project's files do not change."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the whole pipeline, from the data to a champion."""
    from polydistill.cli.flow_process import ALL, QUICK, run_flows
    from polydistill.errors import GateRefusedError, ParamsError
    from polydistill.project.layout import Layout
    from polydistill.project.workspace import WORKSPACES
    from polydistill.report.summary import summarise

    params = project_params()
    for name in params.modalities if modality == ALL else (modality,):
        if not params.modality(name).tasks:
            raise ParamsError(
                f"{name}.tasks must have a task, got none: a student is promoted by its scores on tasks. "
                f"`dvc repro distill@{name}` only trains a student."
            )
    workspace = workspace or (QUICK if quick else None)
    exit_codes = run_flows(ROOT, modality, quick=quick, workspace=workspace, to_stderr=as_json)
    folder = ROOT / WORKSPACES / workspace if workspace else ROOT
    for name, exit_code in exit_codes.items():
        page = str(Layout(folder, name).page)
        ended = exit_code in {0, GateRefusedError.exit_code}
        if ended and as_json:
            summary = summarise(folder, project_params(folder), name)
            show({"page": page, **plain(summary)}, as_json=True)
        elif ended and workspace:
            activate = f"source {relpath(sys.prefix)}/bin/activate && "
            if sys.prefix in {sys.base_prefix, os.environ.get("VIRTUAL_ENV")}:
                activate = ""  # its commands are found
            typer.echo(f"The run is in a folder of its own. Use it there: {activate}cd {folder}")
    raise typer.Exit(max(exit_codes.values()))


@commands.command(epilog="Example: polydistill validate text")
def validate(modality: Modality, *, as_json: AsJson = False) -> None:
    """Check the corpus and every task."""
    from polydistill.integrations.dvc.stage_inputs import stage_params, steady_inputs

    with steady_inputs(ROOT):
        from polydistill.integrations.great_expectations import GreatExpectationsChecker
        from polydistill.project.layout import Layout
        from polydistill.stages.validate import validate as run_validation

        checker = GreatExpectationsChecker(Layout(ROOT, modality).data_docs)
        show(run_validation(ROOT, stage_params(ROOT), modality, checker), as_json=as_json)


@commands.command(epilog="Example: polydistill embed text minilm-l6")
def embed(
    modality: Modality,
    teacher: Annotated[
        str | None,
        typer.Argument(
            help="An enabled teacher or rival. Default: compute what all enabled teachers lack in one process, which "
            "decodes each image once; the stages of the teachers then use it."
        ),
    ] = None,
    *,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Embed the corpus and the benchmark inputs with one teacher, or with all.

    A rival embeds only the benchmark inputs.
    """
    from polydistill.integrations.dvc.stage_inputs import stage_params, steady_inputs

    with steady_inputs(ROOT):
        from polydistill.stages.embed import embed as run_embedding
        from polydistill.stages.embed import embed_together

        progress = ProgressLines("embed")
        params, engine = stage_params(ROOT), {}
        if teacher is None:
            from polydistill.errors import ParamsError

            if params.embed.engine == "ray":
                raise ParamsError(
                    "All teachers together are embedded on this machine alone, but `embed.engine` is ray: name a teacher."
                )
            lacking = embed_together(ROOT, params, modality, verify=verify, progress=progress)
            show({"computed": lacking}, as_json=as_json)
            return
        if teacher in params.modality(modality).enabled_rivals:
            from polydistill.stages.embed_rival import embed_rival

            rival = embed_rival(ROOT, params, modality, teacher, verify=verify, progress=progress)
            show(rival, as_json=as_json)
            return
        if params.embed.engine == "ray":
            from polydistill.integrations.ray_engine import RayEngine

            engine = {"engine": RayEngine(params, modality, teacher)}
        report = run_embedding(
            ROOT, params, modality, teacher, verify=verify, progress=progress, **engine
        )
        known = {name: value for name, value in plain(report).items() if value is not None}
        show(report, as_json=as_json, human=known)


@commands.command(epilog="Example: polydistill distill text")
def distill(
    modality: Modality,
    *,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes of training. Default: that of params.yaml.")
    ] = None,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Train the student on the embeddings of all teachers."""
    from polydistill.integrations.dvc.stage_inputs import stage_params, steady_inputs

    rank = os.environ.get("RANK")  # of a process that `launch` or torchrun has started
    if rank is None and (count := processes or stage_params(ROOT).processes) > 1:
        from polydistill.training.processes import launch

        options = [name for name, on in (("--json", as_json), ("--verify", verify)) if on]
        raise typer.Exit(launch(count, "distill", modality, *options))
    with steady_inputs(ROOT):
        from polydistill.integrations.mlflow.tracker import MlflowTracker
        from polydistill.stages.distill import distill as run_distillation

        tracker = MlflowTracker(ROOT, modality)
        progress = ProgressLines("distill")
        report = run_distillation(
            ROOT, stage_params(ROOT), modality, verify=verify, tracker=tracker, progress=progress
        )
        if rank in {None, "0"}:
            show(report, as_json=as_json)


@commands.command(epilog='Example: polydistill evaluate text --tasks "MTEB(eng, v2)"')
def evaluate(
    modality: Modality,
    *,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            help="A benchmark or task of mteb, from the Hugging Face hub, instead of the project's tasks; repeatable."
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(help="With --tasks: student, or a teacher's name; repeatable [student]."),
    ] = None,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Score student, teachers and rivals on every task."""
    from polydistill.errors import ParamsError
    from polydistill.integrations.dvc.stage_inputs import stage_params, steady_inputs

    if tasks:
        _evaluate_on_hub(modality, tasks, models or ["student"], as_json=as_json)
        return
    if models:
        raise ParamsError(
            "--models needs --tasks; `evaluation.models` in params.yaml selects models."
        )
    with steady_inputs(ROOT):
        from polydistill.stages.evaluate import evaluate as run_evaluation

        progress = ProgressLines("evaluate")
        params = stage_params(ROOT)
        report = plain(run_evaluation(ROOT, params, modality, verify=verify, progress=progress))
        if not as_json:
            for details in ("scores", "n_test"):  # here the summary is enough
                report.pop(details)
        show(report, as_json=as_json)


def _evaluate_on_hub(modality: str, tasks: list[str], models: list[str], *, as_json: bool) -> None:
    """Run mteb's benchmarks, print mteb's tables, and exit with an error if a task failed."""
    from polydistill.errors import StageError
    from polydistill.stages.hub_benchmarks import evaluate_on_hub

    progress = ProgressLines("evaluate")
    params = project_params(modality=modality)
    found = evaluate_on_hub(ROOT, params, modality, tasks, models, progress=progress)
    if as_json:
        show({"scores": found.scores, "failed": found.failed}, as_json=True)
    else:
        for name, table in found.tables.items():
            typer.echo(f"{name}\n{table.to_string(index=False, float_format='{:.4f}'.format)}\n")
        for model, by_task in found.failed.items():
            for task, reason in by_task.items():
                typer.echo(f"{model}: no score on {task}: {reason}", err=True)
    if any(found.failed.values()):
        raise typer.Exit(StageError.exit_code)


@commands.command(epilog="Example: polydistill plan text")
def plan(
    modality: Modality,
    *,
    policy: Annotated[
        Policy | None,
        typer.Option(help="Overrides the policy in params.yaml: always, on-new-data, on-drift."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Report whether a run has anything to do, and why."""
    from polydistill.integrations.planning import make_plan

    show(make_plan(ROOT, project_params(), modality, policy), as_json=as_json)


@commands.command(epilog="Example: polydistill workspace nightly")
def workspace(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Make or update a folder for scheduled runs."""
    from polydistill.project.workspace import make_workspace

    folder = make_workspace(ROOT, name, {}, own_data=True)
    show({"workspace": folder.relative_to(ROOT.resolve())}, as_json=as_json)
