"""Groups of near-duplicates in a corpus of any size, by MinHash and locality-sensitive hashing."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import Example, Modality
from polydistill.data.ids import ID, ID_BYTES, Ids
from polydistill.data.near_duplicates import ROUNDING, Ints, connected_groups, grams

Signatures = NDArray[np.uint32]
BATCH = 16_384
SET_ROWS = 1_024
"""Number of rows whose 5-grams are in memory at once."""
BANDS, BAND_ROWS = 21, 6
"""Two sets with a Jaccard index of 0.8 share a band with a probability of 0.998, and with one of 0.4 of 0.08."""
SEED = 0
MARGIN = 0.15
"""Largest error of a Jaccard index that is estimated from two signatures: four standard deviations at 0.8."""
MOST_ROWS = 8
"""Maximum number of rows of a batch that an example is compared with because of one band. Only rows of one template have more."""


def links_within(examples: Sequence[Example], modality: Modality) -> list[Ints]:
    """Return links, each `(n_links, 2)`, between the examples of one group; see `groups.first_of_group`."""
    keys, split_keys, split_rows = np.empty(len(examples), ID), [np.empty(0, ID)], list[Ints]()
    for start, part in _batches(examples):
        keys[start : start + len(part)] = _digests([modality.near_key(one) for one in part])
        own = {
            row: key
            for row, key in enumerate(map(modality.split_key, part), start)
            if key is not None
        }
        split_keys.append(_digests([*own.values()]))
        split_rows.append(np.array([*own], dtype=np.int64))
    links = [_links_of_equal(keys)]
    rows = np.concatenate([np.empty(0, np.int64), *split_rows])
    if len(rows):
        links.append(rows[_links_of_equal(np.concatenate(split_keys))])
    if modality.near_similarity is not None:
        is_first = np.ones(len(examples), dtype=np.bool_)
        is_first[links[0][:, 1]] = False
        rows = np.flatnonzero(is_first)
        links.append(similar_links(examples, modality, modality.near_similarity, rows))
    return links


def similar_links(
    examples: Sequence[Example], modality: Modality, threshold: float, rows: Ints
) -> Ints:
    """Return pairs of examples, `(n, 2)`, whose near keys have a Jaccard index of character 5-grams ≥ `threshold`.

    Pairs that are connected by other pairs are left out. The index of each pair that shares a band of its MinHash
    signature is computed exactly.

    Args:
        examples: All examples.
        modality: The modality, which has the near keys.
        threshold: The minimum Jaccard index.
        rows: The rows of the examples to compare.

    References:
        Broder 1997, "On the resemblance and containment of documents"; Leskovec, Rajaraman and Ullman 2014, "Mining of
        massive datasets", section 3.4.
    """
    component, found = np.arange(len(rows)), [np.empty((0, 2), dtype=np.int64)]
    with TemporaryFile() as file:
        _write_bands(file, examples, rows, modality)
        for band in range(BANDS):
            pairs = _pairs_of_equal(_read_band(file, band, len(rows)))
            pairs = np.unique(pairs[component[pairs[:, 0]] != component[pairs[:, 1]]], axis=0)
            is_near = _are_similar(rows[pairs], examples, modality, threshold)
            found.append(pairs[is_near])
            component = connected_groups(len(rows), *found)
    return rows[np.concatenate(found)]


def similar_rows(
    examples: Sequence[Example], others: Iterable[Example], modality: Modality, threshold: float
) -> NDArray[np.bool_]:
    """Return which examples, `(n_examples,)`, are similar to one of `others`, as in `similar_links`.

    `others` are read in batches. Of the rows of a batch that share a band with an example, the most similar one by its
    signature is compared exactly.

    Args:
        examples: The examples, whose signatures are kept in memory: 0.5 KB each.
        others: The rows to compare them with.
        modality: The modality, which has the near keys.
        threshold: The minimum Jaccard index of the character 5-grams.
    """
    keys = [modality.near_key(one) for one in examples]
    own, is_similar = _signatures(keys), np.zeros(len(keys), dtype=np.bool_)
    left = iter(others)
    while part := list(islice(left, BATCH)):
        their_keys = [modality.near_key(one) for one in part]
        rows = np.flatnonzero(~is_similar)
        estimates, most_similar = _most_similar(own[rows], _signatures(their_keys))
        for place in np.flatnonzero(estimates >= threshold - MARGIN).tolist():
            key, their_key = keys[rows[place]], their_keys[most_similar[place]]
            is_similar[rows[place]] = _is_similar(key, their_key, threshold)
    return is_similar


def _most_similar(own: Signatures, theirs: Signatures) -> tuple[NDArray[np.float64], Ints]:
    """Return, for each signature, the most similar one that shares a band: the estimated Jaccard index, and its row."""
    estimates, rows = np.zeros(len(own)), np.zeros(len(own), dtype=np.int64)
    for band, their_band in zip(_band_hashes(own).T, _band_hashes(theirs).T, strict=True):
        order = np.argsort(their_band, kind="stable")
        first, end = (np.searchsorted(their_band[order], band, side) for side in ("left", "right"))
        for number in range(MOST_ROWS):
            sharing = np.flatnonzero(first + number < end)
            others = order[first[sharing] + number]
            found = (own[sharing] == theirs[others]).mean(axis=1)
            is_better = found > estimates[sharing]
            estimates[sharing[is_better]] = found[is_better]
            rows[sharing[is_better]] = others[is_better]
    return estimates, rows


def _are_similar(
    pairs: Ints, examples: Sequence[Example], modality: Modality, threshold: float
) -> NDArray[np.bool_]:
    keys = ([modality.near_key(examples[row]) for row in pair] for pair in pairs.tolist())
    near = [_is_similar(one, other, threshold) for one, other in keys]
    return np.array(near, dtype=np.bool_)


def _is_similar(key: str, other: str, threshold: float) -> bool:
    one, two = grams(key), grams(other)
    shared = len(one & two)
    return shared >= threshold * (len(one) + len(two) - shared) - ROUNDING


def _signatures(keys: Sequence[str]) -> Signatures:
    """Return the MinHash signature of each key, `(n_keys, BANDS * BAND_ROWS)`."""
    from rensa import RMinHash

    length = BANDS * BAND_ROWS
    found = [np.empty((0, length), dtype=np.uint32)]
    for start in range(0, len(keys), SET_ROWS):
        sets = [list(grams(key)) for key in keys[start : start + SET_ROWS]]
        found.append(np.array(RMinHash.digests_from_token_sets(sets, length, SEED), np.uint32))
    return np.concatenate(found)


def _band_hashes(signatures: Signatures) -> NDArray[np.uint64]:
    """Return the hash of each band of each signature, `(n_signatures, BANDS)`."""
    mixing = np.random.default_rng(SEED).integers(1, 2**63, BAND_ROWS, dtype=np.uint64) * 2 + 1
    hashes: NDArray[np.uint64] = (signatures.reshape(-1, BANDS, BAND_ROWS) * mixing).sum(axis=2)
    return hashes


def _write_bands(
    file: IO[bytes], examples: Sequence[Example], rows: Ints, modality: Modality
) -> None:
    """Write the hash of each band of each row's signature: for each batch of rows, `(BANDS, n_batch)`, uint64."""
    for start in range(0, len(rows), BATCH):
        keys = [modality.near_key(examples[row]) for row in rows[start : start + BATCH].tolist()]
        file.write(np.ascontiguousarray(_band_hashes(_signatures(keys)).T).tobytes())


