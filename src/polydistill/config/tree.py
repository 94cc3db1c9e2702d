"""The typed tree of all settings: one block per modality, and the common settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from polydistill.config.data import CorpusParams, StoreParams, TaskParams, TeacherParams
from polydistill.config.nodes import (
    STRICT,
    Device,
    Name,
    Precision,
    Seed,
    Several,
    TeacherName,
    Threads,
)
from polydistill.config.operations import (
    STAGE_HOURS,
    EmbedParams,
    GateParams,
    NotifyParams,
    QuickParams,
    RetrainParams,
)
from polydistill.config.training import EvaluationParams, MethodParams
from polydistill.errors import ParamsError, UnknownNameError
from polydistill.plugins import names_in

MODALITIES = "polydistill.data.modalities"
"""The package whose file names are the names of modalities. It is in a higher layer: never import it here."""
NOT_AFFECTING_SCORES = frozenset({"gate", "quick", "retrain"})
"""Keys of a modality's block that affect neither the student nor its scores."""


class ModalityParams(MethodParams):
    """All settings of one modality: a block of `params.yaml`."""

    corpus: CorpusParams
    tasks: dict[Name, TaskParams] = Field(default_factory=dict)
    teachers: dict[TeacherName, TeacherParams]
    rivals: dict[TeacherName, TeacherParams] = Field(default_factory=dict)
    store: StoreParams = StoreParams()
    evaluation: EvaluationParams = EvaluationParams()
    gate: GateParams = GateParams()
    retrain: RetrainParams = RetrainParams()
    quick: QuickParams | None = None
    """Changes of a quick run; null: `run --quick` skips the modality."""

    @property
    def enabled_teachers(self) -> dict[str, TeacherParams]:
        """The teachers that the student learns from, in the order of `params.yaml`."""
        return {name: row for name, row in self.teachers.items() if row.enabled}

    @property
    def enabled_rivals(self) -> dict[str, TeacherParams]:
        """The models that are only measured beside the student, in the order of `params.yaml`."""
        return {name: row for name, row in self.rivals.items() if row.enabled}

    @model_validator(mode="after")
    def _models_have_different_names(self) -> ModalityParams:
        groups = {
            "a teacher": self.enabled_teachers,
            "an entry of `rivals`": self.enabled_rivals,
            "an entry of `evaluation.rivals`": self.evaluation.rivals,
        }
        known: dict[str, str] = {}
        for group, names in groups.items():
            for name in names:
                if (earlier := known.setdefault(name, group)) != group:
                    raise ParamsError(
                        f"A rival cannot have the name {name!r}, which is also {earlier}: each model is measured once, "
                        "so remove it from the rivals or give it another name."
                    )
        return self

    @model_validator(mode="after")
    def _labels_seen_belong_to_tasks(self) -> ModalityParams:
        rows = {f"teachers.{name}": row for name, row in self.teachers.items()}
        rows |= {f"rivals.{name}": row for name, row in self.rivals.items()}
        for name, row in rows.items():
            for task in row.saw_labels_of:
                if task not in self.tasks:
                    raise UnknownNameError(f"task in {name}.saw_labels_of", task, self.tasks)
        return self


