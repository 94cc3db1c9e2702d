"""The typed tree of `params.yaml`: every number of a run, bounded, frozen, with nothing unknown in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from polydistill.errors import ParamsError, UnknownNameError
from polydistill.plugins import names_in

PARAMS_FILE = Path("params.yaml")
MODALITIES = "polydistill.data.modalities"
"""The room whose file names are the names of blocks; it stands above this layer, so it is only listed."""
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Margin = Annotated[float, Field(ge=0)]
Limit = Annotated[float, Field(gt=0)]
COMMERCIAL_LICENCES = (
    *(
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC-BY-4.0",
        "CC0-1.0",
        "ISC",
        "MIT",
        "MPL-2.0",
    ),
    *("ODC-By-1.0", "PDDL-1.0", "Unlicense"),
)
TaskKind = Literal[
    "binary-classification", "classification", "clustering", "regression", "retrieval", "sts"
]
RetrainPolicy = Literal["always", "on-new-data", "on-drift"]
NoticeEvent = Literal["refused", "promoted", "failed", "diverged"]


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
    licence: str | None = Field(
        None,
        description="Of its weights, as SPDX says it: Apache-2.0, or several joined by AND or OR. "
        "No option: the embeddings do not depend on it.",
    )
    saw_labels_of: tuple[str, ...] = Field(
        (), description="Tasks whose labels its weights were trained on. No option, as the licence."
    )

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

    `text` stands for the modality's column. For `sts`: `id, text1, text2, label`; for `retrieval`: `role`,
    `query` or `corpus`, in the place of `split`.
    """

    kind: TaskKind
    path: str
    domain: Literal["in", "out"]
    redistributable: bool = True
    label_range: tuple[float, float] | None = Field(
        None, description="Least and greatest label that can be true; others are refused."
    )
    max_rows: Positive | None = Field(None, description="Use at most so many rows (by id order).")
    split: str = Field("split", description="The column of the split, where a file holds several.")
    group: str = Field("group", description="The column of what a split may not tear apart.")
    probe: Literal["linear", "mlp"] = Field(
        "linear", description="What is fitted to frozen embeddings, where the kind fits anything."
    )


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

    def student_start(self, n_steps: int) -> int:
        """Return the step, of so many, at which the student begins to learn."""
        return min(self.head_warmup_steps, n_steps // 2)


class WarmStartParams(Tree):
    """What a run goes on from, and the numbers that then stand in for those of `training`."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="Of a version that `polydistill adopt` has brought; none: from scratch."
    )
    epochs: Annotated[int, Field(ge=0)] = Field(
        1, description="None at all: nothing is trained, so no teacher may be new."
    )
    head_steps: Annotated[int, Field(ge=0)] = Field(
        30, description="First steps, at most half of all: the student waits for the new heads."
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.05, description="Of the student.")
    head_learning_rate: Annotated[float, Field(gt=0)] = Field(
        0.005,
        description="Of the heads of new teachers, and of the means of those that are known.",
    )

    def in_place_of(self, training: TrainingParams, *, new_teachers: bool) -> TrainingParams:
        """Return the numbers of a run that goes on from another."""
        own = self.model_dump(include={"epochs", "learning_rate", "head_learning_rate"})
        own["head_warmup_steps"] = self.head_steps if new_teachers else 0
        return training.model_copy(update=own)


class EvaluationParams(Tree):
    """How frozen embeddings are probed."""

    seeds: tuple[int, ...] = Field(min_length=1)
    models: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Of student, undistilled and the teachers, those that are scored; null: all.",
    )


class GateParams(Tree):
    """When a challenger becomes champion. What is left out, or null, is not asked for."""

    min_gain: float = Field(description="Least gain in the mean score over the champion.")
    max_regression_per_task: Margin | None = Field(
        None, description="A task may fall so far below the champion; more, if noise explains it."
    )
    min_gain_over_undistilled: float | None = Field(
        None, description="Least gain in the mean score over the student before its first step."
    )
    max_harm_per_task: Margin | None = Field(
        None, description="A task may fall so far below that student; more, if noise explains it."
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        0.95, description="Of the intervals, and that no equal task is called a regression."
    )
    resamples: Annotated[int, Field(ge=100)] = Field(
        10_000, description="How often the bootstrap draws the examples anew."
    )
    max_latency_ratio: Limit | None = Field(
        None, description="Time over the champion's, in one process: the worse of batch 1 and 64."
    )
    max_latency_ms: Limit | None = Field(
        None, description="Milliseconds for one example on the machine that promotes."
    )
    max_size_mb: Limit | None = Field(None, description="The bundle on disk, 10^6 bytes.")
    max_memory_mb: Limit | None = Field(
        None, description="Growth of a fresh process's peak memory, 10^6 bytes."
    )
    max_contamination: Share | None = Field(
        None, description="Share of a task's examples that the corpus may hold."
    )
    data_validated: bool = Field(
        default=False, description="Ask for a validation of the very data that was trained on."
    )
    reproducible: Literal["required", "unless-refuted", "any"] = Field(
        "any", description="What the version's stamp must say; `unless-refuted`: not `false`."
    )
    licence_policy: Literal["any", "commercial"] = Field(
        "any", description="`commercial`: every teacher's licence is known to allow it."
    )
    commercial_licences: tuple[str, ...] = Field(
        COMMERCIAL_LICENCES, description="SPDX identifiers that allow commercial use."
    )
    canary: bool = Field(
        default=False,
        description="Load the published bundle in a fresh process, and let it answer.",
    )


class DriftParams(Tree):
    """When an incoming corpus has drifted from the champion's."""

    rows: Annotated[int, Field(ge=10)] = Field(
        1000, description="Rows drawn from each corpus for the test."
    )
    permutations: Annotated[int, Field(ge=99)] = 499
    level: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.01, description="Drifted, if p is at most this: the share of false alarms."
    )
    tolerance: Annotated[float, Field(gt=0)] = Field(
        0.1, description="Greatest change of a column: relative for a length, absolute for a share."
    )


