"""The canonical corpus: made once from a user's files by the validate stage, then memory-mapped by the other stages.

Its folder holds `corpus.arrow`, with the columns `id`, the example, `group` and, for a corpus with ids of its own,
`own_ids`; and `corpus.json`, with the checksum of that file and the settings it was made with.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polydistill.config.data import CorpusParams
from polydistill.contracts import Modality
from polydistill.data.columns import Column, IdColumn, MappedTable
from polydistill.errors import StageError
from polydistill.project.checksums import Checksums

FILE, CARD = "corpus.arrow", "corpus.json"


@dataclass(frozen=True)
class StoredCorpus:
    """The rows of a canonical corpus, on disk.

    Attributes:
        ids: The content id of each row.
        examples: The example of each row, in its canonical form.
        groups: The group of each row; rows of one group are on the same side of every split.
        own_ids: The ids that the user's table has for each example; None if it has none.
    """

    ids: IdColumn
    examples: Column
    groups: Column
    own_ids: Column | None

    def __len__(self) -> int:
        return len(self.ids)


def open_corpus(
    folder: Path, params: CorpusParams, modality: Modality, checksums: Checksums | None = None
) -> StoredCorpus:
    """Open the corpus that `preparation.prepare_corpus` made.

    Args:
        folder: The folder of the corpus.
        params: The settings of the corpus; it must have been made with the same.
        modality: The modality of the examples.
        checksums: The checksums that are already known; None: the whole file is read.

    Raises:
        StageError: The corpus is missing or damaged, or was made with other settings.
    """
    remedy = f"run `polydistill validate {modality.name}`"
    card, file = folder / CARD, folder / FILE
    if not card.exists() or not file.exists():
        raise StageError(f"No corpus in {folder}: {remedy} first.")
    try:
        content = json.loads(card.read_bytes())
        settings, sha256 = content["settings"], content["sha256"]
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise StageError(f"{card} is damaged: {remedy}.") from error
    if settings != corpus_settings(params):
        raise StageError(f"{folder} was made with other settings of the corpus: {remedy}.")
    checksums = checksums or Checksums()
    if not checksums.match(file, str(sha256)):
        raise StageError(f"{file} is damaged: {remedy}.")
    checksums.save()
    return stored_corpus(MappedTable(file), modality)


def stored_corpus(table: MappedTable, modality: Modality) -> StoredCorpus:
    """Return the corpus in a table."""
    own = Column(table, "own_ids") if "own_ids" in table.schema.names else None
    ids, examples = IdColumn(table, "id"), Column(table, modality.column)
    return StoredCorpus(ids, examples, Column(table, "group"), own)


def corpus_settings(params: CorpusParams) -> dict[str, Any]:
    """Return the settings on which the rows depend."""
    return params.model_dump(mode="json", exclude={"held_out"})
