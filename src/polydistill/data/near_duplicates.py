"""An exact search for near-duplicates, by the Jaccard index of character 5-grams, and groups of linked rows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

COMPARED = 20_000
"""The number of characters at the start of a near key that are compared."""
N = 5
THRESHOLD = 0.8
CHUNK = 5_000  # the number of keys that are compared with all keys at once, to bound memory
ROUNDING = 1e-9

Ints = NDArray[np.int64]


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
    return KeySearch(keys, threshold).pairs()


class KeySearch:
    """The search of `near_duplicate_pairs`, with its cost known before it starts.

    Args:
        keys: See `near_duplicate_pairs`.
        threshold: See `near_duplicate_pairs`.
    """

    def __init__(self, keys: Sequence[str], threshold: float) -> None:
        self._n_keys, self._threshold = len(keys), threshold
        matrix = _rarest_first(_counted(keys))
        self._sizes = np.diff(matrix.indptr).astype(np.int64)
        rows = np.repeat(np.arange(len(keys)), self._sizes)
        n_rarest = self._sizes - np.ceil(threshold * self._sizes - ROUNDING).astype(np.int64) + 1
        is_rarest = np.arange(matrix.nnz) - matrix.indptr[rows] < n_rarest[rows]
        places = rows[is_rarest], matrix.indices[is_rarest]
        self._matrix = matrix
        self._rarest = csr_array((matrix.data[is_rarest], places), shape=matrix.shape)
        self.n_candidates = int((np.bincount(places[1]).astype(np.int64) ** 2).sum())
        """The number of pairs that share one of their rarest grams: for each gram, both orders, and keys with themselves."""

    def pairs(self) -> Ints:
        """Return the pairs; see `near_duplicate_pairs`."""
        found = [np.empty((0, 2), dtype=np.int64)]
        for start in range(0, self._n_keys, CHUNK):
            sharing = (self._rarest[start : start + CHUNK] @ self._rarest.T).tocoo()
            one, other = sharing.row + start, sharing.col
            least, greatest = np.sort([self._sizes[one], self._sizes[other]], axis=0)
            fits = (one < other) & (least >= self._threshold * greatest - ROUNDING)
            one, other = one[fits], other[fits]
            shared = np.asarray(self._matrix[one].multiply(self._matrix[other]).sum(axis=1)).ravel()
            total = self._sizes[one] + self._sizes[other]
            near = shared >= self._threshold * (total - shared) - ROUNDING
            found.append(np.stack([one[near], other[near]], axis=1))
        pairs = np.concatenate(found)
        return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _counted(keys: Sequence[str]) -> csr_array:
    """Return the grams of each key, `(n_keys, n_grams)`, 0 or 1."""
    from sklearn.feature_extraction.text import CountVectorizer

    if not keys:  # scikit-learn refuses an empty vocabulary
        return csr_array((0, 0), dtype=np.int32)
    counts = CountVectorizer(analyzer=grams, binary=True, dtype=np.int32).fit_transform(keys)
    return csr_array(counts)


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


def grams(key: str) -> set[str]:
    """Return the character n-grams of the first `COMPARED` characters: a cell may hold a whole file."""
    key = key[:COMPARED]
    return {key[start : start + N] for start in range(max(len(key) - N + 1, 1))}


def _rarest_first(matrix: csr_array) -> csr_array:
    """Return the matrix with its columns sorted by their number of entries, the fewest first."""
    order = np.argsort(np.bincount(matrix.indices), kind="stable")
    ordered = matrix[:, order]
    ordered.sort_indices()
    return ordered
