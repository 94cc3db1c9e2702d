"""Compare and measure methods: `python -m experiments --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polydistill.cli.console import ProgressLines, show
from polydistill.cli.options import AsJson, CommandGroup, Modality
from polydistill.config import environment

ROOT, ALL = Path(), "all"
ShowOnly = Annotated[
    bool, typer.Option("--show-only", help="Run no trial; report the finished ones.")
]
AtMost = Annotated[int | None, typer.Option(min=1, help="The maximum number of trials to run.")]
experiments = typer.Typer(
    cls=CommandGroup,
    help="Compare and measure methods. Each command except readme writes a page to docs/results/<modality>/.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@experiments.command(epilog="Example: python -m experiments methods text --show-only")
def methods(
    modality: Modality,
    *,
    show_only: ShowOnly = False,
    at_most: AtMost = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="A method to compare with the default; repeatable: mse, cosine."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the default with baselines and single teachers (hours)."""
    from experiments.comparison_page import markdown
    from experiments.method_comparison import compare_methods
    from experiments.methods import chosen_methods
    from polydistill.config.params import load_params

    params, progress = load_params(ROOT), ProgressLines("methods")
    report = compare_methods(
        ROOT,
        params,
        modality,
        methods=chosen_methods(params, modality, method),
        at_most=0 if show_only else at_most,
        progress=progress,
    )
    if as_json:
        show(report, as_json=True)
    else:
        typer.echo(markdown(report))


@experiments.command(epilog="Example: python -m experiments headline text --show-only")
def headline(
    modality: Annotated[
        str, typer.Argument(help="A block of params.yaml, or `all`.", show_default=False)
    ] = ALL,
    *,
    show_only: ShowOnly = False,
) -> None:
    """Compare the default with single teachers, rivals and teachers (hours)."""
    from experiments.headline import headline as measure_headline
    from experiments.headline_page import markdown
    from experiments.scratch import require_embeddings
    from polydistill.config.params import load_params

    params, progress = load_params(ROOT), ProgressLines("headline")
    chosen = params.modalities if modality == ALL else (modality,)
    for name in chosen:  # before the hours of the first modality
        require_embeddings(ROOT, params, name)
    at_most = 0 if show_only else None
    for name in chosen:
        report = measure_headline(ROOT, params, name, at_most=at_most, progress=progress)
        typer.echo(markdown(report))


@experiments.command(epilog="Example: python -m experiments readme --check")
def readme(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail if README.md is out of date.")
    ] = False,
) -> None:
    """Write the table of the stored headlines to README.md."""
    from experiments.readme import README, updated_readme
    from polydistill.config.params import load_params
    from polydistill.errors import DataError
    from polydistill.project.files import write_atomic

    text = updated_readme(ROOT, load_params(ROOT))
    if not check:
        write_atomic(ROOT / README, text)
    elif text != (ROOT / README).read_text(encoding="utf-8"):
        raise DataError(f"{README} is out of date: run `python -m experiments readme`.")


@experiments.command(epilog="Example: python -m experiments ablation text --show-only")
def ablation(
    modality: Modality,
    *,
    show_only: ShowOnly = False,
    at_most: AtMost = None,
    as_json: AsJson = False,
) -> None:
    """Change one factor of the default at a time, as DVC experiments (an hour)."""
    from experiments.ablation import markdown
    from experiments.ablation_grid import Ablation, prepare_workspace, run_missing, summarise
    from experiments.dvc_experiments import DvcExperiments
    from polydistill.config.params import load_params

    plan, failed = Ablation(ROOT, load_params(ROOT), modality), list[str]()
    if not show_only:
        runs = DvcExperiments(prepare_workspace(plan))
        progress = ProgressLines("ablation")
        failed = run_missing(plan, runs, at_most=at_most, progress=progress)
    report = summarise(plan, failed)
    if as_json:
        show(report, as_json=True)
    else:
        typer.echo(markdown(report))


@experiments.command(
    "compare-exports", epilog="Example: python -m experiments compare-exports text"
)
def compare_exports(
    modality: Modality,
    *,
    kind: Annotated[
        list[str] | None, typer.Option(help="A task kind; repeatable [clustering, retrieval, sts].")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score every export on the tasks that depend on cosine similarity alone."""
    from experiments.exports import compare_exports as score_exports
    from polydistill.config.params import load_params

    report = score_exports(
        ROOT, load_params(ROOT), modality, kinds=kind or (), progress=ProgressLines("exports")
    )
    show(report if as_json else {"means": report.means}, as_json=as_json)


@experiments.command(epilog="Example: python -m experiments predictions text")
def predictions(modality: Modality, *, as_json: AsJson = False) -> None:
    """Measure predicted embeddings: search, intervals, out-of-distribution scores."""
    from experiments.predictions import predictions as measure_predictions
    from polydistill.config.params import load_params

    report = measure_predictions(
        ROOT, load_params(ROOT), modality, progress=ProgressLines("predictions")
    )
    show(report, as_json=as_json)


@experiments.command(epilog="Example: python -m experiments costs text")
def costs(modality: Modality, *, as_json: AsJson = False) -> None:
    """Measure size and speed of student and teachers beside their scores."""
    from experiments.costs import costs as measure_costs
    from polydistill.config.params import load_params

    show(measure_costs(ROOT, load_params(ROOT), modality), as_json=as_json)


if __name__ == "__main__":
    environment.prepare()
    environment.exit_on_sigterm()
    experiments()