class Params(BaseModel):
    """All settings: the common ones, and one block per modality, by its name."""

    model_config = STRICT | ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, ModalityParams] = Field(init=False)
    seed: Seed = 0
    """Seed of training: initial weights and order of batches."""
    threads: Threads = 2
    """Threads of PyTorch and ONNX Runtime in each stage; fixed, because sums depend on it."""
    device: Device = "auto"
    """Where models run: cpu, cuda, cuda:1 or mps; auto: on an accelerator if the machine has one."""
    precision: Precision = "float32"
    """Precision of training."""
    processes: Annotated[int, Field(ge=1, le=1024)] = 1
    """Processes of training, one per GPU; each computes a share of every batch, on `threads` threads."""
    embed: EmbedParams = EmbedParams()
    stage_hours: Annotated[float, Field(gt=0, le=10_000, json_schema_extra={"unit": "h"})] = (
        STAGE_HOURS
    )
    """Maximum duration of a stage in a run; one that takes longer is stopped, and keeps its finished work."""
    modalities: Annotated[Several[str], Field(min_length=1)]
    """Enabled modalities; if left out: every block of params.yaml."""
    notify: Several[NotifyParams] = ()

    @model_validator(mode="before")
    @classmethod
    def _blocks_are_modalities(cls, tree: object) -> object:
        """Refuse a key that is neither a common setting nor a modality, before its value is validated."""
        if not isinstance(tree, Mapping):
            return tree
        known = {*cls.model_fields, *names_in(MODALITIES)}
        for key in tree:
            if key not in known:
                raise UnknownNameError(f"key in params.yaml: {key},", str(key), known)
        listed = tree.get("modalities", ())
        for name in listed if isinstance(listed, list | tuple) else ():
            if not isinstance(name, str) or name not in known - set(cls.model_fields):
                raise UnknownNameError("modality in `modalities`:", str(name), names_in(MODALITIES))
            if name not in tree:
                raise ParamsError(
                    f"params.yaml lists modality {name!r} and must have a block {name!r}, got none: "
                    "write it, or remove the name from `modalities`."
                )
        return tree

    @model_validator(mode="after")
    def _only_texts_are_perturbed(self) -> Params:
        for name in self.modalities:
            block = self.modality(name)
            if block.training.perturb and name != "text":
                raise ParamsError(
                    f"{name}.training.perturb must be empty, got {dict(block.training.perturb)}: only texts are perturbed."
                )
            for task, row in block.tasks.items():
                if row.perturb and name != "text":
                    raise ParamsError(
                        f"{name}.tasks.{task}.perturb must be empty, got {[*row.perturb]}: only texts are perturbed."
                    )
        return self

    @model_validator(mode="after")
    def _each_modality_has_teachers(self) -> Params:
        for name in self.modalities:
            if not self.enabled_teachers(name):
                raise ParamsError(f"{name}.teachers must have at least one that is enabled.")
        return self

    def modality(self, name: str) -> ModalityParams:
        """Return the block of a modality.

        Raises:
            UnknownNameError: The modality is not enabled.
        """
        if name not in self.modalities:
            raise UnknownNameError("modality", name, self.modalities)
        return self.__pydantic_extra__[name]

    def of_modality(self, name: str) -> dict[str, Any]:
        """Return the shared settings and the block of one modality, as plain values."""
        return self.model_dump(mode="json", include={*type(self).model_fields, name})

    def enabled_teachers(self, modality: str) -> dict[str, TeacherParams]:
        """Return the teachers of a modality that its student learns from, in the order of `params.yaml`."""
        return self.modality(modality).enabled_teachers

    def embed_keys(self, modality: str) -> list[str]:
        """Return the keys of DVC's stages `embed@…` and then `embed-rival@…`, such as `text-minilm-l6`."""
        names = [*self.enabled_teachers(modality), *self.modality(modality).enabled_rivals]
        return [f"{modality}-{name}" for name in names]

    def labels_seen(self, modality: str) -> dict[str, tuple[str, ...]]:
        """Return, per task, the teachers whose weights were trained on the task's labels.

        The student learns from these teachers, so its score on the task says nothing about unseen labels.
        """
        seen: dict[str, tuple[str, ...]] = {}
        for name, teacher in self.enabled_teachers(modality).items():
            for task in teacher.saw_labels_of:
                seen[task] = (*seen.get(task, ()), name)
        return seen


def node_class(parent: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the class of the node at a key of another node; for a mapping of nodes, the class of its values.

    Examples:
        >>> node_class(ModalityParams, "training").__name__, node_class(ModalityParams, "tasks").__name__
        ('TrainingParams', 'TaskParams')
    """
    if parent is Params and key not in Params.model_fields:
        return ModalityParams
    if key not in parent.model_fields:
        return None
    annotation = parent.model_fields[key].annotation
    kinds = [annotation, *get_args(annotation)]
    nodes = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return nodes[0] if nodes else None
