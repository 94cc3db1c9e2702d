"""The typed tree of `params.yaml`: every number of a run, bounded, frozen, with nothing unknown in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from polydistill.errors import ParamsError, UnknownNameError

PARAMS_FILE = Path("params.yaml")
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
TaskKind = Literal["classification", "clustering", "regression", "sts"]


class Tree(BaseModel):
    """A node of the tree: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Plugin(BaseModel):
    """A plug-in's name, and beside it the options of its factory, which `plugins` checks."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, object]:
        """The options beside the name."""
        return dict(self.model_extra or {})


class TeacherParams(BaseModel):
    """A teacher: its family, and beside it the options of the family's factory."""

    model_config = ConfigDict(extra="allow", frozen=True)
    family: str

    @property
    def options(self) -> dict[str, object]:
        """The options beside the family."""
        return dict(self.model_extra or {})


class EmbedRow(Tree):
    """One teacher that takes part: a row of the switchboard, and one `embed@…` stage of DVC."""

    modality: str
    teacher: str
    module: str = Field(
        description="The family's file in src/polydistill/teachers/, for DVC's deps."
    )


class CorpusParams(Tree):
    """The unlabelled corpus, and how much of it a run uses."""

    path: str
    rows: Positive = Field(description="The first so many rows of the file.")
    held_out: Share = Field(
        description="Share of the groups kept for held-out NLL, by content hash."
    )


class TaskParams(Tree):
    """One benchmark task: a Parquet or CSV file with `id, text, label, group, split`.

    For `sts`: `id, text1, text2, label`.
    """

    kind: TaskKind
    path: str
    domain: Literal["in", "out"]
    redistributable: bool = True
    max_rows: Positive | None = Field(None, description="Use at most so many rows (by id order).")


class StoreParams(Tree):
    """How embeddings lie on disk."""

    dtype: Literal["float16", "float32"] = "float16"
    shard_rows: Positive = 4096


class GuardParams(Tree):
    """When training has left the path; the guard then goes back and halves the rate."""

    max_restarts: Annotated[int, Field(ge=0)] = Field(
        3, description="So often; then the run has diverged, and is not published."
    )
    spike: Annotated[float, Field(gt=0)] = Field(
        20.0, description="A loss so many interquartile ranges above the median of those before it."
    )
    min_variance: Annotated[float, Field(ge=0)] = Field(
        1e-8, description="Least variance of the student's held-out embeddings."
    )
    max_mean_cosine: Annotated[float, Field(gt=0, le=1)] = Field(
        0.99, description="Greatest mean cosine between them."
    )
    min_effective_rank: Annotated[float, Field(ge=1)] = Field(
        2.0, description="Least number of dimensions that they fill."
    )


class TrainingParams(Tree):
    """The training loop."""

    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    head_learning_rate: Annotated[float, Field(gt=0)]
    warmup_share: Share = Field(description="Share of the steps over which the rate rises.")
    head_warmup_steps: Annotated[int, Field(ge=0)] = Field(
        description="First steps in which only the heads learn."
    )
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Annotated[float, Field(gt=0)]
    evals_per_epoch: Positive
    patience: Positive = Field(
        description="Evaluations without a better held-out NLL before a stop."
    )
    guard: GuardParams = GuardParams()


class EvaluationParams(Tree):
    """How frozen embeddings are probed."""

    seeds: tuple[int, ...] = Field(min_length=1)


class GateParams(Tree):
    """When a challenger becomes champion."""

    min_gain: float = Field(description="Least gain in the mean score over the champion.")


class ModalityParams(Tree):
    """Everything about one modality: a block of `params.yaml`."""

    corpus: CorpusParams
    tasks: dict[str, TaskParams]
    teachers: dict[str, TeacherParams]
    store: StoreParams
    student: Plugin
    heads: Plugin
    loss: Plugin
    loss_weight: Annotated[float, Field(ge=0)] = Field(
        1.0, description="Of the teachers' losses; 0 leaves the geometry term as the one objective."
    )
    geometry: Plugin | None = None
    geometry_weight: Annotated[float, Field(ge=0)] = 0.0
    weighting: Plugin = Plugin(name="per-dimension")
    training: TrainingParams
    evaluation: EvaluationParams
    gate: GateParams

    @model_validator(mode="after")
    def _something_trains_the_student(self) -> ModalityParams:
        if self.loss_weight == 0 and (self.geometry is None or self.geometry_weight == 0):
            raise ParamsError(
                "loss_weight must be above 0, got 0: without a geometry term nothing trains the student."
            )
        return self


