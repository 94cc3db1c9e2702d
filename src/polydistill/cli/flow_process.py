"""Start the whole main job: the flow module, in the project folder or in a workspace beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TextIO

from polydistill.config.overrides import only_teachers
from polydistill.config.params import Params, load_params
from polydistill.errors import ParamsError, StageError
from polydistill.project.workspace import WORKSPACES, make_workspace
from polydistill.stages.resolve import resolve

ALL = "all"
"""In the place of a modality: each that `params.yaml` lists, in turn."""


def run_flows(
    root: Path, modality: str, *, quick: bool = False, aside: bool = False
) -> dict[str, int]:
    """Run `flows.retrain` for a modality, or for each, in a process of its own; return the exit codes.

    A quick run has a workspace, and so a registry and reports, of its own: it leaves the project alone. One
    modality that fails does not keep the next from its turn.

    Args:
        root: The project folder.
        modality: A block of `params.yaml`, or `all`.
        quick: With what the blocks have under `quick`.
        aside: Say everything on standard error, so that standard output is free for a result.

    Raises:
        UnknownNameError: There is no such block, or a name in one has no plug-in.
        ParamsError: A quick run is asked of a block that does not say what it is.
        StageError: `root` is no project folder.
    """
    project = load_params(root)
    overrides = quick_overrides(project, modality) if quick else {}
    folder = make_workspace(root, "quick", overrides) if quick else root
    if not (folder / "flows" / "retrain.py").exists():
        raise StageError(f"No flows/retrain.py in {folder.resolve()}: run in a project folder.")
    params = load_params(folder)
    names = params.modalities if modality == ALL else (modality,)
    for name in names:
        resolve(params, name)
    stream = sys.stderr if aside else None
    return {name: _run_flow(folder, name, stream) for name in names}


def _run_flow(folder: Path, modality: str, stream: TextIO | None) -> int:
    """Run it to its end. However we leave before, the flow is asked to end, and stops its stages first."""
    command = [sys.executable, "-m", "flows.retrain", modality]
    with subprocess.Popen(command, cwd=folder, stdout=stream) as flow:
        try:
            return flow.wait()
        except BaseException:
            flow.terminate()
            raise


def quick_overrides(params: Params, modality: str) -> dict[str, object]:
    """Return what `make_workspace` puts into the parameters of a quick run.

    Whichever modality is run, the workspace is the same: every modality that has a `quick` is in it.

    Raises:
        UnknownNameError: There is no such block, or it has no such teacher.
        ParamsError: It, or of `all` one, has no `quick`.
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


def folder_of(root: Path, *, quick: bool) -> Path:
    """Return the project folder that a run works in."""
    return root / WORKSPACES / "quick" if quick else root
