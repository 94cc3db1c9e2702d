"""The smoke test: a published bundle must give the embeddings that were stored with it for a few examples."""

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
"""Relative to the largest number in the embeddings; greater than the float32 rounding differences of processors."""


def sample(kind: Modality) -> list[Example]:
    """Return the sample of a modality: `<name>.csv`, or `<name>.parquet` if the examples are bytes."""
    folder = importlib.resources.files("polydistill.data.modalities") / "samples"
    files = [folder / f"{kind.name}{suffix}" for suffix in (".csv", ".parquet")]
    found = next((file for file in files if file.is_file()), files[0])
    with importlib.resources.as_file(found) as path:
        return [kind.coerce(example) for example in read_table(path)[kind.column]]


def write_smoke_test(path: Path, bundle: Path, kind: Modality) -> None:
    """Write the first examples of a modality's sample and a bundle's embeddings of them, as JSON.

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
    """Compare a bundle's answers with those that `write_smoke_test` wrote when it was published."""
    content = json.loads(path.read_text(encoding="utf-8"))
    expected = np.asarray(content["embeddings"], dtype=np.float32)
    if answers.shape != expected.shape:
        because = f"the published bundle answers with shape {answers.shape}, not {expected.shape}."
        return Finding(holds=False, because=because)
    if not np.isfinite(answers).all():
        return Finding(holds=False, because="the published bundle answers with NaN or infinity.")
    difference = float(np.abs(answers - expected).max())
    allowed = TOLERANCE * max(float(np.abs(expected).max()), 1e-12)
    examples = f"{len(expected)} examples in a fresh process"
    because = f"the published bundle gives the same answers to {examples}."
    if difference > allowed:
        because = (
            f"the published bundle's answers to {examples} differ from those at its publication "
            f"by up to {difference:.3g}, and {allowed:.3g} is allowed."
        )
    return Finding(holds=difference <= allowed, because=because)
