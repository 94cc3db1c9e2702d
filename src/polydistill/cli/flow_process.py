"""Runs the whole pipeline in a new process: the flow module, in the project folder or in a workspace."""

import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import TextIO

from polydistill.config.overrides import only_teachers
from polydistill.config.params import Params, load_params
from polydistill.errors import ParamsError, StageError
from polydistill.project.workspace import make_workspace
from polydistill.stages.resolve import check_files, resolve

ALL = "all"
"""The argument that selects all modalities in `params.yaml`, one after the other."""
QUICK = "quick"
"""The workspace of quick runs."""


def run_flows(
    root: Path,
    modality: str,
    *,
    quick: bool = False,
    workspace: str | None = None,
    to_stderr: bool = False,
) -> dict[str, int]:
    """Run `flows.retrain` for one or all modalities, each in a new process, and return the exit codes by modality.

    A run in a workspace has its own registry and reports: it does not change the project.
    If one modality fails, the next one still runs.

    Args:
        root: The project folder.
        modality: A block of `params.yaml`, or `all`.
        quick: Whether to apply the changes under `quick` in the blocks.
        workspace: The name of the workspace to run in; None: the project folder.
        to_stderr: Whether the flows write to standard error, so that standard output holds only the result.

    Raises:
        UnknownNameError: There is no such block, or the block names an unknown plug-in.
        ParamsError: A quick run is requested, and a block has no `quick`, or the workspace's name is invalid.
        StageError: `root` is not a project folder.
        DataError: `data.dvc`, or a file of a teacher or of the student, is missing or damaged.
    """
    project = load_params(root)
    overrides = quick_overrides(project, modality) if quick else {}
    folder = make_workspace(root, workspace, overrides) if workspace else root
    if not (folder / "flows" / "retrain.py").exists():
        raise StageError(f"No flows/retrain.py in {folder.resolve()}: run in a project folder.")
    params = load_params(folder)
    names = params.modalities if modality == ALL else (modality,)
    for name in names:
        resolve(params, name)
        with chdir(folder):  # the paths of models are relative to it
            check_files(params, name)
    stream = sys.stderr if to_stderr else None
    return {name: _run_flow(folder, name, stream) for name in names}


def _run_flow(folder: Path, modality: str, stream: TextIO | None) -> int:
    """Run the flow to its end. On an error or an interrupt, terminate it; the flow stops its stages before it ends."""
    command = [sys.executable, "-m", "flows.retrain", modality]
    with subprocess.Popen(command, cwd=folder, stdout=stream) as flow:
        try:
            return flow.wait()
        except BaseException:
            flow.terminate()
            raise


def quick_overrides(params: Params, modality: str) -> dict[str, object]:
    """Return the overrides of the workspace of quick runs.

    They do not depend on `modality`: the workspace contains every modality that has a `quick` section.

    Raises:
        UnknownNameError: There is no such block, or the block has no such teacher.
        ParamsError: The block, or for `all` one of the blocks, has no `quick`.
    """
    quick = {name: params.modality(name).quick for name in params.modalities}
    known = {name: settings for name, settings in quick.items() if settings is not None}
    for name in quick if modality == ALL else (modality,):
        if params.modality(name).quick is None:
            raise ParamsError(f"The block {name!r} must have `quick` for a quick run, got none.")
    overrides: dict[str, object] = {"modalities": list(known)}
    for name, settings in known.items():
        overrides |= {f"{name}.{key}": value for key, value in settings.put.items()}
        overrides |= only_teachers(params, name, settings.teachers)
    return overrides
