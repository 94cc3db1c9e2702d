"""The smallest realistic project, its state before each step, and what is compared after a fault."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from polydistill.config.params import load_params, write_resolved
from polydistill.errors import PolydistillError
from polydistill.integrations.mlflow.ledger import ledger_file
from polydistill.integrations.mlflow.store import connected
from polydistill.registry.ledger import read_chain, replay
from tests.faults.machine import Machine
from tests.life.nightly_project import deliver, make_batch, make_nightly_project
from tests.our_params import ONLY_GAIN

MODEL = "student-text"
COMPARED = ("artifacts", "reports", "params.resolved.yaml", "dvc.lock", "out", "out.npy")
NOT_COMPARED = ("data_docs", "index.html")
UPLOAD = ".artifact.uploading."
LEFTOVERS = (".*.unfinished", ".*.next", "*.tmp", "tmp*")


@dataclass(frozen=True)
class Step:
    """A command and the base that it starts from.

    Attributes:
        name: The name in the report.
        base: The state of the project before the command.
        command: The program and its arguments.
    """

    name: str
    base: str
    command: tuple[str, ...]


def _stage(name: str) -> Step:
    return Step(name.partition("@")[0], name, ("stage", name))


FIRST = [
    _stage(name)
    for name in ("fetch-data@text", "validate@text", "embed@text-letters", "distill@text", "evaluate@text")
]  # fmt: skip
STEPS = [
    *FIRST,
    Step("database", "no database", ("polydistill", "distill", "text")),
    Step("publish", "publish", ("polydistill", "publish", "text")),
    Step("promote", "promote", ("polydistill", "promote", "text", "--force", "--reason", "first")),
    Step("rollback", "rollback", ("polydistill", "rollback", "text", "--to", "1", "--reason", "worse")),
    Step("gc", "rollback", ("polydistill", "gc", "text", "--older-than-h", "0", "--keep-versions", "0", "--yes")),
    Step("export", "rollback", ("polydistill", "export", "text", "--as", "plain", "-o", "out")),
]  # fmt: skip


def build(machine: Machine) -> None:
    """Write the project and run the pipeline for four students, keeping each base."""
    shutil.rmtree(machine.place, ignore_errors=True)
    make_nightly_project(machine.root, smoke_test=False)
    deliver(machine.root, make_batch(1, 8))
    _change(machine.root, seed=0)
    for command in (("dvc", "add", "--quiet", "data"), ("stage", "params")):
        require_done(machine, *command)
    for step in FIRST:
        if step.name == "distill":
            machine.keep("no database")
            with connected(machine.root):  # creates the database
                pass
        machine.keep(step.base)
        require_done(machine, *step.command)
        if step.name == "embed":
            require_done(machine, "stage", "embed@text-pairs")
    for seed in range(4):
        _publish_student(machine, seed)
    machine.keep("rollback")
    require_done(machine, *STEPS[-1].command)
    machine.keep("export done")


def _publish_student(machine: Machine, seed: int) -> None:
    """Publish a student; promote the first two, so that the third never is champion nor has an alias."""
    if seed:
        _change(machine.root, seed=seed)
        for stage in ("params", "distill@text", "evaluate@text"):
            require_done(machine, "stage", stage)
    else:
        machine.keep("publish")
    require_done(machine, "polydistill", "publish", "text")
    if seed == 0:
        machine.keep("promote")
    if seed < 2:
        require_done(machine, "polydistill", "promote", "text", "--force", "--reason", "made")


def _change(root: Path, *, seed: int) -> None:
    tree = yaml.safe_load((root / "params.yaml").read_text())
    tree["seed"] = seed
    tree["text"]["gate"] |= ONLY_GAIN
    tree["text"]["training"] |= {"epochs": 4}
    (root / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    write_resolved(root, load_params(root))


def require_done(machine: Machine, *command: str) -> None:
    """Run a command that must succeed."""
    done = machine.run(*command)
    if done.code:
        raise RuntimeError(f"{command} exited with {done.code}:\n{done.output}")


def outcome(root: Path, step: str = "") -> dict[str, Any]:
    """Return everything that must be equal after a fault and a rerun of a step."""
    found: dict[str, Any] = {"files": digests(root), "registry": registry(root)}
    found["leftovers"] = leftovers(root)
    if step == "gc":  # other steps may leave runs that belong to no version, which `gc` removes
        found["artifacts"] = _n_files(str(root / "mlruns" / "artifacts"))
    return found


def digests(root: Path) -> dict[str, str]:
    """Return the sha256 of each output."""
    found = {}
    for name in COMPARED:
        path = root / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and not set(file.relative_to(root).parts) & set(NOT_COMPARED):
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                found[file.relative_to(root).as_posix()] = digest[:16]
    return found


def _tables(database: sqlite3.Connection) -> tuple[Any, Any, Any, Any] | None:
    """Return the aliases, versions, models and runs; None if nothing was registered."""
    known = "select 1 from sqlite_master where name = 'registered_model_aliases'"
    if not database.execute(known).fetchone():
        return None
    versions = "select version, run_id, source from model_versions where current_stage != 'Deleted_Internal' and name = ?"
    return (
        dict(database.execute("select alias, version from registered_model_aliases")),
        database.execute(versions, [MODEL]).fetchall(),
        dict(database.execute("select model_id, artifact_location from logged_models")),
        dict(database.execute("select run_uuid, artifact_uri from runs")),
    )


def registry(root: Path) -> dict[str, Any]:
    """Return aliases, versions with the number of their files, and the actions of the ledger; an error if damaged.

    Interrupted uploads of MLflow are not counted; `gc` removes them.
    """
    try:
        return _registry(root)
    except (sqlite3.Error, PolydistillError, OSError, ValueError) as error:
        return {"unreadable": type(error).__name__}


def _registry(root: Path) -> dict[str, Any]:
    path = root / "mlruns" / "mlflow.db"
    if not path.exists():
        return {}
    with closing(sqlite3.connect(path)) as database:
        tables = _tables(database)
    if tables is None:
        return {}
    aliases, versions, places, runs = tables
    files = {
        int(version): [
            _n_files(places.get(str(source).rpartition("/")[2])),
            _n_files(runs.get(run)),
        ]
        for version, run, source in versions
    }
    file = ledger_file(root, MODEL)
    lines = file.read_text().splitlines() if file.exists() else []
    entries = read_chain(lines, MODEL, file.name)
    return {
        "aliases": aliases,
        "versions": files,
        "ledger": [entry.action for entry in entries if entry.action != "heal"],
        "agree": replay(entries) == aliases,
    }


def dangling(root: Path) -> bool:
    """Return whether a version in the registry has lost its files."""
    return any(0 in counts for counts in registry(root).get("versions", {}).values())


def leftovers(root: Path) -> list[str]:
    """Return the temporary files in the project, and the unfinished work."""
    found = {path for pattern in LEFTOVERS for path in root.rglob(pattern)}
    found |= {path for path in (root / ".polydistill" / "work").glob("*/*") if any(path.iterdir())}
    found = {path for path in found if ".dvc" not in path.parts and "src" not in path.parts}
    return sorted(path.relative_to(root).as_posix() for path in found)


def _n_files(place: str | None) -> int:
    folder = Path(str(place).removeprefix("file://"))
    files = (path for path in folder.rglob("*") if not path.name.startswith(UPLOAD))
    return sum(path.is_file() for path in files) if place else 0
