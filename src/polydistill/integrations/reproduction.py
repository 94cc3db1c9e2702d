"""Reproduces a registered student from its commit, files and data, and compares it with the published student."""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from polydistill.errors import MissingDataError, PolydistillError, StageError
from polydistill.integrations import git
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.mlflow import stamp
from polydistill.integrations.mlflow.store import SQLITE, URI_VARIABLE
from polydistill.integrations.processes import run_command, stopped_on_failure
from polydistill.project.layout import Layout
from polydistill.project.reports import read_report
from polydistill.project.workspace import configure_dvc, project_of
from polydistill.registry.likeness import Comparison, compare

PLACES = Path(".polydistill") / "reproductions"
INPUTS = ("fetch-data@",)
"""Stages that fetch inputs. They are restored from DVC's cache, which needs no network."""
EMBEDDINGS = ("validate@", "embed@")
PINNED = re.compile(r"^([\w.-]+)(?:\[.*?\])?==([\w.!]+)", re.MULTILINE)
"""A line of a requirements file: name and version, without extras and local version."""
WHERE = ("python", "-c", "import polydistill; print(polydistill.__file__)")
WHERE_TIMEOUT_S = 120.0
Listener = Callable[[dvc.StageState], object]


@dataclass(frozen=True)
class Reproduction:
    """A reproduced student.

    Attributes:
        model: The registered model's name.
        version: The number of the version.
        commit: The git commit of the code.
        comparison: The comparison with the published student.
        stages: The stages, run or restored from the cache, in the order of execution.
        same_outputs: By stage, whether the hash of every output equals that in the version's `dvc.lock`.
        packages: Packages whose installed versions differ from the version's `requirements.lock`.
        seconds: The duration.
        place: The folder of the reproduction, if it is kept.
    """

    model: str
    version: int
    commit: str
    comparison: Comparison
    stages: tuple[dvc.StageState, ...]
    same_outputs: Mapping[str, bool]
    packages: tuple[str, ...]
    seconds: float
    place: str | None


def reproduce_version(
    root: Path,
    uri: str,
    *,
    reuse_embeddings: bool = False,
    tolerance: float = 0.01,
    keep: bool = False,
    listen: Listener = lambda _: None,
) -> Reproduction:
    """Run a version's stages again in a worktree at its commit, and compare the results.

    Code, parameters, stage graph and data are those of the version; packages are those installed here. Nothing is
    added to DVC's cache or to the project's tracking store.

    Args:
        root: The project folder.
        uri: `models:/student-text@champion` or `models:/student-text/3`.
        reuse_embeddings: Restore validation and embeddings from DVC's cache if it has them.
        tolerance: The largest difference of a score, or of nats per dimension, that counts as equal.
        keep: Whether to keep the folder on success too.
        listen: Called after each stage.

    Raises:
        ParamsError: `uri` is not the URI of a version.
        MissingDataError: The version, its commit, its data or its attached files are missing.
        StageError: A stage failed; the message names the folder, which is kept.
    """
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        what = stamp.download_attachments(root, uri, Path(folder))
        git.require_commit(project_of(root), what.commit)
        place = root.resolve() / PLACES / f"{what.model}-{what.version}-{os.getpid()}"
        with _place(root, what, place) as project:
            expected = dvc.lock_entries(project, what.modality)
            _bring_data(project, what)
            reused = INPUTS + (EMBEDDINGS if reuse_embeddings else ())
            graph = dvc.stage_graph(project, {stage.rpartition("@")[2] for stage in expected})
            states = []
            for stage in (one for one in graph.static_order() if one in expected):
                reuse = stage.startswith(reused)
                states.append(dvc.rerun(project, stage, _environment(project), reuse=reuse))
                listen(states[-1])
            made = Layout(project, what.modality)
            reports = {
                "distill.json": read_report(made.distillation, "distill"),
                "scores.json": read_report(made.scores, "evaluate"),
            }
            comparison = compare({name: what.read(name) for name in reports}, reports, tolerance)
            found = dvc.lock_entries(project, what.modality)
            same = {
                one.stage: _outputs(expected[one.stage]) == _outputs(found.get(one.stage, {}))
                for one in states
            }
        packages = other_packages(what.folder / "project" / stamp.REQUIREMENTS_FILE)
    kept = keep or comparison.outcome == "different"
    if not kept:
        git.remove_worktree(project_of(root), place)
        with suppress(OSError):  # the folder holds other reproductions
            place.parent.rmdir()
    return Reproduction(
        model=what.model,
        version=what.version,
        commit=what.commit,
        comparison=comparison,
        stages=tuple(states),
        same_outputs=same,
        packages=packages,
        seconds=round(time.monotonic() - started, 1),
        place=str(place) if kept else None,
    )


def other_packages(lock: Path) -> tuple[str, ...]:
    """Return the packages whose installed versions differ from those in a lock file: `torch 2.12.0 → 2.13.0`."""
    if not lock.exists():
        return ()
    different = []
    for name, pinned in PINNED.findall(lock.read_text(encoding="utf-8")):
        with suppress(PackageNotFoundError):  # a package of another platform
            found = version(name).partition("+")[0]
            if found != pinned:
                different.append(f"{name} {pinned} → {found}")
    return tuple(different)


@contextmanager
def _place(root: Path, what: stamp.Attachments, place: Path) -> Iterator[Path]:
    """Yield the project folder in a new worktree; errors raised in the block name the worktree."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with stopped_on_failure():
            project = git.add_worktree(project_of(root), what.commit, place)
            for file in what.files:
                shutil.copy(file, project / file.name)
            configure_dvc(root, project)
            _require_own_code(project)
            yield project
    except PolydistillError as error:
        if not place.exists():
            raise
        explained = type(error)(f"{error}\nWhat was made so far is kept in {place}.")
        explained.exit_code = error.exit_code
        raise explained from error


def _environment(project: Path) -> dict[str, str]:
    """Return environment variables that make stages use the worktree's code and a tracking store inside it."""
    paths = [str(project / "src"), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        URI_VARIABLE: f"{SQLITE}{project / 'mlruns' / 'mlflow.db'}",
    }


def _require_own_code(project: Path) -> None:
    """Check that the stages run the commit's code and not an installed package."""
    finished = run_command(
        WHERE, project, timeout_s=WHERE_TIMEOUT_S, hidden=None, environment=_environment(project)
    )
    found = Path(finished.lines[-1]) if finished.lines else Path()
    if finished.exit_code or not found.resolve().is_relative_to((project / "src").resolve()):
        raise StageError(
            f"The stages would not run the code of the version's commit but {found}: install "
            "polydistill so that PYTHONPATH comes first (`pip install --editable .` does)."
        )


def _bring_data(project: Path, what: stamp.Attachments) -> None:
    try:
        dvc.sync_data(project)
    except StageError as error:
        raise MissingDataError(
            f"The data of {what.model} version {what.version}, {dvc.data_hash(project)}, is neither in "
            "DVC's cache nor in its remote. Where a cache still has it, push it with `dvc push data.dvc` at "
            f"its commit.\n{error}"
        ) from error


def _outputs(entry: Mapping[str, Any]) -> dict[str, str]:
    return {row["path"]: row.get("md5", "") for row in entry.get("outs", ())}
