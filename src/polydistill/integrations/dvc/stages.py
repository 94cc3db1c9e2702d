"""DVC, called and never imported: what is stale, and bringing one stage up to date."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal

import yaml

from polydistill.config.params import Params, load_params, write_resolved
from polydistill.errors import InfrastructureError, MissingDataError, StageError
from polydistill.integrations.processes import Finished, child_environment, run_command

DVC = (sys.executable, "-m", "dvc")
DATA_FILE = Path("data.dvc")
LOCK_FILE = Path("dvc.lock")
PARAMS_STAGE = "params"
"""The stage that writes `params.resolved.yaml`: the one that is of no modality."""
STAGE_TIMEOUT_S = 4 * 3600.0
PULL_TIMEOUT_S = 3600.0
QUERY_TIMEOUT_S = 300.0
SHOWN_LINES = 24
LAST_EXIT_CODE = 6  # of the table in errors.py: what a stage of ours exits with
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
"""Messages of DVC or SQLite when another process is at work."""
EDGE = re.compile(r'^\s*"(?P<upstream>[^"]+)" -> "(?P<downstream>[^"]+)";$', re.MULTILINE)
NODE = re.compile(r'^\s*"(?P<node>[^"]+)";$', re.MULTILINE)
EXITED = re.compile(r"failed to reproduce .*exited with (?P<code>-?\d+)$")

SETTINGS = {"core.analytics": "false", "core.check_update": "false", "core.autostage": "false"}
NO_REMOTE = "no remote specified"
"""DVC's message when no remote is configured."""
UNSAVED = "unsaved files without confirmation"
"""DVC's message when a pull would overwrite files that no cache holds."""

How = Literal["ran", "restored", "unchanged"]
DataState = Literal["pulled", "unchanged", "edited"]


@dataclass(frozen=True)
class StageState:
    """What bringing a stage up to date took.

    Attributes:
        stage: DVC's name of it: `embed@text-minilm-l6`.
        state: It ran, came back from DVC's cache, or nothing had changed.
        seconds: How long that took.
    """

    stage: str
    state: How
    seconds: float


def stage_groups(root: Path, modality: str) -> list[list[str]]:
    """Return the stages of a modality in graph order; those of one group may run side by side.

    Brings `params.resolved.yaml` up to date first: DVC makes its graph from it.

    Raises:
        ParamsError: `params.yaml` is not sound, or does not know the modality.
        StageError: DVC cannot read `dvc.yaml`.
    """
    params = _refreshed(root)
    order = [PARAMS_STAGE, modality, *params.embed_keys(modality)]
    dot = _ask(root, ["dag", "--dot"])
    stages = {
        match["node"] for match in NODE.finditer(dot) if match["node"].rpartition("@")[2] in order
    }
    graph: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(stages, ()))
    for edge in EDGE.finditer(dot):
        if stages >= {edge["upstream"], edge["downstream"]}:
            graph.add(edge["downstream"], edge["upstream"])
    graph.prepare()
    groups = []
    while graph.is_active():
        ready = sorted(graph.get_ready(), key=lambda stage: order.index(stage.rpartition("@")[2]))
        groups.append(ready)
        graph.done(*ready)
    return groups


def reproduce(root: Path, stage: str, timeout_s: float = STAGE_TIMEOUT_S) -> StageState:
    """Bring one stage up to date, in a process group that ends with this process, and return what happened.

    Raises:
        InfrastructureError: Another process holds a lock, or a signal from outside ended the stage.
        StageError: The stage failed, or ran into `timeout_s`; the message has its last lines.
    """
    finished = _run(root, ["repro", "--single-item", stage], timeout_s, hidden=CHATTER)
    return _state(stage, finished)


def sync_data(root: Path) -> DataState:
    """Make `data/` what `data.dvc` says, from DVC's cache or its remote; edits of it that nothing has saved stay.

    Returns:
        `edited` where there are such edits, or `data/` was never given to DVC: the run uses what is there.

    Raises:
        MissingDataError: There is neither `data.dvc` nor `data/`.
        StageError: The remote does not have the data.
    """
    there = (root / "data").exists()
    if there and not (root / DATA_FILE).exists():
        return "edited"
    _require_data_file(root)
    finished = _run(root, ["pull", str(DATA_FILE)], PULL_TIMEOUT_S)
    if finished.exit_code == 0:
        up_to_date = "Everything is up to date." in finished.lines
        return "unchanged" if up_to_date else "pulled"
    if any(UNSAVED in line for line in finished.lines):
        return "edited"
    raise _failure(str(DATA_FILE), finished)


def init(root: Path) -> None:
    """Make a git repository a DVC project, with a remote in `.dvcstore`.

    Raises:
        StageError: DVC cannot.
    """
    _ask(root, ["init", "--quiet"])
    for key, value in SETTINGS.items():
        _ask(root, ["config", "--quiet", key, value])
    _ask(root, ["remote", "add", "--quiet", "--default", "store", ".dvcstore"])


