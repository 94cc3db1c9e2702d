"""Settings of corpora, benchmark tasks, teachers and stored embeddings."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from polydistill.config.nodes import STRICT, Node, Rows, Several, Share, Text, without_credentials
from polydistill.errors import ParamsError, UnknownNameError, short
from polydistill.plugins import names_in

TaskKind = Literal[
    "binary-classification", "classification", "clustering", "pair-classification", "regression", "reranking",
    "retrieval", "sts",
]  # fmt: skip
PERTURBATIONS = "polydistill.data.perturbations"
"""The package whose file names are the names of perturbations. It is in a higher layer: never import it here."""
UTF_8 = "utf-8"


def require_perturbations(names: Iterable[str]) -> None:
    """Check that the perturbations exist.

    Raises:
        UnknownNameError: No perturbation has one of the names.
    """
    known = names_in(PERTURBATIONS)
    for name in names:
        if name not in known:
            raise UnknownNameError("perturbation", name, known)


def checked_encoding(name: str) -> str:
    """Return the name of an encoding of text.

    Raises:
        ParamsError: Python knows no such encoding.
    """
    try:
        "".encode(name)
    except (LookupError, ValueError):
        raise ParamsError(
            f"`encoding` must name an encoding such as utf-8, latin-1 or cp1252, got {short(name)}."
        ) from None
    return name


Encoding = Annotated[str, AfterValidator(checked_encoding)]


PATH_OPTIONS = ("model", "folder", "tokenizer", "vocabulary", "vectors", "weights", "checkpoints")
"""The options of teacher families that name files or folders."""


class TeacherParams(BaseModel):
    """A teacher: its family, which is a plug-in in `teachers/`, and the options of the plug-in's factory.

    An entry of `params.yaml` without `family` is a known teacher. `config/weights/<modality>.yaml` defines its
    family, licence and pinned weights; keys of the entry override these values.
    """

    model_config = STRICT | ConfigDict(extra="allow")
    family: str
    enabled: bool = True
    """Whether the student learns from this teacher."""
    licence: str | None = None
    """Licence of the weights: an SPDX identifier such as Apache-2.0, or several with AND or OR."""
    saw_labels_of: Several[str] = ()
    """Tasks whose labels were used to train the weights."""

    @property
    def options(self) -> dict[str, object]:
        """The options of the family's factory."""
        return dict(self.model_extra or {})

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the teacher's own files and folders: not those of a package, a wheel or a hub model.

        For an ONNX model, the path of its folder, which can hold its weights too.
        """
        options = {} if self.options.get("revision") else self.options
        found = list[Path]()
        for value in map(options.get, PATH_OPTIONS):
            several = [value] if isinstance(value, str) else value
            for path in several if isinstance(several, Sequence) else ():
                if not str(path).startswith(("package:", "wheel:")):
                    found.append(Path(str(path)))
        kept = [one.parent if one.suffix == ".onnx" and one.parent.name else one for one in found]
        return tuple(dict.fromkeys(one.as_posix() for one in kept))

    @property
    def module(self) -> str:
        """The family's file in `teachers/`, without the suffix."""
        return self.family.replace("-", "_")


class CorpusParams(Node):
    """The unlabelled corpus, and which of its rows a run uses."""

    path: Annotated[Text, AfterValidator(without_credentials)]
    """A table, a text file, a folder or a glob, such as data/text/*.csv; or a URL, such as s3://bucket/*.parquet."""
    rows: Rows | None = None
    """Use the first N rows; null: all rows."""
    column: Text | None = None
    """Column of the examples; null: the modality's column, or the only column."""
    encoding: Encoding = UTF_8
    """Encoding of CSV, TSV, JSONL and text files, such as latin-1 or cp1252."""
    held_out: Share = 0.05
    """Share of the groups that are held out of training, chosen by content hash."""


class TaskParams(Node):
    """One benchmark task: a table of examples with labels.

    A table for `sts` or `pair-classification` has two columns of examples, `text1` and `text2`, and no split. A table
    for `retrieval` or `reranking` has a column `role`, whose values are `query` and `corpus`, instead of the split;
    for `reranking` also a column `pool`.
    """

    kind: TaskKind
    path: Text
    """A table, a text file, a folder or a glob."""
    domain: Literal["in", "out"]
    """`in`: the examples come from the same sources as the corpus; `out`: they do not."""
    redistributable: bool = True
    """Whether the data may be redistributed; if not, `fetch-data` fetches them."""
    label_range: Annotated[tuple[float, float], Field(strict=False)] | None = None
    """The smallest and greatest valid label; a label out of range is an error."""
    max_rows: Rows | None = None
    """Use the first N rows, ordered by id, of retrieval and reranking whole queries with their answers; null: all rows."""
    column: Text | None = None
    """Column of the examples; for pairs the prefix of both columns; null: as for the corpus."""
    encoding: Encoding = UTF_8
    """Encoding of the task's files, as for the corpus."""
    label: Text = "label"
    """The column of the labels."""
    split: Text = "split"
    """Column with the values train and test; if it is missing, a fifth of the groups is the test set."""
    group: Text = "group"
    """Column of groups that are not split across train and test; default: near-duplicates."""
    probe: Literal["linear", "mlp"] = "linear"
    """Model that is fitted to the frozen embeddings, in kinds of task that fit one."""
    shots: Annotated[int, Field(ge=1, le=10**6)] | None = None
    """Fit the probe of `classification` to this number of training rows per label, once per seed; null: to all rows."""
    perturb: Several[str] = ()
    """Perturbations, case and typos, with which texts are scored again; these scores do not count in means."""

    @model_validator(mode="after")
    def _range_is_ordered(self) -> Self:
        if self.label_range and self.label_range[0] >= self.label_range[1]:
            raise ParamsError(
                f"label_range must be [smallest, greatest], got {[*self.label_range]}."
            )
        return self

    @model_validator(mode="after")
    def _perturbations_are_known(self) -> Self:
        require_perturbations(self.perturb)
        if len(set(self.perturb)) < len(self.perturb):
            raise ParamsError(f"perturb must name each perturbation once, got {[*self.perturb]}.")
        return self

    @model_validator(mode="after")
    def _shots_fit_the_kind(self) -> Self:
        if self.shots is not None and (self.kind != "classification" or self.probe != "linear"):
            raise ParamsError(
                f"shots needs a task of kind classification with the probe linear, got {self.kind} with {self.probe}."
            )
        return self


class StoreParams(Node):
    """The format of stored embeddings."""

    dtype: Literal["float16", "float32"] = "float16"
    shard_rows: Annotated[Rows, Field(le=10**6)] = 4096
    kept_variance: Annotated[Share, Field(gt=0)] | None = None
    """Store each teacher's embeddings in the principal dimensions that keep this share; null: in all dimensions."""
