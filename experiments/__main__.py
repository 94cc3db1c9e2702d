"""Compare methods over seeds: `python -m experiments --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polydistill.cli.console import ProgressLines, errors_for_people, show
from polydistill.cli.look import AsJson, Modality
from polydistill.config import environment

ROOT = Path()
SoFar = Annotated[bool, typer.Option("--so-far", help="Make nothing, and show what there is.")]
AtMost = Annotated[int | None, typer.Option(min=1, help="Make so many cells, then stop.")]
comparisons = typer.Typer(
    help="Compare methods over seeds.", no_args_is_help=True, rich_markup_mode=None
)


@comparisons.command(epilog="Example: python -m experiments headline text --so-far")
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
        from experiments.comparison_page import markdown
        from experiments.method_comparison import headline as compare
        from experiments.methods import chosen_methods
        from polydistill.config.params import load_params

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


@comparisons.command(epilog="Example: python -m experiments ablation text --so-far")
def ablation(
    modality: Modality, *, so_far: SoFar = False, at_most: AtMost = None, as_json: AsJson = False
) -> None:
    """Change one factor at a time around the default, on a small setting, as DVC experiments."""
    with errors_for_people():
        from experiments.ablation import markdown
        from experiments.ablation_grid import Ablation, make_missing, prepare_workspace, summarise
        from experiments.dvc_experiments import DvcExperiments
        from polydistill.config.params import load_params

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


@comparisons.command(epilog="Example: python -m experiments quality text")
def quality(modality: Modality, *, as_json: AsJson = False) -> None:
    """Say over three seeds, with intervals, what distillation gains; distils what `headline` has not yet."""
    with errors_for_people():
        from experiments.quality import quality as measure_quality
        from polydistill.config.params import load_params

        report = measure_quality(
            ROOT, load_params(ROOT), modality, progress=ProgressLines("quality")
        )
        show(report, as_json=as_json)


if __name__ == "__main__":
    environment.prepare()
    environment.end_on_request()
    comparisons()