def add(root: Path, path: Path) -> Path:
    """Give a file or folder to DVC, and return the pointer that git keeps.

    Raises:
        StageError: DVC refuses.
    """
    _ask(root, ["add", "--quiet", str(path.relative_to(root))])
    return path.with_name(f"{path.name}.dvc")


def push_data(root: Path) -> None:
    """Push what `data.dvc` names to DVC's remote; nothing happens if it is there.

    Raises:
        StageError: There is no remote, it does not answer, or the cache does not hold the data.
    """
    finished = _run(root, ["push", str(DATA_FILE)], PULL_TIMEOUT_S)
    if finished.exit_code:
        raise _failure(f"`dvc push {DATA_FILE}`", finished)


def rerun(root: Path, stage: str, environment: Mapping[str, str], *, reuse: bool) -> StageState:
    """Run one stage again, whatever DVC has cached, and add nothing to the cache.

    Nothing may go there: a result that differs would be given to whoever has the same inputs.

    Args:
        root: The project folder.
        stage: DVC's name of it.
        environment: Variables of the stage, beside ours.
        reuse: Take what the cache has for it, and run it only if that is nothing.

    Raises:
        StageError: See `reproduce`.
    """
    force = () if reuse else ("--force", "--no-run-cache")
    arguments = ["repro", "--single-item", "--no-commit", *force, stage]
    return _state(stage, _run(root, arguments, STAGE_TIMEOUT_S, environment=environment))


def stage_names(root: Path) -> list[str]:
    """Return the names of all stages of `dvc.yaml`."""
    return _ask(root, ["stage", "list", "--all", "--name-only"]).split()


def status(root: Path, targets: Sequence[str] = ()) -> list[str]:
    """Return the names of stages and `.dvc` files that are not up to date with `params.yaml` as it is now.

    Brings `params.resolved.yaml` up to date first: DVC compares that file alone.
    """
    _refreshed(root)
    answer = yaml.safe_load(_ask(root, ["status", "--json", *targets]))  # JSON is YAML
    return sorted(answer)


def data_hash(root: Path) -> str:
    """Return the hash of the data that `data.dvc` names.

    Raises:
        MissingDataError: There is no `data.dvc`.
    """
    _require_data_file(root)
    pointer = yaml.safe_load((root / DATA_FILE).read_text(encoding="utf-8"))
    return str(pointer["outs"][0]["md5"])


def lock_entries(root: Path, modality: str) -> dict[str, Any]:
    """Return the stages of `dvc.lock` that end with `@<modality>` or `@<modality>-…`.

    Raises:
        MissingDataError: There are none.
    """
    path = root / LOCK_FILE
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
    """Return the settings, after `params.resolved.yaml` is what they are."""
    params = load_params(root)
    write_resolved(root, params)
    return params


def _require_data_file(root: Path) -> None:
    if not (root / DATA_FILE).exists():
        raise MissingDataError(
            f"No {DATA_FILE} in {root.resolve()}: `python -m recipes build`, then `dvc add data`."
        )


def _ask(root: Path, arguments: Sequence[str]) -> str:
    """Return what DVC answers to a command of seconds."""
    try:
        result = subprocess.run(
            [*DVC, "--wait-for-lock", *arguments],
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


def _run(
    root: Path,
    arguments: Sequence[str],
    timeout_s: float,
    *,
    hidden: Container[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run a command of DVC that may take long."""
    command = [*DVC, "--wait-for-lock", *arguments]
    return run_command(command, root, timeout_s=timeout_s, hidden=hidden, environment=environment)


def _state(stage: str, finished: Finished) -> StageState:
    """Return what a `dvc repro` of one stage did, or raise its failure."""
    if finished.exit_code:
        raise _failure(stage, finished)
    how: How = "unchanged"
    if f"Running stage '{stage}':" in finished.lines:
        how = "ran"
    elif any(line.startswith(f"Stage '{stage}' is cached") for line in finished.lines):
        how = "restored"
    return StageState(stage, how, round(finished.seconds, 1))


def _failure(stage: str, finished: Finished) -> StageError:
    """Return an error with the stage's own exit code and its last lines."""
    codes = [int(match["code"]) for line in finished.lines if (match := EXITED.search(line))]
    code = codes[-1] if codes else finished.exit_code
    said = [line for line in finished.lines if line not in CHATTER][-SHOWN_LINES:]
    blocked = any(sign in line for line in said for sign in BLOCKED)
    killed = code < 0 or (code > 128 and bool(codes))  # a shell reports signal n as 128 + n
    kind = InfrastructureError if blocked or killed else StageError
    error = kind("\n".join([f"{stage} failed with exit code {code}. Its last lines:", *said]))
    if 0 < code <= LAST_EXIT_CODE:
        error.exit_code = code
    return error
