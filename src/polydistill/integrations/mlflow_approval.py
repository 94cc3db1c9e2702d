"""A person's no: a challenger that passed the gate, refused all the same, and why."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from polydistill.errors import MissingDataError, ParamsError
from polydistill.integrations.mlflow_publish import model_name
from polydistill.integrations.mlflow_registry import MlflowRegistry, promote
from polydistill.integrations.mlflow_store import connected
from polydistill.integrations.planning import REJECTED_TAG
from polydistill.layout import Layout
from polydistill.params import Params
from polydistill.registry.gate import Verdict
from polydistill.registry.promotion import CHALLENGER


def reject(root: Path, params: Params, modality: str, *, by: str, reason: str) -> Verdict:
    """Refuse the challenger in a person's name; its tags and the verdict say who and why.

    Raises:
        ParamsError: There is no name or no reason.
        MissingDataError: There is no challenger, or it is champion already.
        StageError: The tracking store does not answer.
    """
    if not by.strip() or not reason.strip():
        raise ParamsError("A rejection needs a name (--by) and a reason (--reason).")
    verdict = promote(root, params, modality, dry_run=True)
    if verdict.outcome == "unchanged":
        raise MissingDataError(f"{verdict.reason} There is no challenger to reject.")
    said = f"Version {verdict.challenger} is refused by {by}: {reason}"
    verdict = replace(
        verdict, outcome="refused", promoted=False, refused=True, reason=said, dry_run=False
    )
    with connected(root) as client:
        registry = MlflowRegistry(client, model_name(modality))
        if registry.version(CHALLENGER) != verdict.challenger:
            raise MissingDataError(
                "The challenger has changed meanwhile: look at it and try again."
            )
        tags = {"verdict": "refused", "verdict_reason": said, REJECTED_TAG: by}
        registry.set_tags(verdict.challenger, tags)
    path = Layout(root, modality).verdict
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(asdict(verdict), indent=2, sort_keys=True) + "\n")
    unfinished.replace(path)
    return verdict
