"""Brings a user's corpus to its canonical form, part by part, with a few numbers per row in memory."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from polydistill.config.data import CorpusParams
from polydistill.contracts import Example, Modality
from polydistill.data.columns import Column, MappedTable, TableWriter, id_array
from polydistill.data.corpora import CARD, FILE, StoredCorpus, corpus_settings, stored_corpus
from polydistill.data.files import located, read_chunks
from polydistill.data.groups import first_of_group
from polydistill.data.ids import ID, ID_BYTES, Ids, pack_ids, unpack_ids
from polydistill.data.tables import CorpusReader, Dropped, as_strings, require_rows
from polydistill.errors import DataError, short
from polydistill.project.files import put_in_place, sha256_of, write_atomic

WRITTEN_ROWS = 16_384
CHECKED_ROWS = 131_072
"""The number of rows that are checked at once."""
STRINGS, BYTES = pa.large_string(), pa.large_binary()
EXAMPLE = (str, bytes, type(None))
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Preparation:
    """A corpus that is not yet in its final folder, with what the checks of its rows need.

    Attributes:
        folder: The folder of unfinished work.
        stored: The rows.
        dropped: The numbers of rows that are not used, by reason; empty for a corpus with content ids.
        named: The ids in the user's table, `(n_rows,)`, which should be content ids; None: they are not.
        n_same: The number of rows with the same example, `(n_rows,)`.
    """

    folder: Path
    stored: StoredCorpus
    dropped: Dropped
    named: Sequence[str | None] | None
    n_same: Ints

    def frames(self, column: str) -> Iterator[pd.DataFrame]:
        """Yield the rows in parts, with the columns `id`, `column` (the example), `group` and `n_same_example`.

        The index counts the rows from 0.
        """
        for start in range(0, len(self.stored), CHECKED_ROWS):
            rows = slice(start, min(start + CHECKED_ROWS, len(self.stored)))
            ids = unpack_ids(self.stored.ids[rows]) if self.named is None else self.named[rows]
            columns = {
                "id": ids,
                column: self.stored.examples[rows],
                "group": self.stored.groups[rows],
            }
            frame = pd.DataFrame(columns, index=pd.RangeIndex(rows.start, rows.stop), dtype=object)
            yield frame.assign(n_same_example=self.n_same[rows])

    def publish(self, target: Path, params: CorpusParams) -> None:
        """Move the corpus to its final folder."""
        made = self.folder / "made"
        made.mkdir()
        (self.folder / FILE).replace(made / FILE)
        card = {
            "rows": len(self.stored),
            "settings": corpus_settings(params),
            "sha256": sha256_of(made / FILE),
        }
        write_atomic(made / CARD, json.dumps(card, indent=1, sort_keys=True) + "\n")
        put_in_place(made, target)


@contextmanager
def prepare_corpus(
    root: Path,
    params: CorpusParams,
    modality: Modality,
    work: Path,
    watch: Callable[[Sequence[Example]], None] = lambda _: None,
) -> Iterator[Preparation]:
    """Bring a corpus to its canonical form, and yield it for checks; `Preparation.publish` keeps it.

    See `tables.corpus_table` for the rows that are used, of which the first `params.rows` are taken, and
    `groups.first_of_group` for the groups of a table without the column `group`.

    Args:
        root: The project folder.
        params: The settings of the corpus.
        modality: The modality of the examples.
        work: The folder of unfinished work, which is removed.
        watch: Called with all usable examples, in parts, also with those after `params.rows`.

    Raises:
        MissingDataError: There is no such file.
        DataError: A file is damaged, a column is missing, the modality refuses an example, or there are fewer than
            `params.rows` usable rows.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield _prepare(  # no variable holds the rows, whose file is mapped, while the caller works
            _read_rows(root, params, modality, work / "rows.arrow", watch), params, modality, work
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)


@dataclass(frozen=True)
class _Rows:
    """All usable rows of the user's files.

    Attributes:
        ids: The content id of each row.
        table: The columns `example`, `name` (the id in the user's table) and `group`.
        are_content_ids: Whether the ids in the user's table are content ids.
        n_empty: The number of rows that were dropped.
    """

    ids: Ids
    table: MappedTable
    are_content_ids: bool
    n_empty: int


def _read_rows(
    root: Path,
    params: CorpusParams,
    modality: Modality,
    file: Path,
    watch: Callable[[Sequence[Example]], None],
) -> _Rows:
    reader, ids, kind = CorpusReader(params, modality), [np.empty(0, ID)], None
    wanted = (params.column or modality.column, "id", "group")
    with TableWriter(file) as writer:
        for part in read_chunks(located(root, params.path), params.encoding, columns=wanted):
            rows = reader.read(part)
            examples = _examples(rows, params.path, modality.column)
            present = [one for one in examples if one is not None]
            watch(present)
            if reader.has_content_ids:
                own, digits = "id", [modality.content_id(one or "") for one in examples]
            else:
                own, digits = "own", rows["id"].tolist()
            ids.append(pack_ids(digits))
            kind = kind or (STRINGS if isinstance(next(iter(present), ""), str) else BYTES)
            columns = {"example": pa.array(map(STORED[kind], examples), kind)}
            for name, column in (("name", own), ("group", "group")):
                if column in rows:
                    strings = as_strings(rows, column, params.path).astype(object)
                    columns[name] = pa.array(strings.where(strings.notna(), None), STRINGS)
            writer.write(columns)
    return _Rows(
        np.concatenate(ids), MappedTable(file), bool(reader.has_content_ids), reader.n_empty
    )


