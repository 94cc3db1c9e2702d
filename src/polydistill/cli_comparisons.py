"""The commands that compare methods over seeds; `cli` adds them to its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polydistill.cli_analyses import AsJson, Modality
from polydistill.console import ProgressLines, errors_for_people, show

ROOT = Path()
SoFar = Annotated[bool, typer.Option("--so-far", help="Make nothing, and show what there is.")]
AtMost = Annotated[int | None, typer.Option(min=1, help="Make so many cells, then stop.")]
comparisons = typer.Typer()


@comparisons.command(epilog="Example: polydistill headline text --so-far")
def headline(
    modality: Modality,
    *,
    so_far: SoFar = False,
    at_most: AtMost = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="Compare only these, and the default: mse, 'only minilm-l6', …"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the default with baselines and single teachers, over seeds (hours): docs/results/."""
    with errors_for_people():
        from polydistill.comparison.headline_page import markdown
        from polydistill.comparison.methods import chosen_methods
        from polydistill.params import load_params
        from polydistill.stages.headline import headline as compare

        params, progress = load_params(ROOT), ProgressLines("headline")
        report = compare(
            ROOT,
            params,
            modality,
            methods=chosen_methods(params, modality, method),
            at_most=0 if so_far else at_most,
            progress=progress,
        )
        if as_json:
            show(report, as_json=True)
        else:
            typer.echo(markdown(report))


@comparisons.command(epilog="Example: polydistill ablation text --so-far")
def ablation(
    modality: Modality, *, so_far: SoFar = False, at_most: AtMost = None, as_json: AsJson = False
) -> None:
    """Change one factor at a time around the default, on a small setting, as DVC experiments."""
    with errors_for_people():
        from polydistill.ablation import Ablation, make_missing, prepare_workspace, summarise
        from polydistill.comparison.ablation import markdown
        from polydistill.integrations.dvc_experiments import DvcExperiments
        from polydistill.params import load_params

        plan, failed = Ablation(ROOT, load_params(ROOT), modality), list[str]()
        if not so_far:
            experiments = DvcExperiments(prepare_workspace(plan))
            progress = ProgressLines("ablation")
            failed = make_missing(plan, experiments, at_most=at_most, progress=progress)
        report = summarise(plan, failed)
        if as_json:
            show(report, as_json=True)
        else:
            typer.echo(markdown(report))
