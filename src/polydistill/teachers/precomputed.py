"""A black-box teacher: embeddings that somebody else computed, with the ids of their examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from polydistill.contracts import Embeddings, Example, FloatArray
from polydistill.data.weights import locate, source_sha256
from polydistill.errors import DataError, MissingDataError, ShapeError
from polydistill.teachers import TEACHERS

VERSION = 1


@TEACHERS.register("precomputed")
class PrecomputedTeacher:
    """Rows looked up by id; an example whose id is not there has no embedding.

    Args:
        name: What it is called here.
        threads: Unused.
        folder: Parquet files with the columns `id` and `embedding` (a list of numbers); or
            `embeddings.npy`, `(n, dim)`, beside `ids.txt`, one id a line. An id is the corpus' `id`, or
            for a benchmark example what `contracts.Modality.content_id` gives.
        dim: Width of the embeddings.
    """

    by_id = True

    def __init__(self, name: str, threads: int, *, folder: str, dim: int) -> None:  # noqa: ARG002
        self.name, self.dim = name, dim
        self._folder = folder

    @property
    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """See `contracts.Teacher.identity`."""
        weights = source_sha256(self._folder)
        return {"family": "precomputed", "version": VERSION, "weights": weights}

    @cached_property
    def _table(self) -> FloatArray:
        return self._ids_and_table[1]

    @cached_property
    def _places(self) -> dict[str, int]:
        ids = self._ids_and_table[0]
        places = {name: place for place, name in enumerate(ids)}
        if len(places) != len(ids):
            twice = next(name for place, name in enumerate(ids) if places[name] != place)
            raise DataError(f"Teacher {self.name!r}: id {twice!r} stands twice in {self._folder}.")
        return places

    @cached_property
    def _ids_and_table(self) -> tuple[list[str], FloatArray]:
        folder = locate(self._folder)
        if (folder / "embeddings.npy").exists():
            ids = (folder / "ids.txt").read_text(encoding="utf-8").splitlines()
            values = np.load(folder / "embeddings.npy", mmap_mode="r", allow_pickle=False)
        else:
            files = sorted(folder.glob("*.parquet"))
            if not files:
                raise MissingDataError(
                    f"Teacher {self.name!r}: {folder} must hold Parquet files or embeddings.npy."
                )
            frame = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
            ids = frame["id"].tolist()
            widths = sorted({len(row) for row in frame["embedding"]} - {self.dim})
            if widths:
                raise ShapeError(
                    f"Teacher {self.name!r}: embeddings must have width {self.dim}, got {widths[0]}."
                )
            values = np.stack(frame["embedding"].tolist()).astype(np.float32)
        if values.shape != (len(ids), self.dim):
            raise ShapeError(
                f"Teacher {self.name!r}: embeddings must have shape {(len(ids), self.dim)}, "
                f"got {values.shape}."
            )
        return ids, values

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """See `contracts.Teacher.embed`; the examples are ids."""
        places = np.array([self._places.get(str(name), -1) for name in examples], dtype=np.int64)
        present = places >= 0
        values = np.zeros((len(examples), self.dim), dtype=np.float32)
        values[present] = self._table[places[present]]
        return Embeddings(values, present)
