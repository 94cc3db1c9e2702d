"""Checks everything that a run needs, and gives advice about failed checks."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from polydistill.config.params import load_params
from polydistill.data.remote import is_remote
from polydistill.errors import PolydistillError
from polydistill.integrations.new_project import flow_files, flow_folder

NEEDED_BYTES = 3 * 2**30
LIBRARIES = ("torch", "transformers", "sentence-transformers", "mteb", "great-expectations", "dvc",
             "mlflow", "prefect")  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: The name of the checked item.
        ok: Whether a run can use it.
        found: The version, size or error that the check found.
        advice: What to do if the check failed; otherwise empty.
    """

    what: str
    ok: bool
    found: str
    advice: str = ""


def examine(root: Path) -> Iterator[Finding]:
    """Yield the results of all checks of the project in `root`; a failed check does not raise."""
    for name in LIBRARIES:
        try:
            yield Finding(name, ok=True, found=metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, ok=False, found="not installed", advice="make .venv")
    for what, (check, advice) in CHECKS.items():
        try:
            yield Finding(what, ok=True, found=check(root))
        except PolydistillError as error:
            yield Finding(what, ok=False, found=str(error), advice=advice)


def _params(root: Path) -> str:
    params = load_params(root)
    return (
        f"{sum(len(params.enabled_teachers(name)) for name in params.modalities)} teachers enabled"
    )


def _flows(root: Path) -> str:
    shipped = flow_files()
    if missing := [name for name in shipped if not (root / name).is_file()]:
        raise PolydistillError(f"no {missing[0]}")
    other = [name for name, content in shipped.items() if (root / name).read_bytes() != content]
    if other:
        raise PolydistillError(f"differ from the installed version: {', '.join(other)}")
    return "of the installed version"


def _disk(root: Path) -> str:
    free = shutil.disk_usage(root).free
    found = f"{free / 2**30:.1f} GiB free"
    if free < NEEDED_BYTES:
        raise PolydistillError(found)
    return found


def _data(root: Path) -> str:
    params = load_params(root)
    paths = [params.modality(name).corpus.path for name in params.modalities]
    if missing := [path for path in paths if not (is_remote(path) or (root / path).exists())]:
        raise PolydistillError(f"no {missing[0]}")
    return "the corpus exists"


def _dvc_remote(root: Path) -> str:
    command = [sys.executable, "-m", "dvc", "status", "--cloud", "data.dvc"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    lines = (result.stdout + result.stderr).strip().splitlines()
    found = lines[-1] if lines else "reachable"
    if result.returncode:
        raise PolydistillError(found)
    return found


def _tracking_store(root: Path) -> str:
    from polydistill.integrations.mlflow.store import check_store

    return check_store(root)


def _versions(root: Path) -> str:
    from polydistill.integrations.mlflow.store import lost_versions

    if lost := lost_versions(root):
        raise PolydistillError(f"no files of {', '.join(lost[:5])} ({len(lost)} in all)")
    return "all versions have their files"


CHECKS: dict[str, tuple[Callable[[Path], str], str]] = {
    "python": (lambda _root: platform.python_version(), ""),
    "params.yaml": (_params, "Fix params.yaml."),
    "flows": (_flows, f"cp {flow_folder()}/*.py flows/"),
    "disk": (_disk, f"Free {NEEDED_BYTES / 2**30:.0f} GiB: `dvc gc -w` removes old results."),
    "data": (_data, "Run `dvc pull data.dvc`, after params.yaml is valid."),
    "dvc remote": (_dvc_remote, "See docs/guides/remotes.md, and `dvc remote list`."),
    "tracking store": (_tracking_store, "Start the server, or unset MLFLOW_TRACKING_URI."),
    "versions": (_versions, "Copy mlruns/artifacts from the project that published them."),
}
"""The checks by name, and the advice if they fail. A check returns its finding as text, or raises an error."""