def _prepare(rows: _Rows, params: CorpusParams, modality: Modality, work: Path) -> Preparation:
    _, first, which, counts = np.unique(
        rows.ids.view(f"S{ID_BYTES}"), return_index=True, return_inverse=True, return_counts=True
    )
    usable, dropped = np.arange(len(rows.ids)), Dropped()
    if not rows.are_content_ids:
        usable = np.sort(first)
        repeated = len(rows.ids) - len(usable)
        dropped = {"empty": rows.n_empty, "repeated": repeated, "contradictory": 0}
    require_rows(len(usable), params)
    kept = usable[: params.rows]
    names = Column(rows.table, "name") if "name" in rows.table.schema.names else None
    given = Column(rows.table, "group") if "group" in rows.table.schema.names else None
    kind = rows.table.schema.field("example").type
    examples = Column(rows.table, "example")
    if given is None:
        filled = _Taken(examples, kept, missing="" if kind == STRINGS else b"")
        starts = kept[first_of_group(filled, modality)]
    own = None if names is None or rows.are_content_ids else _OwnIds(names, which, counts)
    with TableWriter(work / FILE) as writer:
        for start in range(0, len(kept), WRITTEN_ROWS):
            part = slice(start, start + WRITTEN_ROWS)
            at = kept[part].tolist()
            groups = (
                unpack_ids(rows.ids[starts[part]]) if given is None else map(given.__getitem__, at)
            )
            columns = {
                "id": id_array(rows.ids[at]),
                modality.column: pa.array(map(examples.__getitem__, at), kind),
                "group": pa.array(groups, STRINGS),
            }
            if own is not None:
                columns["own_ids"] = pa.array(map(own.of, at), pa.list_(STRINGS))
            writer.write(columns)
    stored = stored_corpus(MappedTable(work / FILE), modality)
    _, which_kept, n_kept = np.unique(which[kept], return_inverse=True, return_counts=True)
    named = _Taken(names, kept) if names and rows.are_content_ids else None
    return Preparation(work, stored, dropped, named, n_kept[which_kept])


class _Taken(Sequence[Any]):
    """Some rows of a column; `missing` is in place of a missing value."""

    def __init__(self, column: Column, rows: Ints, missing: Example | None = None) -> None:
        self._column, self._rows, self._missing = column, rows, missing

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, rows: int) -> Any: ...
    @overload
    def __getitem__(self, rows: slice) -> list[Any]: ...
    def __getitem__(self, rows: int | slice) -> Any:
        if isinstance(rows, slice):
            return [self[row] for row in range(*rows.indices(len(self)))]
        value = self._column[int(self._rows[rows])]
        return self._missing if value is None else value


class _OwnIds:
    """The ids that a user's table has for each example, also those of repeated rows.

    Args:
        names: The id of each row.
        which: The number of each row's example, `(n_rows,)`.
        counts: The number of rows of each example.
    """

    def __init__(self, names: Column, which: Ints, counts: Ints) -> None:
        self._names, self._which = names, which
        self._rows, self._ends = np.argsort(which, kind="stable"), np.cumsum(counts)
        self._counts = counts

    def of(self, row: int) -> list[str]:
        """Return the ids of all rows that have the example of this row."""
        example = self._which[row]
        end = self._ends[example]
        rows = self._rows[end - self._counts[example] : end].tolist()
        return list(dict.fromkeys(name for name in map(self._names.__getitem__, rows) if name))


def _examples(rows: pd.DataFrame, path: str, column: str) -> list[Example | None]:
    """Return the examples of some rows; None for a missing one.

    Raises:
        DataError: A value is no example.
    """
    examples = [None if is_missing(one) else one for one in rows[column]]
    wrong = [number for number, one in enumerate(examples) if not isinstance(one, EXAMPLE)]
    if wrong:
        raise DataError(
            f"{path}: column {column!r} must contain examples, got {short(examples[wrong[0]])} in row "
            f"{rows.index[wrong[0]]} ({len(wrong)} such rows)."
        )
    return examples


def is_missing(cell: object) -> bool:
    """Return whether a cell is None or NaN."""
    return pd.api.types.is_scalar(cell) and bool(pd.isna(cell))  # type: ignore[call-overload]


def _as_text(example: str | bytes | None) -> str | None:
    """Return a text that can be stored: a surrogate, which no encoding can represent, becomes `?`."""
    if example is None:
        return None
    raw = example if isinstance(example, bytes) else example.encode("utf-8", "replace")
    return raw.decode("utf-8", "replace")


def _as_raw(example: str | bytes | None) -> bytes | None:
    return example.encode("utf-8", "replace") if isinstance(example, str) else example


STORED = {STRINGS: _as_text, BYTES: _as_raw}
