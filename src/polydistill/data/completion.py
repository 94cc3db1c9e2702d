"""Columns that a table of one's own may leave out: ids, groups and splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polydistill.contracts import Example, Modality
from polydistill.data.near_duplicates import (
    connected_groups,
    links_of_equal,
    near_duplicate_pairs,
)


def groups_of(examples: Sequence[Example], modality: Modality) -> list[str]:
    """Return each example's group, `(n_examples,)`: near-duplicates must be on the same side of a split.

    Examples are connected by equal near keys, by equal split keys (a scaffold, say), and where the modality knows a
    `near_similarity` by near keys that are that similar. A group is named after the content id of its first
    example.

    Examples:
        >>> from polydistill.data.modalities import MODALITIES
        >>> groups = groups_of(["A cat.", "a cat", "two dogs"], MODALITIES.get("text")())
        >>> groups[0] == groups[1], groups[0] == groups[2]
        (True, False)
    """
    keys = [modality.near_key(example) for example in examples]
    links = [links_of_equal(keys)]
    split_keys = [modality.split_key(example) for example in examples]
    if any(key is not None for key in split_keys):
        own = [key if key is not None else f"row {row}" for row, key in enumerate(split_keys)]
        links.append(links_of_equal(own))
    if modality.near_similarity is not None:
        distinct = list(dict.fromkeys(keys))
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        rows = np.array([first[key] for key in distinct], dtype=np.int64)
        links.append(rows[near_duplicate_pairs(distinct, modality.near_similarity)])
    components = connected_groups(len(keys), *links)
    named: dict[int, str] = {}
    return [
        named.setdefault(int(component), modality.content_id(example))
        for component, example in zip(components, examples, strict=True)
    ]
