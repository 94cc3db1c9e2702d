"""Our own `params.yaml`, as the starting point of smaller projects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PATH = Path(__file__).parents[1] / "params.yaml"


def text_params() -> dict[str, Any]:
    """Return the tree of `params.yaml` with text as its only modality: other blocks stay, switched off."""
    tree: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    tree["modalities"] = ["text"]
    tree["embed"] = {name: row for name, row in tree["embed"].items() if row["modality"] == "text"}
    return tree
