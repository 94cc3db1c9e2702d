"""Groups of examples that a split must keep on one side, and splits by group."""

import hashlib
from collections.abc import Sequence

import numpy as np

from polydistill.contracts import Example, Modality
from polydistill.data.minhash import links_within
from polydistill.data.near_duplicates import Ints, KeySearch, connected_groups, links_of_equal

EXACT_ROWS = 150_000
"""The maximum number of examples that are compared exactly; memory and time of that search grow faster than the rows."""
EXACT_CANDIDATES = 30_000_000
"""The maximum of `KeySearch.n_candidates` for the exact search: a corpus of rows like `order 17 was sent` has more."""
TEST_SHARE = 0.2


def groups_of(examples: Sequence[Example], modality: Modality) -> list[str]:
    """Return the group of each example, `(n_examples,)`. A split must keep each group on one side.

    The name of a group is the content id of its first example; see `first_of_group`.

    Examples:
        >>> from polydistill.data.modalities import MODALITIES
        >>> groups = groups_of(["A cat.", "a cat", "two dogs"], MODALITIES.get("text")())
        >>> groups[0] == groups[1], groups[0] == groups[2]
        (True, False)
    """
    rows = first_of_group(examples, modality).tolist()
    names = {row: modality.content_id(examples[row]) for row in set(rows)}
    return [names[row] for row in rows]


def first_of_group(examples: Sequence[Example], modality: Modality) -> Ints:
    """Return the row of the first example of each example's group, `(n_examples,)`.

    Two examples are in one group if they have equal near keys or equal split keys (such as scaffolds), or, for a
    modality with a `near_similarity`, if their near keys are at least that similar. Of more than `EXACT_ROWS` examples,
    or of examples that are nearly all alike, 0.2 % of the pairs that are just as similar are not found; see
    `minhash.similar_links`.
    """
    components = _exact_groups(examples, modality) if len(examples) <= EXACT_ROWS else None
    if components is None:
        components = connected_groups(len(examples), *links_within(examples, modality))
    _, first, group = np.unique(components, return_index=True, return_inverse=True)
    return np.asarray(first[group], dtype=np.int64)


def _exact_groups(examples: Sequence[Example], modality: Modality) -> Ints | None:
    """Return the group of each example, `(n_examples,)`; None if the search would compare too many pairs."""
    keys = [modality.near_key(example) for example in examples]
    split_keys = (modality.split_key(example) for example in examples)
    own = [f"row {row}" if key is None else key for row, key in enumerate(split_keys)]
    links = [links_of_equal(keys), links_of_equal(own)]
    if modality.near_similarity is not None:
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        search = KeySearch(list(first), modality.near_similarity)
        if search.n_candidates > EXACT_CANDIDATES:
            return None
        pairs = search.pairs()
        links.append(np.array(list(first.values()), dtype=np.int64)[pairs])
    return connected_groups(len(keys), *links)


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