class RetrainParams(Tree):
    """What a schedule may do without asking."""

    policy: RetrainPolicy = Field("always", description="What makes a new student necessary.")
    catch_up: Literal["skip", "latest", "all"] = Field(
        "latest", description="Which of the runs that a schedule has missed are made up for."
    )
    grace_s: Annotated[float, Field(ge=0)] = Field(
        900.0, description="A run that is less late than this has not been missed."
    )
    approval: Literal["none", "manual"] = "none"
    approval_timeout_s: Annotated[int, Field(ge=1)] = Field(
        86_400, description="So long a person may take; then the champion stays."
    )
    drift: DriftParams = DriftParams()

    @model_validator(mode="after")
    def _the_test_can_reach_its_level(self) -> RetrainParams:
        least = 1 / (1 + self.drift.permutations)
        if least > self.drift.level:
            raise ParamsError(
                f"retrain.drift.level must be at least {least:.4g}, the least p that "
                f"{self.drift.permutations} permutations can give, got {self.drift.level:g}."
            )
        return self


class NotifyParams(Tree):
    """Who is told of what: a Prefect block, or a webhook whose URL an environment variable holds."""

    on: tuple[NoticeEvent, ...] = Field(min_length=1)
    block: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]+/[a-z0-9-]+$",
        description="A Prefect block's document: slack-webhook/team.",
    )
    url_env: str | None = Field(
        None, pattern=r"^[A-Z][A-Z0-9_]*$", description="The variable's name, never the URL itself."
    )

    @model_validator(mode="after")
    def _one_receiver(self) -> NotifyParams:
        if (self.block is None) == (self.url_env is None):
            raise ParamsError("Each row of notify needs either `block` or `url_env`.")
        return self


class QuickParams(Tree):
    """What a quick run of a modality does otherwise: the same path, in minutes."""

    teachers: tuple[str, ...] = Field(min_length=1, description="Those that take part.")
    put: dict[str, object] = Field(
        {}, description="Dotted keys of the modality's block, and what stands there instead."
    )


AFTER_THE_SCORES = frozenset({"gate", "quick", "retrain"})
"""What of a modality's block no student and no score hangs on: it decides after the benchmark, or on another run."""


