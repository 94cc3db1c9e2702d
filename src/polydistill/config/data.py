"""Settings of corpora, benchmark tasks, teachers, and the store of embeddings."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from polydistill.config.nodes import Node, Rows, Share

TaskKind = Literal[
    "binary-classification", "classification", "clustering", "regression", "retrieval", "sts"
]


class TeacherParams(BaseModel):
    """A teacher: its family and the options of the family's factory.

    A row of `params.yaml` without `family` is a known teacher: `config/weights/<modality>.yaml` has its
    family, licence and pinned weights, and the keys of the row replace them.
    """

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)
    family: str
    enabled: bool = True
    """Whether the student learns from it."""
    licence: str | None = None
    """Licence of the weights, as an SPDX expression: Apache-2.0, or several joined by AND or OR."""
    saw_labels_of: tuple[str, ...] = ()
    """Tasks whose labels the weights were trained on."""

    @property
    def options(self) -> dict[str, object]:
        """The options of the family's factory."""
        return dict(self.model_extra or {})

    @property
    def module(self) -> str:
        """The family's file in `teachers/`, without the suffix."""
        return self.family.replace("-", "_")


class CorpusParams(Node):
    """The unlabelled corpus, and the rows of it that a run uses."""

    path: str
    """A table, a text file, a folder or a glob: data/text/*.csv."""
    rows: Rows | None = None
    """Use the first N rows; null: all rows."""
    column: str | None = None
    """Column of the examples; null: the modality's column, or the only column."""
    held_out: Share = 0.05
    """Share of the groups that are held out of training, chosen by content hash."""


class TaskParams(Node):
    """One benchmark task: a table of examples with labels.

    A table for `sts` has two columns of examples, `text1` and `text2`, and no split. A table for `retrieval` has
    a column `role`, whose values are `query` and `corpus`, instead of the split.
    """

    kind: TaskKind
    path: str
    """A table, a text file, a folder or a glob."""
    domain: Literal["in", "out"]
    """Whether the task is in the corpus' domain or out of it."""
    redistributable: bool = True
    """Whether the data may be redistributed; if not, `fetch-data` fetches them."""
    label_range: tuple[float, float] | None = None
    """The smallest and greatest valid label; a label out of range is an error."""
    max_rows: Rows | None = None
    """Use at most N rows, in the order of ids."""
    column: str | None = None
    """Column of the examples; for `sts` without its final 1 or 2; null: as for the corpus."""
    label: str = "label"
    """The column of the labels."""
    split: str = "split"
    """Column that says train or test; if it is missing, a fifth of the groups is the test set."""
    group: str = "group"
    """Column of groups that a split keeps together; if it is missing, near-duplicates are groups."""
    probe: Literal["linear", "mlp"] = "linear"
    """Head that is fitted to frozen embeddings, if the kind of task fits one."""


class StoreParams(Node):
    """The format of stored embeddings."""

    dtype: Literal["float16", "float32"] = "float16"
    shard_rows: Rows = 4096
