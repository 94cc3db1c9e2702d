"""A few examples and what the student answers to them: what a published bundle must answer as well."""

from __future__ import annotations

import importlib.resources
import json
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from polydistill.contracts import Example, FloatArray, Modality
from polydistill.data.tables import read_table
from polydistill.registry.evidence import Finding
from polydistill.students import encode, load_student

N_EXAMPLES = 8
TOLERANCE = 1e-4
"""Of the largest number in the embeddings: more than another processor changes float32 sums by."""


@dataclass(frozen=True)
class SmokeTest:
    """What was asked of the student when it was published.

    Attributes:
        examples: Of the modality's sample.
        embeddings: One row each.
    """

    examples: tuple[Example, ...]
    embeddings: tuple[tuple[float, ...], ...]


def sample(kind: Modality) -> list[Example]:
    """Return the examples that a modality ships with: `<name>.csv`, or `<name>.parquet` where they are bytes."""
    folder = importlib.resources.files("polydistill.data.modalities") / "samples"
    files = [folder / f"{kind.name}{suffix}" for suffix in (".csv", ".parquet")]
    found = next((file for file in files if file.is_file()), files[0])
    with importlib.resources.as_file(found) as path:
        return [kind.coerce(example) for example in read_table(path)[kind.column]]


def make_smoke_test(bundle: Path, kind: Modality) -> SmokeTest:
    """Ask a bundle for embeddings of the first few examples of its modality's sample."""
    examples = sample(kind)[:N_EXAMPLES]
    rows = encode(load_student(bundle), examples)
    return SmokeTest(tuple(examples), tuple(tuple(map(float, row)) for row in rows))


def write_smoke_test(path: Path, smoke_test: SmokeTest) -> None:
    """Write it as JSON."""
    tree = {
        **asdict(smoke_test),
        "examples": [_as_json(example) for example in smoke_test.examples],
    }
    path.write_text(json.dumps(tree, sort_keys=True) + "\n", encoding="utf-8")


def read_smoke_test(path: Path) -> SmokeTest:
    """Read what `write_smoke_test` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return SmokeTest(
        tuple(map(_from_json, content["examples"])), tuple(map(tuple, content["embeddings"]))
    )


def _as_json(example: Example) -> str | dict[str, str]:
    """Return a string as it is, and bytes in base64."""
    return example if isinstance(example, str) else {"base64": b64encode(example).decode("ascii")}


def _from_json(value: str | dict[str, str]) -> Example:
    return value if isinstance(value, str) else b64decode(value["base64"])


def same_answers(smoke_test: SmokeTest, answers: FloatArray) -> Finding:
    """Say whether a bundle answers as it did when it was published."""
    expected = np.asarray(smoke_test.embeddings, dtype=np.float32)
    if answers.shape != expected.shape:
        because = f"the published bundle answers with shape {answers.shape}, not {expected.shape}."
        return Finding(holds=False, because=because)
    if not np.isfinite(answers).all():
        return Finding(holds=False, because="the published bundle answers with NaN or infinity.")
    difference = float(np.abs(answers - expected).max())
    allowed = TOLERANCE * max(float(np.abs(expected).max()), 1e-12)
    asked = f"{len(smoke_test.examples)} examples in a fresh process"
    if difference > allowed:
        because = (
            f"the published bundle answers {asked} otherwise than when it was published: "
            f"by up to {difference:.3g}, and {allowed:.3g} is allowed."
        )
        return Finding(holds=False, because=because)
    return Finding(holds=True, because=f"the published bundle answers {asked} as it did then.")
