"""A recipe for tests: generated tones that rise, fall or swing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from polydistill.contracts import Progress, silent
from polydistill.data.modalities import MODALITIES
from recipes.contracts import BuiltData, Origin, ThirdPartyTask
from recipes.modalities import RECIPES

SHAPES = {
    "rising": np.arange(8) / 7,
    "falling": np.arange(8)[::-1] / 7,
    "swinging": np.arange(8) % 2,
}
ORIGIN = Origin("a seeded generator", "CC0-1.0")


@RECIPES.register("tones")
class TonesRecipe:
    """See `contracts.Recipe`."""

    notice = "Tones are made, not recorded."
    origins: Mapping[str, Origin] = dict.fromkeys(
        ("corpus.parquet", "tasks/shape.parquet", "tasks/loudness.parquet", "tasks/alike.parquet"),
        ORIGIN,
    )
    third_party_tasks: Mapping[str, ThirdPartyTask] = {}

    def build(
        self, downloads: Path, folder: Path, *, refetch: bool = False, progress: Progress = silent
    ) -> BuiltData:
        """See `contracts.Recipe.build`."""
        whole = _make_tones(420)
        progress("tones", 1, 1)
        train = np.arange(90) < 60
        labelled = [whole.iloc[:90], whole.iloc[90:180]]
        split = np.where(train, "train", "test")
        loud = [float(np.mean(list(tone))) for tone in labelled[1]["tone"]]
        frames = {
            "corpus.parquet": whole.iloc[180:].drop(columns="shape").assign(source="made"),
            "tasks/shape.parquet": labelled[0]
            .rename(columns={"shape": "label"})
            .assign(split=split),
            "tasks/loudness.parquet": labelled[1]
            .drop(columns="shape")
            .assign(label=loud, split=split),
            "tasks/alike.parquet": _pairs(labelled[0]),
        }
        return BuiltData({name: frame.reset_index(drop=True) for name, frame in frames.items()})


def _make_tones(n: int) -> pd.DataFrame:
    """Return a table `id, tone, shape, group` of tones without near-duplicates."""
    generator, kind = np.random.default_rng(0), MODALITIES.get("tones")()
    rows: dict[str, tuple[bytes, str]] = {}
    while len(rows) < n:
        shape = list(SHAPES)[len(rows) % len(SHAPES)]
        noisy = 140 + 80 * SHAPES[shape] + generator.normal(0, 12, 8)
        tone = bytes(
            np.clip(noisy, 128, 255).astype(np.uint8)
        )  # bytes from 128 are not valid UTF-8
        rows.setdefault(kind.near_key(tone), (tone, shape))
    frame = pd.DataFrame(list(rows.values()), columns=["tone", "shape"])
    frame.insert(0, "id", frame["tone"].map(kind.content_id))
    return frame.assign(group=frame["id"].str[:16])


def _pairs(tones: pd.DataFrame) -> pd.DataFrame:
    one, two = tones.iloc[0::2].reset_index(drop=True), tones.iloc[1::2].reset_index(drop=True)
    distance = [
        float(np.abs(np.subtract(list(a), list(b), dtype=float)).mean())
        for a, b in zip(one["tone"], two["tone"], strict=True)
    ]
    columns = {"tone1": one["tone"], "tone2": two["tone"], "label": -np.array(distance)}
    return pd.DataFrame({"id": one["id"] + two["id"], **columns})
