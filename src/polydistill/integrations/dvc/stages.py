"""Runs DVC as a command: reports the state of the stages, and runs single stages."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal

import yaml

from polydistill.config.operations import STAGE_HOURS
from polydistill.config.params import Params, load_params, read_mapping, write_resolved
from polydistill.errors import (
    InfrastructureError,
    MissingDataError,
    ParamsError,
    StageError,
    StoreError,
)
from polydistill.integrations.dvc.recovery import LOCK_FILE, recover
from polydistill.integrations.processes import Finished, child_environment, run_command

DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")
DATA_FILE = Path("data.dvc")
PARAMS_STAGE = "params"
"""The stage that writes `params.resolved.yaml` for all modalities."""
PULL_TIMEOUT_S = 3600.0
QUERY_TIMEOUT_S = 300.0
SHOWN_LINES = 24
LAST_EXIT_CODE = 6  # stages of polydistill exit with 1 to 6; see the table in errors.py
CHATTER = frozenset(
    {
        "",
        "Generating lock file 'dvc.lock'",
        "Updating lock file 'dvc.lock'",
        "To track the changes with git, run:",
        "\tgit add dvc.lock",
        "To enable auto staging, run:",
        "\tdvc config core.autostage true",
        "Everything is up to date.",
        "Use `dvc push` to send your updates to remote storage.",
        "Data and pipelines are up to date.",
    }
)
BLOCKED = ("Unable to acquire lock", "is busy, it is being blocked by", "database is locked")
"""Messages that DVC or SQLite prints when another process holds a lock."""
EDGE = re.compile(r'^\s*"([^"]+)" -> "([^"]+)";$', re.MULTILINE)
NODE = re.compile(r'^\s*"([^"]+)";$', re.MULTILINE)
EXITED = re.compile(r"failed to reproduce .*exited with (-?\d+)$")
TRACEBACK = ("Traceback (most recent", '  File "')
FRAME = re.compile(r'Traceback \(most recent|  File "|    ')
"""The lines of a traceback before its exception. They are in the output, but not repeated in the error."""
NO_REMOTE = "no remote specified"
"""DVC's message when no remote is configured."""
UNSAVED = "unsaved files without confirmation"
"""DVC's message when a pull would overwrite files that no cache holds."""

How = Literal["ran", "restored", "unchanged"]
DataState = Literal["pulled", "unchanged", "edited"]


@dataclass(frozen=True)
class StageState:
    """A stage that was brought up to date.

    Attributes:
        stage: DVC's name of the stage, such as `embed@text-minilm-l6`.
        state: Whether it ran, was restored from DVC's cache, or had not changed.
        seconds: The duration.
    """

    stage: str
    state: How
    seconds: float


def stage_groups(root: Path, modality: str) -> list[list[str]]:
    """Return groups of a modality's stages in graph order; the stages of one group can run in parallel.

    First updates `params.resolved.yaml`, from which DVC makes its graph.

    Raises:
        ParamsError: `params.yaml` is not valid, or lacks the modality.
        StageError: DVC cannot read `dvc.yaml`.
    """
    params = _refreshed(root)
    order = [PARAMS_STAGE, modality, *params.embed_keys(modality)]
    graph = stage_graph(root, order)
    graph.prepare()
    groups = []
    while graph.is_active():
        ready = sorted(graph.get_ready(), key=lambda stage: order.index(stage.rpartition("@")[2]))
        groups.append(ready)
        graph.done(*ready)
    return groups


def stage_graph(root: Path, keys: Container[str]) -> TopologicalSorter[str]:
    """Return the graph of the stages whose name, or part after the `@`, is one of `keys`.

    Raises:
        StageError: DVC cannot read `dvc.yaml`.
    """
    dot = _ask(root, ["dag", "--dot"])
    stages = sorted(name for name in NODE.findall(dot) if name.rpartition("@")[2] in keys)
    graph: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(stages, ()))
    for upstream, downstream in sorted(EDGE.findall(dot)):
        if upstream in stages and downstream in stages:
            graph.add(downstream, upstream)
    return graph


