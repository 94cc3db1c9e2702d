"""The effective settings of this repository, as a starting point for smaller test projects."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from polydistill.config.params import load_params

ROOT = Path(__file__).parents[1]
ONLY_GAIN: dict[str, Any] = {
    "min_gain": 0.0,
    "max_regression_per_task": None,
    "min_gain_over_undistilled": None,
    "max_harm_per_task": None,
    "max_latency_ratio": None,
    "max_size_mb": None,
    "max_memory_mb": None,
    "max_contamination": None,
    "data_validated": False,
    "reproducible": "any",
    "licence_policy": "any",
    "smoke_test": False,
}
"""A gate with the gain as its only rule. It needs no process and no clock."""


def our_params() -> dict[str, Any]:
    """Return the complete settings: our `params.yaml` with all defaults, but without rivals."""
    tree = load_params(ROOT).model_dump(mode="json")
    for name in tree["modalities"]:
        tree[name]["rivals"], tree[name]["evaluation"]["rivals"] = {}, []
        for key in [key for key in (tree[name]["quick"] or {})["put"] if key.startswith("rivals.")]:
            del tree[name]["quick"]["put"][key]
    return tree


def text_params() -> dict[str, Any]:
    """Return the complete settings with text as the only enabled modality."""
    tree = our_params()
    tree["modalities"] = ["text"]
    return tree


def keep_teachers(tree: dict[str, Any], modality: str, names: Collection[str]) -> None:
    """Remove all teachers of a modality except the named ones."""
    rows = tree[modality]["teachers"]
    tree[modality]["teachers"] = {name: row for name, row in rows.items() if name in names}
