"""Scheduled retrains of one project with appended rows: which quantities grow, and which stay flat (`make soak`)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, NamedTuple

import pandas as pd
import psutil
import pytest
import typer
import yaml
from matplotlib.ticker import MaxNLocator
from scipy.stats import theilslopes

from experiments.forest_plot import WIDTH_INCHES, standalone
from experiments.formatting import row
from polydistill.cli.console import ProgressLines
from polydistill.config import environment
from polydistill.config.params import load_params, write_resolved
from polydistill.contracts import Progress
from polydistill.errors import StageError
from polydistill.report.figures import ACCENT, draw_axes
from polydistill.report.results import write_results
from tests.life import preloaded
from tests.life.nightly_project import make_batch

if TYPE_CHECKING:
    from tests.life.shop import Shop

NAME = "soak"
MORE_ROWS, N_NUMBERS = 40, 8
FIRST_NIGHT = datetime(2026, 1, 5, 3, tzinfo=UTC)
WARM_UP = 4
"""The number of first cycles without a trend: caches fill, and fewer versions exist than `gc` keeps."""
FLAT = 0.01
"""A quantity whose trend changes it by less than this share over all cycles is flat."""
PARTS = {
    "data": ["data"],
    "artifacts": ["artifacts"],
    "reports": ["reports"],
    "registry": ["mlruns/artifacts"],
    "database": ["mlruns/mlflow.db"],
    "ledger": ["mlruns/exports"],
    "DVC's cache": [".dvc/cache"],
    "DVC's state": [".dvc/tmp", "../site"],
    "scratch": [".polydistill"],
    "temporary files": ["../tmp"],
}
"""The measured parts of the disk, relative to the project folder."""
WHY = [
    "- The data, the artifacts and DVC's cache grow with the rows. DVC also keeps one entry per run of a stage in its run cache.",
    (
        "- Each version in the registry keeps its bundle, its evidence and a copy of the code. `gc` removes versions that were never champion, except the "
        "newest three and those with an alias; former champions stay, for `rollback` and `reproduce`."
    ),
    "- Each run adds rows to MLflow's database: settings, metrics, tags. MLflow keeps the rows of a removed run until `mlflow gc`.",
    "- The ledger has one entry per move of an alias. DVC's state keeps the hashes of files that were in its cache.",
    "- The time depends on what else the machine does.",
    "- The memory of a step includes 700 MB of libraries that the processes of this measurement share. In a schedule, the process of a flow ends with its run.",
]
"""Explanations below the table of trends."""


@dataclass(frozen=True)
class Cycle:
    """The state after a retrain and a garbage collection.

    Attributes:
        rows: The number of rows of the corpus.
        outcome: The final state of the flow.
        versions: The number of versions in the registry.
        seconds: The duration.
        memory_mb: The resident memory of the process that runs the flow.
        step_memory_mb: The largest peak of resident memory of a command that the flow started.
        handles: The number of open file handles of the process that runs the flow.
        threads: The number of its threads.
        files: The number of files in all parts.
        disk_kb: The size of each part, in kB.
    """

    rows: int
    outcome: str
    versions: int
    seconds: float
    memory_mb: float
    step_memory_mb: float
    handles: int
    threads: int
    files: int
    disk_kb: dict[str, float]


class Trend(NamedTuple):
    """The change of a quantity per cycle: the median of the slopes between pairs of cycles, with its 95 % interval."""

    first: float
    last: float
    slope: float
    low: float
    high: float
    is_flat: bool


def run_cycles(shop: Shop, count: int) -> Iterator[Cycle]:
    """Append rows, run the flow, collect garbage and measure, `count` times.

    Raises:
        StageError: A run failed.
    """
    from polydistill.integrations.dvc import stages as dvc
    from polydistill.integrations.processes import run_command

    place = shop.root.parent
    usage = place / "usage"
    for name in ("tmp", "site"):
        (place / name).mkdir()
    shop.patch.setenv("TMPDIR", str(place / "tmp"))
    shop.patch.setattr(tempfile, "tempdir", None)  # so that it is read again
    shop.patch.setenv("DVC_SITE_CACHE_DIR", str(place / "site"))
    shop.patch.setenv(preloaded.USAGE, str(usage))
    _use_all_rows(shop.root)
    corpus = make_batch(0, N_NUMBERS)
    for number in range(count):
        start = time.monotonic()
        usage.write_text("")
        if number:
            more = make_batch(number, N_NUMBERS).head(MORE_ROWS)
            corpus = pd.concat([corpus, more], ignore_index=True)
        when = f"{FIRST_NIGHT + timedelta(days=number):%Y-%m-%dT%H:%M%z}"
        shop.receive(corpus)
        night = shop.night(when)
        if night.name not in {"Promoted", "Refused"}:
            raise StageError(f"Cycle {number + 1} ended as {night.name}: {night.message}")
        shop.show(when, "gc", "text", "--yes", "--older-than-h", "0")
        cleaned = run_command(
            [*dvc.DVC, "gc", "--workspace", "--force"], shop.root, timeout_s=300, hidden=None
        )
        if cleaned.exit_code:
            raise StageError("\n".join(["`dvc gc` failed:", *cleaned.lines]))
        yield _measured(shop, len(corpus), night.name, time.monotonic() - start)


def _use_all_rows(root: Path) -> None:
    tree = yaml.safe_load((root / "params.yaml").read_text())
    tree["text"]["corpus"]["rows"] = None
    (root / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    write_resolved(root, load_params(root))


def _measured(shop: Shop, n_rows: int, outcome: str, seconds: float) -> Cycle:
    from polydistill.integrations.mlflow.store import connected

    process = psutil.Process()
    files = {
        part: [file for path in paths for file in _files(shop.root / path)]
        for part, paths in PARTS.items()
    }
    with connected(shop.root) as client:
        versions = len(client.search_model_versions("name = 'student-text'"))
    peaks = (shop.root.parent / "usage").read_text().split()
    return Cycle(
        rows=n_rows,
        outcome=outcome,
        versions=versions,
        seconds=seconds,
        memory_mb=process.memory_info().rss / 1e6,
        step_memory_mb=max(map(float, peaks)) / 1e3,
        handles=process.num_fds(),
        threads=process.num_threads(),
        files=sum(map(len, files.values())),
        disk_kb={
            part: sum(one.stat().st_size for one in found) / 1e3 for part, found in files.items()
        },
    )


def _files(path: Path) -> list[Path]:
    return [one for one in (path.rglob("*") if path.is_dir() else [path]) if one.is_file()]


@contextmanager
def opened_shop(folder: Path) -> Iterator[Shop]:
    """Start a Prefect server and the programs, and open a new project in `folder`."""
    with pytest.MonkeyPatch.context() as patch, preloaded.served() as programs:
        patch.setenv("PREFECT_HOME", str(folder / "prefect"))
        import_module("flows")  # sets the environment, which Prefect reads on import
        harness = import_module("prefect.testing.utilities").prefect_test_harness
        from tests.life.shop import open_shop

        with harness(server_startup_timeout=120):
            yield open_shop(folder / "project", programs, patch, smoke_test=False)


def soak(root: Path, count: int, progress: Progress) -> list[Cycle]:
    """Run the cycles and write `docs/results/soak.{json,md,svg}`."""
    root, done = root.resolve(), []
    with TemporaryDirectory(prefix="soak-") as folder, opened_shop(Path(folder).resolve()) as shop:
        for cycle in run_cycles(shop, count):
            done.append(cycle)
            progress(NAME, len(done), count, **_panels(cycle))
    write(done, root / "docs" / "results")
    return done


def write(cycles: Sequence[Cycle], folder: Path) -> None:
    """Write the page, its numbers and its figure to `folder`."""
    tree = {"cycles": [asdict(one) for one in cycles]}
    write_results(folder, NAME, tree, markdown(cycles), figure=figure(cycles))


def trends(cycles: Sequence[Cycle], warm_up: int = WARM_UP) -> dict[str, Trend]:
    """Return the trend of each quantity after the first `warm_up` cycles; names contain the unit."""
    settled = [_quantities(one) for one in cycles[warm_up:]]
    return {name: trend([one[name] for one in settled]) for name in settled[0]}


def trend(values: Sequence[float]) -> Trend:
    """Return the trend of a quantity that was measured after each cycle.

    Examples:
        >>> trend([5.0, 5.0, 5.0]).is_flat
        True
        >>> trend([5.0, 6.0, 7.0]).slope
        1.0
    """
    slope, _, low, high = map(float, theilslopes(values))
    is_small = abs(slope) * (len(values) - 1) <= FLAT * max(map(abs, values))
    return Trend(values[0], values[-1], slope, low, high, is_small or low <= 0 <= high)


def _panels(one: Cycle) -> dict[str, float]:
    return {
        "disk, MB": sum(one.disk_kb.values()) / 1e3,
        "MLflow's database, MB": one.disk_kb["database"] / 1e3,
        "memory of the flow, MB": one.memory_mb,
        "peak memory of a step, MB": one.step_memory_mb,
        "open file handles": one.handles,
        "time, s": one.seconds,
    }


def _quantities(one: Cycle) -> dict[str, float]:
    parts = {f"{part}, kB": size for part, size in one.disk_kb.items() if part != "database"}
    counts = {"threads": one.threads, "files": one.files}
    return {"rows": one.rows, **_panels(one), **counts, **parts}


def figure(cycles: Sequence[Cycle]) -> str:
    """Return an SVG file with one panel per quantity, by cycle."""
    series = {name: [_panels(one)[name] for one in cycles] for name in _panels(cycles[0])}
    with draw_axes(NAME, (WIDTH_INCHES, 3.6)) as (whole, done):
        panels = whole.figure.subplots(2, 3)
        whole.remove()
        for axes, (name, values) in zip(panels.flat, series.items(), strict=True):
            axes.plot(range(1, len(values) + 1), values, color=ACCENT, lw=2, marker="o", ms=3)
            axes.set(ylim=(0, 1.25 * max(values)), title=name, xlabel="cycle")
            axes.title.set_fontsize(8.5)
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4))
    described = "; ".join(
        f"{name} from {values[0]:,.3g} to {values[-1]:,.3g}" for name, values in series.items()
    )
    return standalone(done(f"{len(cycles)} cycles: {described}."))


def markdown(cycles: Sequence[Cycle]) -> str:
    """Return the whole page."""
    found = trends(cycles)
    moving = {
        name: f"{_split(name)[0]} by {_short(abs(one.slope))}{_split(name)[1]}"
        for name, one in found.items()
        if not one.is_flat and name != "rows"
    }
    growing, shrinking = (
        [text for name, text in moving.items() if (found[name].slope > 0) == up]
        for up in (True, False)
    )
    flat = [_split(name)[0] for name, one in found.items() if one.is_flat]
    lines = [
        "# Soak: repeated retraining",
        "",
        (
            f"`make soak` writes this page. It retrains one small text project {len(cycles)} times (two hashing teachers, a bag-of-bytes student, three tasks, "
            f"CPU) with the scheduled flow: validate, embed, distill, evaluate, publish, gate, report; the gate starts no smoke test. Before each cycle but the first, {MORE_ROWS} rows are "
            "appended to the corpus. After each cycle `polydistill gc text --yes --older-than-h 0` and `dvc gc --workspace` remove what nothing needs."
        ),
        "",
        "![Disk, database, memory, handles and time by cycle](soak.svg)",
        "",
        "## Trends",
        "",
        (
            f"The change per cycle is the median of the slopes between pairs of cycles (Theil and Sen) after the first {WARM_UP} cycles, with its 95 % interval. "
            f"A quantity is flat if the interval contains zero, or if the change over all cycles is below {FLAT:.0%}."
        ),
        "",
        f"- Flat: {'; '.join(flat) or 'nothing'}.",
        f"- Growing per cycle, with {MORE_ROWS} rows: {'; '.join(growing) or 'nothing'}.",
        *([f"- Shrinking per cycle: {'; '.join(shrinking)}."] if shrinking else []),
        "",
        row("", [f"cycle {WARM_UP + 1}", f"cycle {len(cycles)}", "change per cycle", ""]),
        "|---|---:|---:|---:|---|",
        *(
            row(
                name,
                [
                    _short(one.first),
                    _short(one.last),
                    f"{_short(one.slope)} [{_short(one.low)}, {_short(one.high)}]",
                    "flat" if one.is_flat else "grows" if one.slope > 0 else "shrinks",
                ],
            )
            for name, one in found.items()
        ),
        "",
        *WHY,
        "",
        "## Cycles",
        "",
        row("cycle", ["outcome", "rows", "versions", *_panels(cycles[0])]),
        f"|---:|---|{'---:|' * (2 + len(_panels(cycles[0])))}",
        *(
            row(
                str(number),
                [
                    one.outcome.lower(),
                    str(one.rows),
                    str(one.versions),
                    *(f"{value:,.4g}" for value in _panels(one).values()),
                ],
            )
            for number, one in enumerate(cycles, 1)
        ),
    ]
    return "\n".join(lines) + "\n"


def _short(value: float) -> str:
    return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"


def _split(name: str) -> tuple[str, str]:
    """Return the name of a quantity and its unit, after a blank if there is one."""
    quantity, _, unit = name.partition(", ")
    return quantity, f" {unit}" if unit else ""


def main(cycles: Annotated[int, typer.Option(min=7, help="The number of retrains.")] = 20) -> None:
    """Retrain a small project repeatedly; measure disk, memory and time (half an hour)."""
    done = soak(Path(), cycles, ProgressLines(NAME))
    typer.echo(f"{len(done)} cycles: docs/results/soak.md")


if __name__ == "__main__":
    environment.prepare()
    environment.exit_on_sigterm()
    typer.run(main)
