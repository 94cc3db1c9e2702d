"""Which examples of the tasks the training corpus contains too: the same, or nearly the same."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from polydistill.config.data import TaskParams
from polydistill.contracts import Example, Modality
from polydistill.data.corpora import StoredCorpus
from polydistill.data.ids import unpack_ids
from polydistill.data.minhash import similar_rows
from polydistill.data.smiles import read_molecule
from polydistill.data.tables import sides
from polydistill.project.files import write_atomic

NAMES = {
    "text": "at least 0.8 of the character 5-grams of both in common, in any case and punctuation",
    "vision": "equal perceptual hash",
    "molecules": "equal parent compound or InChIKey, without salts, charges and stereochemistry",
}
"""What counts as nearly the same, by modality."""
NEAR_ROWS = 300_000
"""Maximum number of rows of the corpus that are searched for examples that are nearly the same."""
CHUNK = 100_000
FORMAT = 2
"""Version of the search, which a kept result depends on."""
SKELETON = 14
"""Number of characters of an InChIKey that describe the skeleton: tautomers and stereoisomers share them."""


@dataclass(frozen=True)
class Overlap:
    """How many examples of a task the corpus contains. Both examples of a pair must be there.

    Attributes:
        n: Number of examples of the task.
        exact: Number of those whose content is in the corpus.
        near: Number of the others that are nearly the same as a row of the corpus.
    """

    n: int
    exact: int
    near: int


KEPT = TypeAdapter(dict[str, Overlap])


def overlaps(
    corpus: StoredCorpus,
    frames: Mapping[str, pd.DataFrame],
    tasks: Mapping[str, TaskParams],
    kind: Modality,
) -> dict[str, Overlap]:
    """Search the corpus for every example of the tasks by content, and its first rows for nearly the same examples.

    Args:
        corpus: The corpus that the student was trained on.
        frames: The tables of the available tasks.
        tasks: The settings of the tasks.
        kind: The modality.
    """
    examples: dict[str, Example] = {}
    rows: dict[str, list[list[str]]] = {}
    for name, frame in frames.items():
        rows[name] = []
        for row in frame[sides(tasks[name], kind)].itertuples(index=False):
            by_id = {kind.content_id(one): one for one in row}
            rows[name].append(list(by_id))
            examples |= by_id
    same = set[str]()
    for start in range(0, len(corpus), CHUNK):
        same |= examples.keys() & set(unpack_ids(corpus.ids[start : start + CHUNK]))
    others = {content: one for content, one in examples.items() if content not in same}
    either = same | _near(corpus.examples, others, kind)
    found = {}
    for name, task in rows.items():
        exact, near = (sum(held.issuperset(row) for row in task) for held in (same, either))
        found[name] = Overlap(len(task), exact, near - exact)
    return found


def known_overlaps(note: Path, key: str) -> dict[str, Overlap] | None:
    """Return the overlaps that `keep_overlaps` wrote with this key, or None."""
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
        return KEPT.validate_python(content["tasks"]) if content["key"] == key else None
    except (FileNotFoundError, ValueError, LookupError, TypeError):  # missing or damaged
        return None


def keep_overlaps(note: Path, key: str, found: Mapping[str, Overlap]) -> None:
    """Write overlaps to a file, because the near keys of molecules take milliseconds each."""
    content = {"key": key, "tasks": {name: asdict(one) for name, one in found.items()}}
    write_atomic(note, json.dumps(content, indent=1, sort_keys=True) + "\n")


def overlap_key(card: Path, frames: Mapping[str, pd.DataFrame], kind: Modality) -> str:
    """Return a hash of the corpus, by its card, and of the examples of the tasks."""
    digest = hashlib.sha256(card.read_bytes())
    for name, frame in sorted(frames.items()):
        digest.update(f"\x1e{FORMAT} {name}".encode())
        examples = frame[[one for one in frame if str(one).startswith(kind.column)]]
        digest.update(pd.util.hash_pandas_object(examples, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _near(corpus: Iterable[Example], examples: Mapping[str, Example], kind: Modality) -> set[str]:
    """Return the content ids of the examples that are nearly the same as one of the first rows of the corpus."""
    first = islice(corpus, NEAR_ROWS)
    if kind.near_similarity is not None:
        is_near = similar_rows([*examples.values()], first, kind, kind.near_similarity)
        return {content for content, near in zip(examples, is_near, strict=True) if near}
    near_keys = _near_keys(kind)
    keys = {content: near_keys(one) for content, one in examples.items()}
    wanted, alike = set[str]().union(*keys.values()), set[str]()
    for example in first:
        alike |= wanted & near_keys(example)
    return {content for content, own in keys.items() if own & alike}


def _near_keys(kind: Modality) -> Callable[[Example], set[str]]:
    """Return a function from an example to its near keys."""
    if kind.name != "molecules":
        return lambda example: {kind.near_key(example)}
    return lambda example: {kind.near_key(example), _skeleton(example)} - {""}


def _skeleton(smiles: Example) -> str:
    """Return the part of a molecule's InChIKey for its skeleton; empty if it has none.

    Examples:
        >>> _skeleton("Oc1ccccn1") == _skeleton("O=c1cccc[nH]1"), _skeleton("no molecule")
        (True, '')
    """
    molecule = read_molecule(smiles)
    if molecule is None:
        return ""
    from rdkit.Chem import inchi, rdBase

    with rdBase.BlockLogs():  # a warning for every undefined stereocentre
        to_key: Callable[[Any], str] = inchi.MolToInchiKey
        return to_key(molecule)[:SKELETON]
