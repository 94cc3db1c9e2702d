"""What a student is made from: corpus, tasks, teachers, and the store of embeddings."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from polydistill.config.nodes import Rows, Share, Tree

TaskKind = Literal[
    "binary-classification", "classification", "clustering", "regression", "retrieval", "sts"
]


class TeacherParams(BaseModel):
    """A teacher: its family, and beside it the options of the family's factory.

    A row of `params.yaml` without `family` is a known teacher: `config/weights/<modality>.yaml` has its
    family, licence and pinned weights, and the row's keys replace those.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    family: str
    enabled: bool = Field(default=True, description="Whether the student learns from it.")
    licence: str | None = Field(
        None,
        description="Of its weights, as an SPDX expression: Apache-2.0, or several joined by AND or OR.",
    )
    saw_labels_of: tuple[str, ...] = Field(
        (), description="Tasks whose labels its weights were trained on."
    )

    @property
    def options(self) -> dict[str, object]:
        """The options of the family's factory."""
        return dict(self.model_extra or {})

    @property
    def module(self) -> str:
        """The family's file in `teachers/`, without the suffix."""
        return self.family.replace("-", "_")


class CorpusParams(Tree):
    """The unlabelled corpus, and how much of it a run uses."""

    path: str
    rows: Rows = Field(description="Use the first rows of the file, at most this number.")
    held_out: Share = Field(
        0.05,
        description="Share of the groups that are held out of training, chosen by content hash.",
    )


class TaskParams(Tree):
    """One benchmark task: a Parquet or CSV file with `id, text, label, group, split`.

    `text` stands for the modality's column. For `sts`: `id, text1, text2, label`; for `retrieval`: `role`,
    `query` or `corpus`, in the place of `split`.
    """

    kind: TaskKind
    path: str
    domain: Literal["in", "out"] = Field(description="Of the corpus' domain, or outside it.")
    redistributable: bool = Field(
        default=True, description="Whether the data may be passed on; else they are fetched."
    )
    label_range: tuple[float, float] | None = Field(
        None, description="The smallest and greatest valid label; a row beyond is an error."
    )
    max_rows: Rows | None = Field(None, description="Use at most this number, in the order of ids.")
    split: str = Field("split", description="The column of the split, where a file has several.")
    group: str = Field(
        "group", description="The column of the groups; a split keeps each group in one part."
    )
    probe: Literal["linear", "mlp"] = Field(
        "linear", description="What is fitted to frozen embeddings, where the kind fits anything."
    )


class StoreParams(Tree):
    """How embeddings are stored."""

    dtype: Literal["float16", "float32"] = "float16"
    shard_rows: Rows = 4096
