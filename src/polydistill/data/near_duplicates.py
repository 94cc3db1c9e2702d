"""Exact search for near-duplicates by the Jaccard index of their character 5-grams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

N = 5
THRESHOLD = 0.8
CHUNK = 500_000  # pairs verified at once, to bound memory

Ints = NDArray[np.int64]


def near_duplicate_pairs(keys: Sequence[str], threshold: float = THRESHOLD) -> Ints:
    """Return the pairs of keys whose sets of character 5-grams have a Jaccard index ≥ `threshold`.

    The search is exact. It uses prefix filtering: two sets with this similarity share at least one of their rarest
    elements, so only keys that share one of these are compared. A key shorter than five characters is one gram.

    Args:
        keys: Distinct keys, such as those of `Modality.near_key`.
        threshold: The least Jaccard index, in (0, 1].

    Returns:
        `(n_pairs, 2)`: sorted pairs of indices into `keys`, the smaller index first.

    References:
        Chaudhuri, Ganti and Kaushik 2006, "A primitive operator for similarity joins in data cleaning".

    Examples:
        >>> near_duplicate_pairs(["a python library for maps", "a python library for map", "a cat"])
        array([[0, 1]])
    """
    rows, hashes = _grams(keys)
    _, grams, frequency = np.unique(hashes, return_inverse=True, return_counts=True)
    rank = np.empty(len(frequency), dtype=np.int64)
    rank[np.lexsort((np.arange(len(frequency)), frequency))] = np.arange(len(frequency))
    order = np.lexsort((rank[grams], rows))
    rows, grams = rows[order], rank[grams][order]  # the grams of each key, the rarest first
    sizes = np.bincount(rows, minlength=len(keys)).astype(np.int64)
    starts = np.cumsum(sizes) - sizes
    prefix = sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1
    in_prefix = np.arange(len(rows)) - starts[rows] < prefix[rows]
    candidates = _candidates(rows[in_prefix], grams[in_prefix], sizes, threshold)
    matrix = csr_array(
        (np.ones(len(rows), dtype=np.int32), grams, np.append(starts, len(rows))),
        shape=(len(keys), max(len(frequency), 1)),
    )
    return _verified(matrix, sizes, candidates, threshold)


def connected_groups(n: int, *links: Ints) -> Ints:
    """Return the connected component of each of `n` nodes, `(n,)`, for links `(n_links, 2)`.

    Examples:
        >>> connected_groups(4, np.array([[0, 2]]), np.array([[2, 3]]))
        array([0, 1, 0, 0])
    """
    pairs = np.concatenate([np.empty((0, 2), dtype=np.int64), *links])
    graph = csr_array(
        (np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n)
    )
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def links_of_equal(values: Sequence[str]) -> Ints:
    """Return `(n, 2)`: the index of the first equal value, and the value's own index."""
    first: dict[str, int] = {}
    return np.array(
        [[first.setdefault(value, index), index] for index, value in enumerate(values)],
        dtype=np.int64,
    ).reshape(-1, 2)


def _grams(keys: Sequence[str]) -> tuple[Ints, NDArray[np.uint64]]:
    """Return the distinct (key, hashed gram) pairs of all keys."""
    padded = [key.ljust(N, "\0") for key in keys]
    lengths = np.array([len(key) for key in padded], dtype=np.int64)
    text = "".join(padded).encode("utf-32-le", "surrogatepass")
    points = np.frombuffer(text, dtype=np.uint32).astype(np.uint64)
    if not len(points):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64)
    n_windows = len(points) - N + 1
    hashes = np.zeros(n_windows, dtype=np.uint64)
    for offset in range(N):  # 64-bit polynomial hash with an odd multiplier; it wraps on purpose
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + points[offset : offset + n_windows]
    owner = np.repeat(np.arange(len(keys)), lengths)
    inside = owner[:n_windows] == owner[N - 1 :]
    rows, hashes = owner[:n_windows][inside], hashes[inside]
    order = np.lexsort((hashes, rows))
    rows, hashes = rows[order], hashes[order]
    new = np.append(True, (np.diff(rows) != 0) | (hashes[1:] != hashes[:-1]))
    return rows[new], hashes[new]


def _candidates(rows: Ints, grams: Ints, sizes: Ints, threshold: float) -> Ints:
    """Return the pairs of rows that share a gram and whose sizes permit the threshold."""
    order = np.lexsort((rows, sizes[rows], grams))
    rows, grams = rows[order], grams[order]
    found = [np.empty(0, dtype=np.int64)]
    alive, step = np.arange(len(rows)), 1
    while len(alive := alive[alive + step < len(rows)]):
        other = alive + step
        fits = grams[alive] == grams[other]
        fits &= sizes[rows[alive]] >= threshold * sizes[rows[other]] - 1e-9
        alive, other = alive[fits], other[fits]  # sorted by size: a pair that does not fit is final
        low, high = np.minimum(rows[alive], rows[other]), np.maximum(rows[alive], rows[other])
        found.append(low * len(sizes) + high)
        step += 1
    codes = np.unique(np.concatenate(found))
    return np.stack(np.divmod(codes, max(len(sizes), 1)), axis=1)


def _verified(matrix: csr_array, sizes: Ints, pairs: Ints, threshold: float) -> Ints:
    kept = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        shared = np.asarray(matrix[part[:, 0]].multiply(matrix[part[:, 1]]).sum(axis=1)).ravel()
        union = sizes[part[:, 0]] + sizes[part[:, 1]] - shared
        kept.append(part[shared >= threshold * union - 1e-9])
    return np.concatenate(kept)