def _read_band(file: IO[bytes], band: int, n_rows: int) -> NDArray[np.uint64]:
    """Return the hashes of one band, `(n_rows,)`."""
    parts, size = [np.empty(0, np.uint64)], np.dtype(np.uint64).itemsize
    for start in range(0, n_rows, BATCH):
        length = min(BATCH, n_rows - start)
        file.seek((start * BANDS + band * length) * size)
        parts.append(np.frombuffer(file.read(length * size), dtype=np.uint64))
    return np.concatenate(parts)


def _pairs_of_equal(values: NDArray[np.uint64]) -> Ints:
    """Return each later equal value's row with that of the equal value before it and with the first, `(n, 2)`."""
    order = np.argsort(values, kind="stable")
    first, later = _runs(values[order])
    places = np.concatenate([first, later - 1]), np.concatenate([later, later])
    return np.stack([order[place] for place in places], axis=1)


def _links_of_equal(values: Ids) -> Ints:
    """Return the row of the first equal value and the row of each later one, `(n, 2)`."""
    as_bytes = values.view(f"S{ID_BYTES}")  # of one length, so padding makes no two equal
    order = np.argsort(as_bytes, kind="stable")
    return np.stack([order[place] for place in _runs(as_bytes[order])], axis=1)


def _runs(ordered: NDArray[Any]) -> tuple[Ints, Ints]:
    """Return, for each value that equals the one before it, the place of the first equal value, and its own place."""
    is_new = np.ones(len(ordered), dtype=np.bool_)
    is_new[1:] = ordered[1:] != ordered[:-1]
    starts, later = np.flatnonzero(is_new), np.flatnonzero(~is_new)
    return starts[np.searchsorted(starts, later, side="right") - 1], later


def _digests(keys: Sequence[str]) -> Ids:
    raw = (hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:ID_BYTES] for key in keys)
    return np.frombuffer(b"".join(raw), dtype=ID)


def _batches(examples: Sequence[Example]) -> Iterator[tuple[int, Sequence[Example]]]:
    for start in range(0, len(examples), BATCH):
        yield start, examples[start : start + BATCH]