class Params(Tree):
    """The whole of `params.yaml`."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    threads: Positive = Field(description="Threads of torch and ONNX Runtime in each stage.")
    precision: Literal["float32", "bfloat16"]
    modalities: tuple[str, ...]
    embed: dict[str, EmbedRow]
    text: ModalityParams

    @model_validator(mode="after")
    def _switchboard_names_what_exists(self) -> Params:
        for key, row in self.embed.items():
            block = self.modality(row.modality)
            if row.teacher not in block.teachers:
                raise UnknownNameError(f"teacher in embed['{key}']", row.teacher, block.teachers)
            module = block.teachers[row.teacher].family.replace("-", "_")
            if key != f"{row.modality}-{row.teacher}":
                raise ParamsError(f"embed['{key}'] must be called '{row.modality}-{row.teacher}'.")
            if row.module != module:
                raise ParamsError(f"embed['{key}'].module must be {module!r}, got {row.module!r}.")
        for name in self.modalities:
            if not self.active_teachers(name):
                raise ParamsError(
                    f"embed must switch on at least one teacher of modality {name!r}."
                )
        return self

    def modality(self, name: str) -> ModalityParams:
        """Return the block of a modality.

        Raises:
            UnknownNameError: `modalities` does not list it.
        """
        if name not in self.modalities or name not in type(self).model_fields:
            raise UnknownNameError("modality", name, self.modalities)
        block: ModalityParams = getattr(self, name)
        return block

    def active_teachers(self, modality: str) -> dict[str, TeacherParams]:
        """Return the teachers of a modality that are switched on, in the switchboard's order."""
        rows = (row for row in self.embed.values() if row.modality == modality)
        return {row.teacher: self.modality(modality).teachers[row.teacher] for row in rows}


def parse_params(tree: Mapping[str, object]) -> Params:
    """Check a tree of plain values.

    Raises:
        ParamsError: A key is unknown or missing, or a value is out of bounds; the message says which.
    """
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise ParamsError(_explain(error)) from error


def load_params(root: Path = Path()) -> Params:
    """Read and check `params.yaml` in the project folder `root`.

    Raises:
        ParamsError: There is no such file, it is not YAML, or `parse_params` refuses it.
    """
    path = root / PARAMS_FILE
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(
            f"No {PARAMS_FILE} in {root.resolve()}: run polydistill in a project folder."
        ) from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ParamsError(f"{path} must hold a mapping, got {type(tree).__name__}.")
    return parse_params(tree)


def _explain(error: ValidationError) -> str:
    """Turn pydantic's findings into one line each, with a suggestion where a key is unknown."""
    lines = []
    for finding in error.errors():
        where = ".".join(str(part) for part in finding["loc"])
        if finding["type"] == "extra_forbidden":
            known = _known_keys(finding["loc"][:-1])
            lines.append(
                str(
                    UnknownNameError(
                        f"key in params.yaml: {where},", str(finding["loc"][-1]), known
                    )
                )
            )
        elif finding["type"] == "value_error":
            lines.append(str(finding["ctx"]["error"]))
        else:
            got = "" if finding["type"] == "missing" else f" (got {finding['input']!r})"
            lines.append(f"params.yaml: {where}: {finding['msg']}{got}.")
    return "\n".join(lines)


def _known_keys(path: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the node at `path` knows."""
    node: type[BaseModel] = Params
    for part in path:
        if str(part) not in node.model_fields:
            continue  # the key of a mapping: its values are nodes of the same type
        annotation = node.model_fields[str(part)].annotation
        kinds = [annotation, *getattr(annotation, "__args__", ())]
        nodes = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if nodes:
            node = nodes[0]
    return sorted(node.model_fields)
