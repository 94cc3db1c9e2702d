"""Commands that examine a project and its results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polydistill.cli.console import ProgressLines, plain, relative, show
from polydistill.cli.options import ROOT, AsJson, Modality, project_params
from polydistill.cli.use import version_folder

if TYPE_CHECKING:
    from rich.table import Table

    from polydistill.stages.estimate import Estimate

commands = typer.Typer()
Compared = Annotated[
    str, typer.Argument(help="A registered model, the folder of a student, or an enabled teacher.")
]


@commands.command(epilog="Example: polydistill doctor")
def doctor(*, as_json: AsJson = False) -> None:
    """Check versions, disk, data, DVC remote, tracking store."""
    from polydistill.cli.doctor import examine

    findings = list(examine(ROOT))
    human = {
        f"{'✓' if one.ok else '✗'} {one.what}": f"{one.found}  → {one.advice}".removesuffix("  → ")
        for one in findings
    }
    show({"findings": [plain(one) for one in findings]}, as_json=as_json, human=human)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@commands.command(epilog="Example: polydistill report text")
def report(
    modality: Modality,
    *,
    speed: Annotated[bool, typer.Option(help="Measure the speed of student and teachers.")] = True,
    usd_per_hour: Annotated[
        float, typer.Option(min=0, max=1e6, help="Price of the machine that embeds.")
    ] = 0.10,
    as_json: AsJson = False,
) -> None:
    """Write the HTML report and print its table."""
    from polydistill.errors import PolydistillError
    from polydistill.integrations.mlflow.card import attach_card
    from polydistill.report.facts import collect
    from polydistill.report.page import write_report
    from polydistill.report.summary import render, summarise

    params = project_params()
    facts = collect(ROOT, params, modality, speed=speed, usd_per_hour=usd_per_hour)
    page = write_report(ROOT, facts)
    summary = summarise(ROOT, params, modality)
    found = {"page": relative(page), **plain(summary)}
    show(found, as_json=as_json, human=render(summary))
    try:
        attached = attach_card(ROOT, modality)
    except PolydistillError as error:  # the report is complete without it
        attached = None
        typer.secho(
            f"The model card is not in the registry: {error}", err=True, fg=typer.colors.YELLOW
        )
    if not as_json:
        typer.echo(f"Report: {relative(page)}")
        if attached:
            typer.echo(f"Model card: README.md of {attached}")
        typer.echo(f"Use it: polydistill encode {summary.model} examples.txt -o out.npy")


@commands.command(epilog="Example: polydistill estimate text --rows 1e9 --gpus 64")
def estimate(
    modality: Modality,
    *,
    rows: Annotated[
        float | None,
        typer.Option(min=1, max=1e15, help="Rows, such as 1e9. Default: those of the corpus."),
    ] = None,
    gpus: Annotated[int, typer.Option(min=1, max=10**6, help="Devices that work at once.")] = 1,
    speedup: Annotated[
        float,
        typer.Option(min=1e-3, max=1e6, help="Speed of each, relative to this machine's device."),
    ] = 1.0,
    usd_per_hour: Annotated[
        float, typer.Option(min=0, max=1e6, help="Price of each device.")
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Estimate time, money, disk and memory of a run."""
    from polydistill.stages.estimate import Hardware
    from polydistill.stages.estimate import estimate as run_estimate

    found = run_estimate(
        ROOT,
        project_params(modality=modality),
        modality,
        None if rows is None else int(rows),
        Hardware(gpus, speedup, usd_per_hour),
        progress=ProgressLines("estimate"),
    )
    show(found, as_json=as_json, human=_estimate_table(found))
    if not as_json:
        typer.echo(f"Bottleneck: {found.bottleneck}")


