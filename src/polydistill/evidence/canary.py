"""A few examples and what the student answers to them: what a published bundle must answer as well."""

from __future__ import annotations

import importlib.resources
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from polydistill.contracts import FloatArray, Modality
from polydistill.registry.evidence import Finding
from polydistill.students import encode, load_student
from polydistill.tables import read_table

N_EXAMPLES = 8
TOLERANCE = 1e-4
"""Of the largest number in the embeddings: more than another processor changes float32 sums by."""


@dataclass(frozen=True)
class Canary:
    """What was asked of the student when it was published.

    Attributes:
        examples: Texts.
        embeddings: One row each.
    """

    examples: tuple[str, ...]
    embeddings: tuple[tuple[float, ...], ...]


def sample(kind: Modality) -> list[str]:
    """Return the examples that a modality ships with."""
    folder = importlib.resources.files("polydistill.modalities") / "samples"
    with importlib.resources.as_file(folder / f"{kind.name}.csv") as path:
        return [str(example) for example in read_table(path)[kind.column]]


def make_canary(bundle: Path, kind: Modality) -> Canary:
    """Ask a bundle for embeddings of the first few examples of its modality's sample."""
    examples = sample(kind)[:N_EXAMPLES]
    rows = encode(load_student(bundle), examples)
    return Canary(tuple(examples), tuple(tuple(map(float, row)) for row in rows))


def write_canary(path: Path, canary: Canary) -> None:
    """Write it as JSON."""
    path.write_text(json.dumps(asdict(canary), sort_keys=True) + "\n", encoding="utf-8")


def read_canary(path: Path) -> Canary:
    """Read what `write_canary` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return Canary(tuple(content["examples"]), tuple(map(tuple, content["embeddings"])))


def same_answers(canary: Canary, answers: FloatArray) -> Finding:
    """Say whether a bundle answers as it did when it was published."""
    expected = np.asarray(canary.embeddings, dtype=np.float32)
    if answers.shape != expected.shape:
        because = f"the published bundle answers with shape {answers.shape}, not {expected.shape}."
        return Finding(holds=False, because=because)
    if not np.isfinite(answers).all():
        return Finding(holds=False, because="the published bundle answers with NaN or infinity.")
    difference = float(np.abs(answers - expected).max())
    allowed = TOLERANCE * max(float(np.abs(expected).max()), 1e-12)
    asked = f"{len(canary.examples)} examples in a fresh process"
    if difference > allowed:
        because = (
            f"the published bundle answers {asked} otherwise than when it was published: "
            f"by up to {difference:.3g}, and {allowed:.3g} is allowed."
        )
        return Finding(holds=False, because=because)
    return Finding(holds=True, because=f"the published bundle answers {asked} as it did then.")
