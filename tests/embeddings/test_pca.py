from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydistill.contracts import FloatArray
from polydistill.data.ids import pack_ids
from polydistill.embeddings import pca
from polydistill.embeddings.basis import BASIS, Basis, measured_loss, principal_directions
from polydistill.embeddings.extraction import write_embeddings
from polydistill.embeddings.pca import corpus_basis
from polydistill.embeddings.specification import Precomputed
from polydistill.embeddings.store import StoredEmbeddings, open_embeddings
from polydistill.errors import DataError, StoreError

ROWS, RANK, DIM = 300, 3, 12


def names(count: int) -> list[str]:
    return [f"{row:032x}" for row in range(count)]


def low_rank(count: int = ROWS, noise: float = 0.01, seed: int = 0) -> FloatArray:
    """Return rows near a space of `RANK` dimensions, `(count, DIM)`; the first rows do not depend on `count`."""
    space = np.random.default_rng(seed).standard_normal((RANK, DIM))
    draws = [np.random.default_rng([seed, row]) for row in range(count)]
    rows = [
        draw.standard_normal(RANK) @ space + noise * draw.standard_normal(DIM) for draw in draws
    ]
    return np.asarray(rows, dtype=np.float32)


class Counting(Precomputed):
    """A table of the same teacher, whatever rows it has; it counts the rows that it embeds."""

    count = 0
    identity = {"family": "table", "version": 1}  # noqa: RUF012

    def embed(self, examples):  # type: ignore[no-untyped-def]
        self.count += len(examples)
        return super().embed(examples)


def teacher_of(values: FloatArray) -> Counting:
    teacher = Counting(values, ids=names(len(values)))
    teacher.name = "table"
    return teacher


def store(
    root: Path, values: FloatArray, variance: float = 0.99, teacher: Counting | None = None
) -> StoredEmbeddings:
    """Fit or find the basis, and write the embeddings."""
    final, work, ids = root / "final", root / "work", names(len(values))
    source = teacher or teacher_of(values)
    basis = corpus_basis(final, work, pack_ids(ids), ids, source, variance)
    write_embeddings(
        final, work, pack_ids(ids), ids, source, dtype="float32", shard_rows=100, basis=basis
    )
    return open_embeddings(final)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.*")}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), variance=st.floats(0.05, 1), rows=st.integers(1, 40))
def test_the_fewest_orthonormal_directions_keep_the_variance(
    seed: int, variance: float, rows: int
) -> None:
    values = np.random.default_rng(seed).standard_normal((rows, 6)).astype(np.float32)

    found = principal_directions(values, variance)

    np.testing.assert_allclose(found @ found.T, np.eye(len(found)), atol=1e-5)
    assert measured_loss(values, found)[0] >= variance - 1e-5
    assert len(found) == 1 or measured_loss(values, found[:-1])[0] < variance + 1e-6


def test_the_mean_counts_as_variance_so_that_dot_products_stay() -> None:
    values = low_rank() + np.float32(5)

    found = principal_directions(values, 0.9999)

    reduced = values @ found.T
    np.testing.assert_allclose(reduced @ reduced.T, values @ values.T, rtol=0.01, atol=0.5)
    assert measured_loss(values, found)[1] < 1e-3


def test_embeddings_are_stored_in_few_dimensions_and_restored(tmp_path: Path) -> None:
    values = low_rank()

    stored = store(tmp_path, values)

    assert stored.shape == (ROWS, RANK)
    assert stored.basis is not None
    restored = stored.take(np.arange(ROWS)).values @ stored.basis.components
    np.testing.assert_allclose(restored, values, atol=0.1)
    np.testing.assert_allclose(
        stored.basis.lost, np.square(values - restored).mean(axis=0), rtol=0.05
    )
    assert 0.99 <= stored.basis.kept < 1
    assert 0 < stored.basis.cosine_error < 0.01
    assert not (tmp_path / "work").exists()


