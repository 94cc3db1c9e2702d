"""Completion of a user's table: removal of unusable rows, and ids, groups and splits that the table lacks."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from polydistill.contracts import Example, Modality
from polydistill.data.near_duplicates import connected_groups, links_of_equal, near_duplicate_pairs
from polydistill.errors import DataError

TEST_SHARE = 0.2
ROWS_TO_CHECK = 100
"""The number of rows whose ids decide whether the ids of a corpus are content ids."""


@dataclass(frozen=True)
class Dropped:
    """Numbers of rows of a user's table that cannot be used.

    Attributes:
        empty: Rows without an example or a label.
        repeated: Rows with the same example and label as an earlier row.
        contradictory: Rows whose example has different labels in different rows.

    Examples:
        >>> print(Dropped(empty=3, repeated=1))
        3 empty, 1 repeated
    """

    empty: int = 0
    repeated: int = 0
    contradictory: int = 0

    def __bool__(self) -> bool:
        return bool(self.empty or self.repeated or self.contradictory)

    def __str__(self) -> str:
        reasons = ("empty", "repeated", "with several labels")
        counts = (self.empty, self.repeated, self.contradictory)
        return ", ".join(f"{n:,} {reason}" for n, reason in zip(counts, reasons, strict=True) if n)


def as_examples(
    values: Iterable[object], modality: Modality, each: str = "Example", *, start: int = 1
) -> list[Example]:
    """Convert a user's values to examples of the modality.

    Raises:
        DataError: The modality refuses a value; the message names it by `each` and its number.
    """
    examples = []
    for number, value in enumerate(values, start):
        try:
            examples.append(modality.coerce(value))
        except DataError as error:
            raise type(error)(f"{each} {number}: {error}") from error
    return examples


def has_content_ids(frame: pd.DataFrame, column: str, modality: Modality) -> bool:
    """Return whether the column `id` of a corpus holds content ids; a user's own ids are not content ids."""
    if "id" not in frame:
        return False
    shown = frame.loc[frame[column].notna(), ["id", column]].head(ROWS_TO_CHECK)
    pairs = shown.itertuples(index=False, name=None)
    return shown.empty or any(name == modality.content_id(example) for name, example in pairs)


def usable_rows(
    frame: pd.DataFrame, columns: Sequence[str], modality: Modality, path: str, label: str = ""
) -> tuple[pd.DataFrame, Dropped]:
    """Return the usable rows, with a column `id` of content ids, and the numbers of dropped rows.

    Args:
        frame: The user's table.
        columns: The columns of examples: one, or two for pairs. Their values are converted to examples.
        modality: The modality of the examples.
        path: The path of the table, for messages.
        label: The column of labels, if the table has one.

    Returns:
        The rows in their order, with a new index from 0, and the numbers of dropped rows.

    Raises:
        DataError: The modality refuses a value; the message names it.
    """
    labels = [label] if label else []
    is_empty = frame[[*columns, *labels]].isna().any(axis=1)
    for column in columns:
        is_empty |= frame[column].map(
            lambda cell: isinstance(cell, str | bytes) and not cell.strip()
        )
    kept = frame[~is_empty].copy()
    for column in columns:
        examples = as_examples(kept[column], modality, f"{path}, column {column!r}, example")
        kept[column] = pd.Series(examples, index=kept.index, dtype=object)
    kept["id"] = _content_ids(kept, columns, modality)
    is_repeated = kept.duplicated(["id", *labels])
    kept = kept[~is_repeated]
    is_contradictory = kept.duplicated("id", keep=False)
    dropped = Dropped(int(is_empty.sum()), int(is_repeated.sum()), int(is_contradictory.sum()))
    return kept[~is_contradictory].reset_index(drop=True), dropped


def groups_of(examples: Sequence[Example], modality: Modality) -> list[str]:
    """Return the group of each example, `(n_examples,)`. A split must keep each group on one side.

    Two examples are in one group if they have equal near keys or equal split keys (such as scaffolds), or, for a
    modality with a `near_similarity`, if their near keys are at least that similar. The name of a group is the
    content id of its first example.

    Examples:
        >>> from polydistill.data.modalities import MODALITIES
        >>> groups = groups_of(["A cat.", "a cat", "two dogs"], MODALITIES.get("text")())
        >>> groups[0] == groups[1], groups[0] == groups[2]
        (True, False)
    """
    keys = [modality.near_key(example) for example in examples]
    split_keys = (modality.split_key(example) for example in examples)
    own = [f"row {row}" if key is None else key for row, key in enumerate(split_keys)]
    links = [links_of_equal(keys), links_of_equal(own)]
    if modality.near_similarity is not None:
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        pairs = near_duplicate_pairs(list(first), modality.near_similarity)
        links.append(np.array(list(first.values()), dtype=np.int64)[pairs])
    components = connected_groups(len(keys), *links)
    names: dict[int, str] = {}
    return [
        names.setdefault(int(component), modality.content_id(example))
        for component, example in zip(components, examples, strict=True)
    ]


def split_of(groups: Sequence[str], labels: Sequence[object] | None = None) -> list[str]:
    """Return `train` or `test` for each row, `(n_rows,)`; about a fifth of the groups, chosen by hash, is `test`.

    Args:
        groups: The group of each row, `(n_rows,)`; all rows of a group are on one side.
        labels: The class of each row; if no training row has a class, all groups with this class move to `train`.

    Examples:
        >>> split_of(["a", "b", "a", "c", "d"])
        ['test', 'train', 'test', 'train', 'train']
    """
    draws = {group: draw("split", group) for group in groups}
    test = {group for group, number in draws.items() if number < TEST_SHARE}
    if not test and len(draws) > 1:
        test = {min(draws, key=lambda group: draws[group])}
    if labels is not None:
        pairs = list(zip(groups, map(str, labels), strict=True))
        trained = {label for group, label in pairs if group not in test}
        test -= {group for group, label in pairs if label not in trained}
    return ["test" if group in test else "train" for group in groups]


def draw(purpose: str, group: str) -> float:
    """Return a number in [0, 1) that depends only on the purpose and the group's name."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {group}".encode()).digest()[:8], "big") / 2**64


def _content_ids(frame: pd.DataFrame, columns: Sequence[str], modality: Modality) -> list[str]:
    names = [[modality.content_id(one) for one in frame[column]] for column in columns]
    if len(names) == 1:
        return names[0]
    pairs = (" ".join(pair) for pair in zip(*names, strict=True))
    return [hashlib.sha256(pair.encode()).hexdigest()[:32] for pair in pairs]
