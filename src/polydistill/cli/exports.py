"""The commands that turn a student into what its users take away; `cli` adds them to its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polydistill.cli.console import ProgressLines, errors_for_people, show
from polydistill.cli.look import AsJson, Modality

ROOT = Path()
exports = typer.Typer()


@exports.command(
    "export-student", epilog="Example: polydistill export-student text --as whitened -o folder"
)
def export_student(
    modality: Modality,
    name: Annotated[
        str, typer.Option("--as", help="An export: plain, whitened, predicted-consensus.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    *,
    option: Annotated[
        list[str] | None, typer.Option(help="Of the export, as in shrinkage=0.5; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the student with a map that follows it; `polydistill encode <folder>` uses it."""
    with errors_for_people():
        import yaml

        from polydistill.config.nodes import Plugin
        from polydistill.config.params import load_params
        from polydistill.errors import ParamsError
        from polydistill.stages.exports import export_student as write_export

        options = {}
        for one in option or []:
            key, equals, value = one.partition("=")
            if not (key and equals and value):
                raise ParamsError(f"--option must be name=value, as in shrinkage=0.5, got {one!r}.")
            options[key] = yaml.safe_load(value)
        plugin = Plugin.model_validate({**options, "name": name})
        report = write_export(ROOT, load_params(ROOT), modality, plugin, output)
        show(report, as_json=as_json)


@exports.command("compare-exports", epilog="Example: polydistill compare-exports text")
def compare_exports(
    modality: Modality,
    *,
    kind: Annotated[
        list[str] | None, typer.Option(help="Of tasks; repeatable [clustering, retrieval, sts].")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score every export on the tasks that cosines decide: docs/results/<modality>/exports.md."""
    with errors_for_people():
        from polydistill.config.params import load_params
        from polydistill.stages.exports import compare_exports as score_exports

        progress = ProgressLines("exports")
        report = score_exports(
            ROOT, load_params(ROOT), modality, kinds=kind or (), progress=progress
        )
        show(report if as_json else {"means": report.means}, as_json=as_json)
