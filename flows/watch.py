"""Check whether the data have changed, and emit an event that triggers deployments.

The flow only reads `data.dvc`, so it can run every few minutes. To run it by hand: `python -m flows.watch text`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed

from flows import commands
from polydistill.integrations.dvc import stages as dvc
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout
from polydistill.project.lock import project_lock

ROOT = Path()
DATA_CHANGED, DRIFT_FOUND = "polydistill.data.changed", "polydistill.drift.found"


@flow(name="watch")
def watch(modality: str, drift: bool = False, wait_s: float = 0.0) -> State[str]:  # noqa: FBT001, FBT002 - a deployment's parameter
    """Emit `polydistill.data.changed` once per version of the data, and `polydistill.drift.found` on drift.

    Args:
        modality: A block of `params.yaml`.
        drift: Whether to compare new data with the champion's corpus, which locks the folder for some seconds.
        wait_s: How long to wait for another run in this folder before the comparison, in seconds.
    """
    layout = Layout(ROOT, modality)
    changed = new_data(layout)
    if changed is None:
        return Completed(
            name="Unchanged", message="The data have not changed since the last check.", data=""
        )
    resource = {"prefect.resource.id": f"polydistill.data.{modality}"}
    payload = {"modality": modality, "md5": changed}
    if drift:
        with project_lock(layout.run_lock, f"watch {modality}", wait_s=wait_s):
            dvc.sync_data(ROOT)
            drifted = commands.drifted(modality)
        if drifted:
            emit_event(DRIFT_FOUND, resource, payload={**payload, "drifted": drifted})
    emit_event(DATA_CHANGED, resource, payload=payload)
    record_event(layout, changed)
    return Completed(name="Changed", message=f"The data are now {changed}.", data=changed)


def new_data(layout: Layout) -> str | None:
    """Return DVC's hash of the data; None if an event has already been emitted for this hash.

    Raises:
        MissingDataError: `data.dvc` does not exist.
    """
    found = dvc.data_hash(layout.root)
    path = layout.watched
    seen = json.loads(path.read_text(encoding="utf-8"))["md5"] if path.exists() else None
    return None if found == seen else found


def record_event(layout: Layout, md5: str) -> None:
    """Record that an event has been emitted for a version of the data."""
    write_atomic(layout.watched, json.dumps({"md5": md5}) + "\n")


def main(
    modality: Annotated[str, typer.Argument(help="A modality of params.yaml: text.")],
    *,
    drift: Annotated[
        bool, typer.Option(help="Compare new data with the champion's corpus.")
    ] = False,
) -> None:
    """Check the data once."""
    typer.echo(watch(modality, drift=drift, return_state=True).message)


if __name__ == "__main__":
    typer.run(main)
