"""Plug-in package of the computed rivals, one file per plug-in: reference models that are fitted in the evaluation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from polydistill.contracts import Embeddings, Example
from polydistill.evaluation.encoder import Model
from polydistill.plugins import Plugins


@dataclass(frozen=True)
class TeacherTables:
    """The embeddings of one teacher.

    Attributes:
        identity: What identifies the teacher's embeddings.
        corpus: The embeddings of a sample of the corpus; the same rows for all teachers.
        benchmark: The embeddings of the inputs of all tasks.
    """

    identity: Mapping[str, object]
    corpus: Embeddings
    benchmark: Embeddings


@dataclass(frozen=True)
class RivalData:
    """What a computed rival may read.

    Attributes:
        ids: The content ids of the inputs of all tasks.
        examples: The inputs, in the same order.
        dim: Width of the student's embeddings.
        teachers: Returns the embeddings of the enabled teachers by name, in the order of the inputs.
    """

    ids: Sequence[str]
    examples: Sequence[Example]
    dim: int
    teachers: Callable[[], Mapping[str, TeacherTables]]


RIVALS: Plugins[Callable[[RivalData], Model]] = Plugins("computed rival", __name__)
