"""A person's no: a challenger that passed the gate, refused all the same, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from polydistill.config.params import Params
from polydistill.errors import MissingDataError, ParamsError
from polydistill.integrations.mlflow.promotion import opened, promote, write_verdict
from polydistill.project.layout import Layout
from polydistill.registry.gate import Verdict
from polydistill.registry.ledger import CHALLENGER
from polydistill.registry.promotion import reject as enter_rejection


def reject(root: Path, params: Params, modality: str, *, by: str, reason: str) -> Verdict:
    """Refuse the challenger in a person's name; ledger, tags and verdict say who and why.

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
    with opened(root, modality) as (_, registry):
        registry.reconcile()
        if registry.aliases.get(CHALLENGER) != verdict.challenger:
            raise MissingDataError(
                "The challenger has changed meanwhile: look at it and try again."
            )
        said = enter_rejection(registry, by=by, reason=reason).reason
    verdict = replace(
        verdict, outcome="refused", promoted=False, refused=True, reason=said, dry_run=False
    )
    write_verdict(Layout(root, modality).verdict, verdict, params.modality(modality).gate)
    return verdict
