"""The smoke test: a few examples, and the student's answers to them, which a published bundle must repeat."""

from __future__ import annotations

import importlib.resources
import json
from base64 import b64encode
from pathlib import Path

import numpy as np

from polydistill.contracts import Example, FloatArray, Modality
from polydistill.data.files import read_table
from polydistill.registry.evidence import Finding
from polydistill.students import encode, load_student

N_EXAMPLES = 8
TOLERANCE = 1e-4
"""Of the largest number in the embeddings: more than another processor changes float32 sums by."""


def sample(kind: Modality) -> list[Example]:
    """Return the examples that a modality ships with: `<name>.csv`, or `<name>.parquet` where they are bytes."""
    folder = importlib.resources.files("polydistill.data.modalities") / "samples"
    files = [folder / f"{kind.name}{suffix}" for suffix in (".csv", ".parquet")]
    found = next((file for file in files if file.is_file()), files[0])
    with importlib.resources.as_file(found) as path:
        return [kind.coerce(example) for example in read_table(path)[kind.column]]


def write_smoke_test(path: Path, bundle: Path, kind: Modality) -> None:
    """Write the first few examples of a modality's sample and a bundle's embeddings of them, as JSON.

    Bytes are written in base64.
    """
    examples = sample(kind)[:N_EXAMPLES]
    tree = {
        "examples": [
            one if isinstance(one, str) else {"base64": b64encode(one).decode("ascii")}
            for one in examples
        ],
        "embeddings": [list(map(float, row)) for row in encode(load_student(bundle), examples)],
    }
    path.write_text(json.dumps(tree, sort_keys=True) + "\n", encoding="utf-8")


def same_answers(path: Path, answers: FloatArray) -> Finding:
    """Return whether a bundle's answers are those that `write_smoke_test` wrote at its publication."""
    content = json.loads(path.read_text(encoding="utf-8"))
    expected = np.asarray(content["embeddings"], dtype=np.float32)
    if answers.shape != expected.shape:
        because = f"the published bundle answers with shape {answers.shape}, not {expected.shape}."
        return Finding(holds=False, because=because)
    if not np.isfinite(answers).all():
        return Finding(holds=False, because="the published bundle answers with NaN or infinity.")
    difference = float(np.abs(answers - expected).max())
    allowed = TOLERANCE * max(float(np.abs(expected).max()), 1e-12)
    asked = f"{len(expected)} examples in a fresh process"
    if difference > allowed:
        because = (
            f"the published bundle's answers to {asked} differ from those at its publication "
            f"by up to {difference:.3g}, and {allowed:.3g} is allowed."
        )
        return Finding(holds=False, because=because)
    return Finding(holds=True, because=f"the published bundle gives the same answers to {asked}.")