def reproduce(root: Path, stage: str, timeout_s: float | None = None) -> StageState:
    """Bring one stage up to date in a process group that ends with this process.

    Args:
        root: The project folder.
        stage: DVC's name of the stage.
        timeout_s: The maximum duration. None: `stage_hours` of the settings.

    Raises:
        InfrastructureError: Another process holds a lock, or a signal from outside ended the stage.
        StageError: The stage failed, or exceeded `timeout_s`; the message contains the last lines of its output.
    """
    return _repro(root, [stage], timeout_s or _limit_s(root), hidden=CHATTER)


def sync_data(root: Path) -> DataState:
    """Bring `data/` to the version in `data.dvc`, from DVC's cache or its remote, unless it has unsaved edits.

    Returns:
        `edited` if there are unsaved edits, or DVC does not track `data/`: the run uses the files as they are.

    Raises:
        MissingDataError: There is neither `data.dvc` nor `data/`.
        StageError: The remote does not have the data.
    """
    there = (root / "data").exists()
    if there and not (root / DATA_FILE).exists():
        return "edited"
    _require_data_file(root)
    finished = _run(root, "pull", str(DATA_FILE))
    if finished.exit_code == 0:
        up_to_date = "Everything is up to date." in finished.lines
        return "unchanged" if up_to_date else "pulled"
    if any(UNSAVED in line for line in finished.lines):
        return "edited"
    raise _failure(str(DATA_FILE), finished)


def add(root: Path, path: Path) -> Path:
    """Add a file or folder to DVC, and return the pointer file that git keeps.

    Raises:
        StageError: DVC failed.
    """
    _ask(root, ["add", "--quiet", str(path.relative_to(root))])
    return path.with_name(f"{path.name}.dvc")


def push_data(root: Path) -> None:
    """Push the data that `data.dvc` names to DVC's remote, unless they are already there.

    Raises:
        StageError: There is no remote, the remote does not answer, or the cache lacks the data.
    """
    finished = _run(root, "push", str(DATA_FILE))
    if finished.exit_code:
        raise _failure(f"`dvc push {DATA_FILE}`", finished)


def rerun(root: Path, stage: str, environment: Mapping[str, str], *, reuse: bool) -> StageState:
    """Run one stage again without DVC's cache, and add nothing to the cache.

    Otherwise DVC would restore a differing result from the cache in later runs with the same inputs.

    Args:
        root: The project folder.
        stage: DVC's name of the stage.
        environment: Environment variables that are added to those of this process.
        reuse: Whether to restore the stage from the cache if its result is there.

    Raises:
        StageError: See `reproduce`.
    """
    force = () if reuse else ("--force", "--no-run-cache")
    return _repro(root, ["--no-commit", *force, stage], _limit_s(root), environment=environment)


def status(root: Path) -> list[str]:
    """Return the names of stages and `.dvc` files that are not up to date.

    First updates `params.resolved.yaml`, which DVC compares.
    """
    _refreshed(root)
    return sorted(json.loads(_ask(root, ["status", "--json"])))


def data_hash(root: Path) -> str:
    """Return the hash of the data that `data.dvc` names.

    Raises:
        MissingDataError: There is no `data.dvc`.
        StoreError: `data.dvc` is damaged.
    """
    _require_data_file(root)
    try:
        return str(read_mapping(root / DATA_FILE)["outs"][0]["md5"])
    except (ParamsError, LookupError, TypeError) as error:
        raise StoreError(
            f"{DATA_FILE} must name the hash of `data/`, got a damaged file ({error}): "
            f"`git checkout {DATA_FILE}` restores it, and `dvc add data` writes it again."
        ) from error


def lock_entries(root: Path, modality: str) -> dict[str, Any]:
    """Return the stages of `dvc.lock` that end with `@<modality>` or `@<modality>-…`.

    Raises:
        MissingDataError: `dvc.lock` has no such stage.
        StoreError: See `recovery.recover`.
    """
    recover(root)
    return entries_in(root / LOCK_FILE, modality)