def _estimate_table(found: Estimate) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title=f"{found.rows:,} rows, {found.gpus} x {found.device}, measured on a sample",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("stage", no_wrap=True)
    for name in ("hours", "USD", "disk, GB", "memory, GB"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("measured")
    for one in found.stages:
        table.add_row(
            one.stage,
            f"{one.seconds / 3600:,.3g}",
            f"{one.usd:,.2f}",
            f"{one.disk_bytes / 1e9:,.3g}",
            f"{one.memory_bytes / 1e9:,.3g}",
            one.measured,
        )
    usd = sum(one.usd for one in found.stages)
    disk = sum(one.disk_bytes for one in found.stages)
    table.add_row(
        "all", f"{found.seconds / 3600:,.3g}", f"{usd:,.2f}", f"{disk / 1e9:,.3g}", "", ""
    )
    return table


@commands.command(
    epilog="Example: polydistill compare text artifacts/text models:/student-text@champion"
)
def compare(
    modality: Modality,
    version: Compared,
    baseline: Compared,
    *,
    page: Annotated[
        Path | None, typer.Option(help="Also write the comparison to this HTML file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two students or teachers, with paired intervals."""
    from polydistill.contracts import Progress, silent
    from polydistill.errors import ParamsError, short
    from polydistill.project.files import require_writable, write_atomic
    from polydistill.report.page import render_comparison
    from polydistill.stages.comparison import compare_models

    if version == baseline:
        raise ParamsError(f"Two different models must be named, got {version!r} twice.")
    params = project_params(modality=modality)
    if page is not None:
        require_writable(page)
    with ExitStack() as stack:
        models = {
            name: _student_folder(stack, name, params.enabled_teachers(modality))
            for name in (version, baseline)
        }
        one, other = (folder and folder.resolve() for folder in models.values())
        if one is not None and one == other:
            raise ParamsError(
                f"Two different models must be named, got the folder {short(one)} twice."
            )
        progress: Progress = silent if as_json else ProgressLines("compare")
        found = compare_models(ROOT, params, modality, models, progress=progress)
    if page is not None:
        write_atomic(page, render_comparison(found, modality, version, baseline))
    rows = [
        {"task": row.name, "kind": row.kind, "n": row.n, "score": row.score}
        | {"baseline": row.scores[baseline]}
        | plain(row.differences[baseline])
        for row in (*found.tasks, *found.kinds)
    ]
    for row in rows:
        row["difference"] = row.pop("mean")
    n_tasks = len(found.tasks)
    human = _differences(rows, n_tasks, f"{version} minus {baseline}")
    show({"tasks": rows[:n_tasks], "kinds": rows[n_tasks:]}, as_json=as_json, human=human)
    if page is not None and not as_json:
        typer.echo(f"Page: {page}")


def _student_folder(stack: ExitStack, name: str, teachers: Collection[str]) -> Path | None:
    """Return the folder of a student's bundle; None for a teacher. A registered version is downloaded.

    Raises:
        UnknownNameError: There is neither an enabled teacher nor a folder of this name.
        DataError: The folder has no student, or its card is damaged.
    """
    from polydistill.errors import UnknownNameError
    from polydistill.students import read_student_card

    if name in teachers:
        return None
    folder = stack.enter_context(version_folder(name))
    folder = folder / "student" if (folder / "student").is_dir() else folder
    if not folder.exists():
        raise UnknownNameError("folder of a student or enabled teacher", name, teachers)
    read_student_card(folder)
    return folder


@commands.command(epilog="Example: polydistill attribution text")
def attribution(modality: Modality, *, as_json: AsJson = False) -> None:
    """Estimate how much each teacher raises the scores."""
    from polydistill.stages.attribution import adds_per_minute, attribute_scores

    params, progress = project_params(), ProgressLines("attribution")
    report = attribute_scores(ROOT, params, modality, progress=progress)
    here = adds_per_minute(ROOT, params, report)
    teachers = {
        one.teacher: {
            "adds": one.adds.mean,
            "low": one.adds.low,
            "high": one.adds.high,
            "alone": one.alone["mean"],
            "per GB": one.adds_per_gb,
            "minutes": here[one.teacher]["minutes"],
            "per minute": here[one.teacher]["adds_per_minute"],
            "flag": "adds nothing" if one.adds_nothing else None,
        }
        for one in report.contributions
    }
    human = {"modality": modality, "ensemble": report.ensemble, "teachers": teachers}
    show({**plain(report), "on_this_machine": here}, as_json=as_json, human=human)


@commands.command(epilog="Example: polydistill information text --rows 20000")
def information(
    modality: Modality,
    *,
    rows: Annotated[int, typer.Option(min=1, help="Maximum number of rows to fit on.")] = 8_000,
    as_json: AsJson = False,
) -> None:
    """Estimate the student-teacher mutual information, in nats."""
    from polydistill.stages.information import information as measure_information

    progress = ProgressLines("information")
    report = measure_information(ROOT, project_params(), modality, rows=rows, progress=progress)
    show(report, as_json=as_json, human={"density": plain(report)["density"]})


@commands.command(epilog="Example: polydistill drift text")
def drift(modality: Modality, *, as_json: AsJson = False) -> None:
    """Compare corpus and champion's corpus; exit 7 on drift."""
    from polydistill.errors import DriftFoundError
    from polydistill.integrations.great_expectations import GreatExpectationsChecker
    from polydistill.integrations.mlflow.registry import champion_drift
    from polydistill.integrations.mlflow.store import model_name
    from polydistill.project.layout import Layout

    checker = GreatExpectationsChecker(Layout(ROOT, modality).drift_docs)
    report = champion_drift(ROOT, project_params(), modality, model_name(modality), checker)
    human = plain(report)
    human["columns"] = {row.pop("column"): row for row in human["columns"]}
    show(report, as_json=as_json, human=human)
    if report.drifted:
        raise DriftFoundError(
            f"Drifted from champion {report.champion}: {', '.join(report.drifted)}."
        )


def _differences(rows: Sequence[Mapping[str, Any]], n_tasks: int, title: str) -> Table:
    from rich.table import Column, Table

    numbers = ("difference", "95 % interval", "p (Holm)", "verdict", "examples")
    columns = [Column(name, justify="right") for name in numbers]
    caption = "A verdict needs p of at most 0.05 after Holm's correction over the tasks, or kinds."
    shown = Table("task", "kind", *columns, title=title, caption=caption)
    for number, row in enumerate(rows):
        shown.add_row(
            row["task"],
            row["kind"] if number < n_tasks else "",
            f"{row['difference']:+.4f}",
            f"[{row['low']:+.4f}, {row['high']:+.4f}]",
            f"{row['p']:.2g}",
            row["verdict"],
            f"{row['n']:,}",
            style="bold" if row["verdict"] != "level" else None,
            end_section=number == n_tasks - 1,
        )
    return shown