class MethodParams(Tree):
    """How a student is distilled: everything that training needs besides data and embeddings."""

    student: Plugin
    heads: Plugin
    loss: Plugin
    loss_weight: Annotated[float, Field(ge=0)] = Field(
        1.0,
        description="Weight of the teachers' losses; 0 leaves the geometry term as the one objective.",
    )
    geometry: Plugin | None = None
    geometry_weight: Annotated[float, Field(ge=0)] = 0.0
    weighting: Plugin = Plugin(name="per-dimension")
    training: TrainingParams
    warm_start: WarmStartParams = WarmStartParams()

    @model_validator(mode="after")
    def _something_trains_the_student(self) -> MethodParams:
        if self.loss_weight == 0 and (self.geometry is None or self.geometry_weight == 0):
            raise ParamsError(
                "loss_weight must be above 0, got 0: without a geometry term nothing trains the student."
            )
        return self


class ModalityParams(MethodParams):
    """Everything about one modality: a block of `params.yaml`."""

    corpus: CorpusParams
    tasks: dict[str, TaskParams]
    teachers: dict[str, TeacherParams]
    store: StoreParams
    evaluation: EvaluationParams
    gate: GateParams
    retrain: RetrainParams = RetrainParams()
    quick: QuickParams | None = Field(None, description="None: `run --quick` leaves it out.")

    @model_validator(mode="after")
    def _labels_seen_are_of_tasks(self) -> ModalityParams:
        for name, teacher in self.teachers.items():
            for task in teacher.saw_labels_of:
                if task not in self.tasks:
                    raise UnknownNameError(
                        f"task in teachers.{name}.saw_labels_of", task, self.tasks
                    )
        return self


class Params(BaseModel):
    """The whole of `params.yaml`: the fields below, and a block for each modality, by its name."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, ModalityParams] = Field(init=False)
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    threads: Positive = Field(description="Threads of torch and ONNX Runtime in each stage.")
    precision: Literal["float32", "bfloat16"]
    modalities: tuple[str, ...]
    embed: dict[str, EmbedRow]
    notify: tuple[NotifyParams, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _blocks_are_modalities(cls, tree: object) -> object:
        """Refuse a key that is neither a field nor a modality before its value is looked at."""
        if not isinstance(tree, Mapping):
            return tree
        known = {*cls.model_fields, *names_in(MODALITIES)}
        for key in tree:
            if key not in known:
                raise UnknownNameError(f"key in params.yaml: {key},", str(key), known)
        listed = tree.get("modalities", ())
        for name in listed if isinstance(listed, Sequence) else ():
            if name not in known - set(cls.model_fields):
                raise UnknownNameError("modality", str(name), names_in(MODALITIES))
            if name not in tree:
                raise ParamsError(
                    f"params.yaml lists modality {name!r} and must have a block {name!r}, got none: "
                    "write it, or take the name off `modalities`."
                )
        return tree

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
        if name not in self.modalities:
            raise UnknownNameError("modality", name, self.modalities)
        return self.__pydantic_extra__[name]

    def active_teachers(self, modality: str) -> dict[str, TeacherParams]:
        """Return the teachers of a modality that are switched on, in the switchboard's order."""
        rows = (row for row in self.embed.values() if row.modality == modality)
        return {row.teacher: self.modality(modality).teachers[row.teacher] for row in rows}

    def labels_seen(self, modality: str) -> dict[str, tuple[str, ...]]:
        """Return, for each task whose labels a teacher's weights were trained on, those teachers.

        A student learns from them, so its score there is no evidence of what it would do on new labels.
        """
        seen: dict[str, tuple[str, ...]] = {}
        for name, teacher in self.active_teachers(modality).items():
            for task in teacher.saw_labels_of:
                seen[task] = (*seen.get(task, ()), name)
        return seen


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
        if node is Params and str(part) not in Params.model_fields:
            node = ModalityParams
            continue
        if str(part) not in node.model_fields:
            continue  # the key of a mapping: its values are nodes of the same type
        annotation = node.model_fields[str(part)].annotation
        kinds = [annotation, *getattr(annotation, "__args__", ())]
        nodes = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if nodes:
            node = nodes[0]
    return sorted(node.model_fields)
