"""Commands that examine a project and its results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from polydistill.cli.console import ProgressLines, plain, relative, show
from polydistill.cli.options import ROOT, AsJson, Modality, Version, project_params

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table

    from polydistill.stages.estimate import Estimate

commands = typer.Typer()


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
    as_json: AsJson = False,
) -> None:
    """Write the HTML report and print its table."""
    from polydistill.report.page import write_report
    from polydistill.report.summary import render, summarise

    params = project_params()
    page = write_report(ROOT, params, modality, speed=speed)
    summary = summarise(ROOT, params, modality)
    found = {"page": relative(page), **plain(summary)}
    show(found, as_json=as_json, human=render(summary))
    if not as_json:
        typer.echo(f"Report: {relative(page)}")
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
    modality: Modality, version: Version, baseline: Version, *, as_json: AsJson = False
) -> None:
    """Compare two students on every task, with paired intervals."""
    from polydistill.api import compare as compare_students
    from polydistill.cli.use import version_folder
    from polydistill.data.tables import available_tasks
    from polydistill.export.student import Student

    tasks = available_tasks(ROOT, project_params().modality(modality).tasks)
    rows = {name: task.model_dump(exclude_none=True) for name, task in tasks.items()}
    with version_folder(version) as challenger, version_folder(baseline) as other:
        students = [
            Student(folder / "student" if (folder / "student").is_dir() else folder, modality)
            for folder in (challenger, other)
        ]
        table = compare_students(students[0], students[1], rows, progress=not as_json)
    human = _differences(table, f"{version} minus {baseline}")
    show({"tasks": table.to_dict("records")}, as_json=as_json, human=human)


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


def _differences(table: DataFrame, title: str) -> Table:
    from rich.table import Column, Table

    numbers = ("difference", "95 % interval", "test examples")
    columns = [Column(name, justify="right") for name in numbers]
    shown = Table(
        "task", "kind", *columns, title=title, caption="Bold: the 95 % interval excludes zero."
    )
    rows: list[list[Any]] = table.to_numpy().tolist()
    for task, kind, difference, low, high, n in rows:
        style = "bold" if low > 0 or high < 0 else None
        interval = f"[{low:+.4f}, {high:+.4f}]"
        shown.add_row(task, kind, f"{difference:+.4f}", interval, f"{n:,}", style=style)
    return shown
