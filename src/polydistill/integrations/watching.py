"""Which version of the data has been told of: one small file, so that each is told of once."""

from __future__ import annotations

import json

from polydistill.integrations.dvc import stages as dvc
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout


def new_data(layout: Layout) -> str | None:
    """Return DVC's hash of the data, if nobody has been told of it yet.

    Raises:
        MissingDataError: There is no `data.dvc`.
    """
    found = dvc.data_hash(layout.root)
    path = layout.watched
    told = json.loads(path.read_text(encoding="utf-8"))["md5"] if path.exists() else None
    return None if found == told else found


def remember(layout: Layout, md5: str) -> None:
    """Note that a version of the data has been told of."""
    write_atomic(layout.watched, json.dumps({"md5": md5}) + "\n")
