"""Make a registered student again, from its commit, its files and its data, and compare."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from graphlib import TopologicalSorter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from polydistill.errors import MissingDataError, PolydistillError, StageError
from polydistill.integrations import git
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.dvc.stages import StageState, lock_entries
from polydistill.integrations.mlflow.stamp import Attachments, download_attachments
from polydistill.integrations.mlflow.store import SQLITE, URI_VARIABLE
from polydistill.integrations.processes import run_command, stopped_on_failure
from polydistill.integrations.provenance import REQUIREMENTS_FILE
from polydistill.project.layout import Layout
from polydistill.project.workspace import configure_dvc, project_of
from polydistill.registry.likeness import Comparison, compare
from polydistill.report.results import read_report

PLACES = Path(".polydistill") / "reproductions"
INPUTS = ("fetch-data@",)
"""Stages that bring inputs: DVC's cache is as good as their source, and needs no network."""
EMBEDDINGS = ("validate@", "embed@")
WHERE = ("python", "-c", "import polydistill; print(polydistill.__file__)")
WHERE_TIMEOUT_S = 120.0
Listener = Callable[[StageState], object]


@dataclass(frozen=True)
class Reproduction:
    """A student that was made again.

    Attributes:
        model: The registered model's name.
        version: Of it.
        commit: Git's, of the code.
        comparison: How near it came.
        stages: What each took, in order: it ran, or was restored from the cache.
        same_outputs: Stage: whether every file that it made has the hash that `dvc.lock` says.
        packages: Installed here at other versions than the version's `requirements.lock` pins.
        seconds: How long all took.
        place: Where it was made, if that is kept.
    """

    model: str
    version: int
    commit: str
    comparison: Comparison
    stages: tuple[StageState, ...]
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
    """Run a version's stages again in a worktree at its commit, and compare what comes out.

    Code, parameters, stage graph and data are the version's; the environment is ours. Nothing of it
    enters DVC's cache or our tracking store.

    Args:
        root: The project folder.
        uri: `models:/student-text@champion` or `models:/student-text/3`.
        reuse_embeddings: Take validation and embeddings from DVC's cache where it has them.
        tolerance: Largest difference of a score, or of nats per dimension, that counts as the same.
        keep: Keep the folder on success too.
        listen: Called after each stage.

    Raises:
        ParamsError: `uri` is none.
        MissingDataError: There is no such version, commit or data, or too little is attached to it.
        StageError: A stage failed; the message names the folder, which is kept.
    """
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        what = download_attachments(root, uri, Path(folder))
        git.require_commit(project_of(root), what.commit)
        place = root.resolve() / PLACES / f"{what.model}-{what.version}-{os.getpid()}"
        with _place(root, what, place) as project:
            expected = lock_entries(project, what.modality)
            _bring_data(project, what)
            reused = INPUTS + (EMBEDDINGS if reuse_embeddings else ())
            there = set(dvc.stage_names(project))  # a lock also has stages of disabled teachers
            states = []
            for stage in in_order({one: entry for one, entry in expected.items() if one in there}):
                reuse = stage.startswith(reused)
                states.append(dvc.rerun(project, stage, _environment(project), reuse=reuse))
                listen(states[-1])
            made = Layout(project, what.modality)
            comparison = compare(
                {name: what.read(name) for name in ("distill.json", "scores.json")},
                {
                    file.name: read_report(file, "distill or evaluate")
                    for file in (made.distillation, made.scores)
                },
                tolerance,
            )
            found = lock_entries(project, what.modality)
            same = {
                one.stage: _outputs(expected[one.stage]) == _outputs(found.get(one.stage, {}))
                for one in states
            }
        packages = other_packages(what.folder / "project" / REQUIREMENTS_FILE)
    kept = keep or comparison.outcome == "different"
    if not kept:
        git.remove_worktree(project_of(root), place)
        with suppress(OSError):  # others are there
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
    """Return what is installed at another version than a lock pins: `torch 2.12.0 → 2.13.0`."""
    if not lock.exists():
        return ()
    different = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        name, pinned, rest = line.split(";")[0].strip().partition("==")
        if not pinned or name.startswith("#"):
            continue
        wanted = rest.split()[0].partition("+")[0]
        with suppress(PackageNotFoundError):  # of another platform
            found = version(name.partition("[")[0]).partition("+")[0]
            if found != wanted:
                different.append(f"{name} {wanted} → {found}")
    return tuple(different)


def in_order(entries: Mapping[str, Any]) -> list[str]:
    """Return stages so that each comes after those whose outputs it reads.

    Examples:
        >>> embed, distill = {"outs": [{"path": "a/b"}]}, {"deps": [{"path": "a"}]}
        >>> in_order({"distill": distill, "embed": embed})
        ['embed', 'distill']
    """
    graph: TopologicalSorter[str] = TopologicalSorter()
    for stage, entry in sorted(entries.items()):
        read = [PurePosixPath(row["path"]) for row in entry.get("deps", ())]
        graph.add(stage)
        for other, made in sorted(entries.items()):
            outs = [PurePosixPath(row["path"]) for row in made.get("outs", ())]
            if other != stage and any(_meet(one, out) for one in read for out in outs):
                graph.add(stage, other)
    return list(graph.static_order())


def _meet(one: PurePosixPath, other: PurePosixPath) -> bool:
    return one == other or one in other.parents or other in one.parents


@contextmanager
def _place(root: Path, what: Attachments, place: Path) -> Iterator[Path]:
    """Make the folder, give the project folder in it, and name it in the error if a stage fails."""
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
        told = type(error)(f"{error}\nWhat was made so far is kept in {place}.")
        told.exit_code = error.exit_code
        raise told from error


def _environment(project: Path) -> dict[str, str]:
    """Return what makes the stages run the code there, and track what they do there too."""
    paths = [str(project / "src"), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        URI_VARIABLE: f"{SQLITE}{project / 'mlruns' / 'mlflow.db'}",
    }


def _require_own_code(project: Path) -> None:
    """Make sure that the stages will run the commit's code, however ours is installed."""
    asked = run_command(
        WHERE, project, timeout_s=WHERE_TIMEOUT_S, hidden=None, environment=_environment(project)
    )
    found = Path(asked.lines[-1]) if asked.lines else Path()
    if asked.exit_code or not found.resolve().is_relative_to((project / "src").resolve()):
        raise StageError(
            f"The stages would not run the code of the version's commit but {found}: install "
            "polydistill so that PYTHONPATH comes first (`pip install --editable .` does)."
        )


def _bring_data(project: Path, what: Attachments) -> None:
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