def entries_in(path: Path, modality: str) -> dict[str, Any]:
    """Return what `lock_entries` returns from a file that is not repaired.

    Raises:
        MissingDataError: The file has no such stage.
    """
    lock = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    entries = {
        stage: entry
        for stage, entry in (lock.get("stages") or {}).items()
        if f"{stage.partition('@')[2]}-".startswith(f"{modality}-")
    }
    if not entries:
        raise MissingDataError(f"{path} has no stage of {modality!r}: run `dvc repro` first.")
    return entries


def lock_digest(entries: dict[str, Any]) -> str:
    """Return the sha256 of a modality's entries in `dvc.lock`, as sorted JSON."""
    canonical = json.dumps(entries, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _refreshed(root: Path) -> Params:
    """Update `params.resolved.yaml`, and return the settings."""
    params = load_params(root)
    write_resolved(root, params)
    return params


def _require_data_file(root: Path) -> None:
    if not (root / DATA_FILE).exists():
        raise MissingDataError(
            f"No {DATA_FILE} in {root.resolve()}: `python -m recipes build`, then `dvc add data`."
        )


def _ask(root: Path, arguments: Sequence[str]) -> str:
    """Return the output of a command that takes only seconds."""
    recover(root)
    try:
        result = subprocess.run(
            [*DVC, *arguments],
            cwd=root,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=QUERY_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(
            f"`dvc {' '.join(arguments)}` did not answer in {QUERY_TIMEOUT_S:g} s: see .dvc/tmp/lock."
        ) from error
    if result.returncode:
        raise StageError(f"`dvc {' '.join(arguments)}` failed:\n{result.stderr.strip()}")
    return result.stdout


def _run(root: Path, *arguments: str) -> Finished:
    """Run a command that may take a long time, such as a data transfer."""
    recover(root)
    return run_command([*DVC, *arguments], root, timeout_s=PULL_TIMEOUT_S, hidden=None)


def _limit_s(root: Path) -> float:
    """Return the maximum duration of a stage: that of the settings, or the default for settings of another release."""
    with suppress(ParamsError):
        return load_params(root).stage_hours * 3600
    return STAGE_HOURS * 3600


def _repro(
    root: Path,
    arguments: Sequence[str],
    timeout_s: float,
    *,
    hidden: Container[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> StageState:
    """Run `dvc repro` for one stage, which is the last argument.

    Raises:
        StageError: The stage failed; see `_failure`.
    """
    stage, command = arguments[-1], [*DVC, "repro", "--single-item", *arguments]
    recover(root)
    finished = run_command(
        command, root, timeout_s=timeout_s, hidden=hidden, environment=environment
    )
    if finished.exit_code:
        raise _failure(stage, finished)
    recover(root)  # keeps a copy of the new `dvc.lock`
    how: How = "unchanged"
    if f"Running stage '{stage}':" in finished.lines:
        how = "ran"
    elif any(line.startswith(f"Stage '{stage}' is cached") for line in finished.lines):
        how = "restored"
    return StageState(stage, how, round(finished.seconds, 1))


def _failure(stage: str, finished: Finished) -> StageError:
    """Return an error with the stage's exit code and the last lines of its output."""
    codes = [int(match[1]) for line in finished.lines if (match := EXITED.search(line))]
    code = codes[-1] if codes else finished.exit_code
    said = [line for line in finished.lines if line not in CHATTER]
    if any(line.startswith(TRACEBACK) for line in said):
        said = [line for line in said if not FRAME.match(line)]
    said = said[-SHOWN_LINES:]
    blocked = any(sign in line for line in said for sign in BLOCKED)
    killed = code < 0 or (code > 128 and bool(codes))  # a shell reports signal n as 128 + n
    kind = InfrastructureError if blocked or killed else StageError
    error = kind("\n".join([f"{stage} failed with exit code {code}. Its last lines:", *said]))
    if 0 < code <= LAST_EXIT_CODE:
        error.exit_code = code
    return error
