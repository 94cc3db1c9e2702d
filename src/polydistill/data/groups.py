"""Groups of near-duplicates by an exact search on the Jaccard index of character 5-grams, and splits by group."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from polydistill.contracts import Example, Modality

COMPARED = 20_000
"""The number of characters at the start of a near key that are compared."""
N = 5
THRESHOLD = 0.8
CHUNK = 5_000  # the number of keys that are compared with all keys at once, to bound memory
ROUNDING = 1e-9
TEST_SHARE = 0.2

Ints = NDArray[np.int64]


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


def near_duplicate_pairs(keys: Sequence[str], threshold: float = THRESHOLD) -> Ints:
    """Return the pairs of keys whose sets of character 5-grams have a Jaccard index ≥ `threshold`.

    The search is exact. It uses prefix filtering: two sets with this similarity share at least one of their rarest
    elements, so only keys that share one of these are compared. A key shorter than five characters is one gram.

    Args:
        keys: Distinct keys, such as those of `Modality.near_key`.
        threshold: The minimum Jaccard index of a pair, in (0, 1].

    Returns:
        `(n_pairs, 2)`: sorted pairs of indices into `keys`, the smaller index first.

    References:
        Chaudhuri, Ganti and Kaushik 2006, "A primitive operator for similarity joins in data cleaning".

    Examples:
        >>> near_duplicate_pairs(["a python library for maps", "a python library for map", "a cat"])
        array([[0, 1]])
    """
    from sklearn.feature_extraction.text import CountVectorizer

    found = [np.empty((0, 2), dtype=np.int64)]
    if not keys:
        return found[0]
    counted = CountVectorizer(analyzer=_grams, binary=True, dtype=np.int32).fit_transform(keys)
    matrix = _rarest_first(csr_array(counted))
    sizes = np.diff(matrix.indptr).astype(np.int64)
    rows = np.repeat(np.arange(len(keys)), sizes)
    n_rarest = sizes - np.ceil(threshold * sizes - ROUNDING).astype(np.int64) + 1
    is_rarest = np.arange(matrix.nnz) - matrix.indptr[rows] < n_rarest[rows]
    rarest = csr_array(
        (matrix.data[is_rarest], (rows[is_rarest], matrix.indices[is_rarest])), shape=matrix.shape
    )
    for start in range(0, len(keys), CHUNK):
        sharing = (rarest[start : start + CHUNK] @ rarest.T).tocoo()
        one, other = sharing.row + start, sharing.col
        least, greatest = np.sort([sizes[one], sizes[other]], axis=0)
        fits = (one < other) & (least >= threshold * greatest - ROUNDING)
        one, other = one[fits], other[fits]
        shared = np.asarray(matrix[one].multiply(matrix[other]).sum(axis=1)).ravel()
        near = shared >= threshold * (sizes[one] + sizes[other] - shared) - ROUNDING
        found.append(np.stack([one[near], other[near]], axis=1))
    pairs = np.concatenate(found)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def connected_groups(n: int, *links: Ints) -> Ints:
    """Return the connected component of each of `n` nodes, `(n,)`, for links `(n_links, 2)`.

    Examples:
        >>> connected_groups(4, np.array([[0, 2]]), np.array([[2, 3]]))
        array([0, 1, 0, 0])
    """
    pairs = np.concatenate([np.empty((0, 2), dtype=np.int64), *links])
    graph = csr_array((np.ones(len(pairs), dtype=np.int8), pairs.T), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def links_of_equal(values: Sequence[str]) -> Ints:
    """Return one link per value, `(n, 2)`: the index of the first equal value, and the index of the value itself."""
    first: dict[str, int] = {}
    links = [(first.setdefault(value, index), index) for index, value in enumerate(values)]
    return np.array(links, dtype=np.int64).reshape(-1, 2)


def _grams(key: str) -> set[str]:
    """Return the character n-grams of the first `COMPARED` characters: a cell may hold a whole file."""
    key = key[:COMPARED]
    return {key[start : start + N] for start in range(max(len(key) - N + 1, 1))}


def _rarest_first(matrix: csr_array) -> csr_array:
    """Return the matrix with its columns sorted by their number of entries, the fewest first."""
    order = np.argsort(np.bincount(matrix.indices), kind="stable")
    ordered = matrix[:, order]
    ordered.sort_indices()
    return ordered
