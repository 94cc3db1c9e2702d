"""The model card of a published version: the artifact `README.md` of its run, and the version's description."""

from pathlib import Path

from polydistill.integrations.mlflow import store
from polydistill.project.layout import Layout
from polydistill.project.workspace import LOCK_FILE
from polydistill.report.card import FILE, facts_of, render_card

MOST_CHARACTERS = 5_000
"""Maximum length of a description in MLflow's database."""


def attach_card(root: Path, modality: str) -> str | None:
    """Attach the card of the student in the project to its version, which keeps its files and hashes.

    Returns:
        The URI of the version; None if the student is not published, or `report.json` is of another student.

    Raises:
        DataError: `report.json` is damaged.
        StageError: The tracking store does not answer.
    """
    lock, name = root / LOCK_FILE, store.model_name(modality)
    if not lock.exists() or not store.has_store(root):
        return None
    with store.connected(root) as client:
        from polydistill.integrations.dvc import stages as dvc  # `connected` has checked its extra

        digest = dvc.lock_digest(dvc.entries_in(lock, modality))
        versions = {
            int(one.version): one
            for one in client.search_model_versions(f"name = '{name}'")
            if one.tags.get(store.LOCK_TAG) == digest
        }
        if not versions:
            return None
        newest = versions[max(versions)]
        facts = facts_of(Layout(root, modality), newest.tags[store.STUDENT_TAG])
        if facts is None:
            return None
        uri = f"models:/{name}/{newest.version}"
        card = render_card(facts, uri=uri)
        client.log_text(str(newest.run_id), card, FILE)
        client.update_model_version(name, newest.version, description_of(card))
    return uri


def description_of(card: str) -> str:
    r"""Return a card without its metadata, and without the last sections that MLflow has no space for.

    Examples:
        >>> description_of("---\nlicense: mit\n---\n\n# A student\n\n## Use it\n")
        '# A student\n\n## Use it'
    """
    body = card.split("\n---\n", 1)[1].strip()
    while len(body) > MOST_CHARACTERS and "\n## " in body:
        body = body.rpartition("\n## ")[0].rstrip()
    return body[:MOST_CHARACTERS]
