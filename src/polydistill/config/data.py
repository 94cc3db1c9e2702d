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

    path: str = Field(description="A table, a text file, a folder or a glob: data/text/*.csv.")
    rows: Rows | None = Field(
        None, description="Use this number of rows, from the first; null: all of them."
    )
    column: str | None = Field(
        None,
        description="Of the examples; null: the one named like the modality's, or the only one.",
    )
    held_out: Share = Field(
        0.05,
        description="Share of the groups that are held out of training, chosen by content hash.",
    )


class TaskParams(Tree):
    """One benchmark task: a table of examples with labels.

    For `sts`, two columns of examples, `text1` and `text2`, and no split; for `retrieval`, a column `role`,
    `query` or `corpus`, instead of the split.
    """

    kind: TaskKind
    path: str = Field(description="As of the corpus.")
    domain: Literal["in", "out"] = Field(description="Of the corpus' domain, or outside it.")
    redistributable: bool = Field(
        default=True, description="Whether the data may be passed on; else they are fetched."
    )
    label_range: tuple[float, float] | None = Field(
        None, description="The smallest and greatest valid label; a row beyond is an error."
    )
    max_rows: Rows | None = Field(None, description="Use at most this number, in the order of ids.")
    column: str | None = Field(
        None,
        description="Of the examples, as of the corpus; for sts without the 1 and 2 at its end.",
    )
    label: str = Field("label", description="The column of the labels.")
    split: str = Field(
        "split",
        description="The column of train and test; without it a fifth of the groups is test.",
    )
    group: str = Field(
        "group",
        description="The column of groups that a split keeps together; without it near-duplicates.",
    )
    probe: Literal["linear", "mlp"] = Field(
        "linear", description="What is fitted to frozen embeddings, where the kind fits anything."
    )


class StoreParams(Tree):
    """How embeddings are stored."""

    dtype: Literal["float16", "float32"] = "float16"
    shard_rows: Rows = 4096