def test_appended_rows_keep_the_basis_and_its_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pca, "FITTED_ROWS", 200)
    before = store(tmp_path, low_rank()).basis
    teacher = teacher_of(low_rank(ROWS + 50))

    after = store(tmp_path, low_rank(ROWS + 50), teacher=teacher)

    assert before is not None
    assert after.basis is not None
    assert after.basis.sha256 == before.sha256
    assert len(after) == ROWS + 50
    store(tmp_path / "fresh", low_rank(ROWS + 50))
    assert contents(tmp_path / "final") == contents(tmp_path / "fresh" / "final")
    assert teacher.count < 100  # the rows of the new shard, and some to check their order


def test_another_variance_gives_another_identity(tmp_path: Path) -> None:
    first, second = store(tmp_path / "a", low_rank(), 0.99), store(tmp_path / "b", low_rank(), 0.6)

    assert second.dim < first.dim
    assert first.identity_sha256 != second.identity_sha256


def test_a_fitted_basis_survives_a_run_that_ends_after_it(tmp_path: Path) -> None:
    values = low_rank()
    final, work, ids = tmp_path / "final", tmp_path / "work", names(ROWS)
    first = corpus_basis(final, work, pack_ids(ids), ids, teacher_of(values), 0.99)
    again = teacher_of(values)

    second = corpus_basis(final, work, pack_ids(ids), ids, again, 0.99)

    assert again.count == 0
    assert second.sha256 == first.sha256
    store(tmp_path, values)
    undisturbed = store(tmp_path / "undisturbed", values)
    assert contents(tmp_path / "final") == contents(tmp_path / "undisturbed" / "final")
    assert undisturbed.basis is not None


@pytest.mark.parametrize("damage", ["removed", "cut", "flipped"])
def test_a_damaged_basis_is_named_and_rebuilt(tmp_path: Path, damage: str) -> None:
    store(tmp_path, low_rank())
    path, before = tmp_path / "final" / BASIS, contents(tmp_path)
    content = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        path.write_bytes(content[:40] if damage == "cut" else flipped)

    with pytest.raises(StoreError, match=f"{BASIS} is (damaged|missing): rerun embed"):
        open_embeddings(tmp_path / "final")

    store(tmp_path, low_rank())
    assert contents(tmp_path) == before


def test_first_rows_unlike_the_others_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pca, "FITTED_ROWS", 50)
    values = np.vstack([low_rank(50), low_rank(250, seed=9)])

    stored = store(tmp_path, values)

    assert stored.basis is not None
    assert stored.basis.kept > 0.99
    assert "of the variance of all rows, 99.0% was requested: the first 50 rows" in caplog.text


@pytest.mark.parametrize(
    ("fill", "what"), [(np.nan, "an embedding of none"), (0, "only zeros as embeddings")]
)
def test_rows_without_a_direction_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fill: float, what: str
) -> None:
    values = np.full((1_200, 4), fill, dtype=np.float32)
    values[-1] = 1
    monkeypatch.setattr(pca, "FITTED_ROWS", 20)

    with pytest.raises(DataError, match=f"'table' has {what} of the first 20 rows"):
        store(tmp_path, values)


def test_a_basis_of_another_teacher_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, low_rank())
    monkeypatch.setattr(Counting, "identity", {"family": "table", "version": 2})

    stored = store(tmp_path, low_rank(seed=5))

    fresh = store(tmp_path / "fresh", low_rank(seed=5))
    assert isinstance(stored.basis, Basis)
    assert fresh.basis is not None
    assert stored.basis.sha256 == fresh.basis.sha256


def test_a_number_too_large_for_float16_is_named_also_in_a_basis(tmp_path: Path) -> None:
    values = np.full((20, 16), 30_000, dtype=np.float32)  # 120,000 in its one direction
    final, work, ids = tmp_path / "final", tmp_path / "work", names(20)
    basis = corpus_basis(final, work, pack_ids(ids), ids, teacher_of(values), 0.9)

    with pytest.raises(StoreError, match="float16 cannot hold .* set store.dtype to float32"):
        write_embeddings(final, work, pack_ids(ids), ids, teacher_of(values), basis=basis)
