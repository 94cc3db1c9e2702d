"""Checks of everything that a run needs, with advice about what is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from polydistill.config.params import Params, load_params
from polydistill.errors import PolydistillError
from polydistill.project.template import flow_files, flow_folder

NEEDED_BYTES = 3 * 2**30
LIBRARIES = ("torch", "transformers", "sentence-transformers", "mteb", "great-expectations", "dvc",
             "mlflow", "prefect")  # fmt: skip

FLOWS_ADVICE = f"cp {flow_folder()}/*.py flows/"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: The name of the checked thing.
        ok: Whether a run can use it.
        found: The version, size or error that the check found.
        advice: What to do if the check failed; otherwise empty.
    """

    what: str
    ok: bool
    found: str
    advice: str = ""


def examine(root: Path) -> list[Finding]:
    """Return the results of all checks of the project in `root`; a failed check does not raise."""
    checks: list[Callable[[Path], Finding]] = [
        _python, _params, _flows, _disk, _data, _dvc_remote, _tracking_store,
    ]  # fmt: skip
    return [*map(_library, LIBRARIES), *(check(root) for check in checks)]


def _library(name: str) -> Finding:
    try:
        return Finding(name, ok=True, found=metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, ok=False, found="not installed", advice="make .venv")


def _python(_root: Path) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Finding("python", ok, version, "" if ok else "Use Python 3.11 or 3.12.")


def _params(root: Path) -> Finding:
    try:
        params = load_params(root)
    except PolydistillError as error:
        return Finding("params.yaml", ok=False, found=str(error), advice="Fix params.yaml.")
    enabled = sum(len(params.enabled_teachers(name)) for name in params.modalities)
    return Finding("params.yaml", ok=True, found=f"{enabled} teachers enabled")


def _flows(root: Path) -> Finding:
    shipped = flow_files()
    files = {name: root / name for name in shipped}
    if missing := [name for name, file in files.items() if not file.is_file()]:
        return Finding("flows", ok=False, found=f"no {missing[0]}", advice=FLOWS_ADVICE)
    other = [name for name, file in files.items() if file.read_bytes() != shipped[name]]
    if other:
        found = f"differ from the installed version: {', '.join(other)}"
        return Finding("flows", ok=False, found=found, advice=FLOWS_ADVICE)
    return Finding("flows", ok=True, found="of the installed version")


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    ok = free >= NEEDED_BYTES
    advice = "" if ok else f"Free {NEEDED_BYTES / 2**30:.0f} GiB: `dvc gc -w` removes old results."
    return Finding("disk", ok, f"{free / 2**30:.1f} GiB free", advice)


def _data(root: Path) -> Finding:
    try:
        params: Params = load_params(root)
    except PolydistillError:
        return Finding("data", ok=False, found="unknown", advice="Fix params.yaml first.")
    blocks = (params.modality(name) for name in params.modalities)
    missing = [block.corpus.path for block in blocks if not (root / block.corpus.path).exists()]
    if missing:
        return Finding("data", ok=False, found=f"no {missing[0]}", advice="dvc pull data.dvc")
    return Finding("data", ok=True, found="the corpus exists")


def _dvc_remote(root: Path) -> Finding:
    command = [sys.executable, "-m", "dvc", "status", "--cloud", "data.dvc"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    lines = (result.stdout + result.stderr).strip().splitlines()
    ok = result.returncode == 0
    advice = "" if ok else "See docs/guides/remotes.md, and `dvc remote list`."
    return Finding("dvc remote", ok, lines[-1] if lines else "reachable", advice)


def _tracking_store(root: Path) -> Finding:
    from polydistill.integrations.mlflow.store import check_store

    try:
        return Finding("tracking store", ok=True, found=check_store(root))
    except PolydistillError as error:
        return Finding(
            "tracking store",
            ok=False,
            found=str(error),
            advice="Start the server, or unset MLFLOW_TRACKING_URI.",
        )
