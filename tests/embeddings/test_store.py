from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydistill.data.ids import pack_ids, unpack_ids
from polydistill.embeddings import shards, store
from polydistill.embeddings.extraction import WriteReport, write_embeddings
from polydistill.embeddings.store import StoredEmbeddings, open_embeddings
from polydistill.errors import DiskSpaceError, ShapeError, StoreError
from polydistill.project import checksums
from polydistill.project.checksums import Checksums
from tests.fake_teachers import CountingTeacher

TEXTS = [f"text number {row} " + "x" * (row % 7) for row in range(23)]


class Usage(NamedTuple):
    """The type that `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


def name_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def write(
    root: Path, texts: list[str] = TEXTS, teacher: CountingTeacher | None = None, **options: object
) -> WriteReport:
    settings = {"shard_rows": 5, "batch_size": 2, **options}
    return write_embeddings(
        root / "final",
        root / "work",
        pack_ids([name_of(text) for text in texts]),
        texts,
        teacher or CountingTeacher(),
        **settings,  # type: ignore[arg-type]
    )


def contents(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in (root / "final").rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def flip_a_byte(path: Path, at: int = 700) -> None:
    data = bytearray(path.read_bytes())
    data[min(at, len(data) - 1)] ^= 1
    path.write_bytes(bytes(data))


def shard_file(number: int) -> str:
    return f"0000/shard-{number:05d}.arrow"


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the positions at which files are read from now on."""
    positions: list[int] = []
    preadv = os.preadv

    def counting(file: int, places: list[Any], position: int) -> int:
        positions.append(position)
        return preadv(file, places, position)

    monkeypatch.setattr(os, "preadv", counting)
    return positions


def large_store(root: Path, monkeypatch: pytest.MonkeyPatch) -> StoredEmbeddings:
    """Return a store of one shard, of which single rows are read from the file."""
    monkeypatch.setattr(store, "LARGE", 0)
    write(root, [f"text {row}" for row in range(100)], shard_rows=100)
    return open_embeddings(root / "final")


@pytest.fixture
def undisturbed(tmp_path: Path) -> dict[str, bytes]:
    write(tmp_path / "undisturbed")
    return contents(tmp_path / "undisturbed")


class TestRoundTrip:
    @settings(max_examples=25, deadline=None)
    @given(
        texts=st.lists(st.text(max_size=12), unique=True, max_size=30),
        shard_rows=st.integers(1, 9),
        batch_size=st.integers(1, 9),
        dtype=st.sampled_from(["float16", "float32"]),
        absent=st.sets(st.integers(0, 29)),
    )
    def test_every_row_is_read_back_in_order(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        texts: list[str],
        shard_rows: int,
        batch_size: int,
        dtype: str,
        absent: set[int],
    ) -> None:
        root = tmp_path_factory.mktemp("store")
        missing = frozenset(text for row, text in enumerate(texts) if row in absent)
        teacher = CountingTeacher(absent=missing)

        write(root, texts, teacher, shard_rows=shard_rows, batch_size=batch_size, dtype=dtype)
        stored = open_embeddings(root / "final")

        expected = CountingTeacher().embed(texts).values.astype(dtype)
        expected[[text in missing for text in texts]] = 0
        rows = stored.take(np.arange(len(texts)))
        assert unpack_ids(stored.ids) == [name_of(text) for text in texts]
        assert rows.present.tolist() == [text not in missing for text in texts]
        np.testing.assert_array_equal(rows.values, expected.astype(np.float32))

    def test_the_bytes_do_not_depend_on_the_location_of_the_folder(
        self, tmp_path: Path, undisturbed: dict[str, bytes]
    ) -> None:
        write(tmp_path / "elsewhere")

        assert contents(tmp_path / "elsewhere") == undisturbed

    def test_rows_can_be_read_in_any_order_and_repeatedly(self, tmp_path: Path) -> None:
        write(tmp_path, dtype="float32")
        at = np.array([22, 0, 7, 7, 4, 5])

        taken = open_embeddings(tmp_path / "final").take(at)

        np.testing.assert_array_equal(
            taken.values, CountingTeacher().embed([TEXTS[i] for i in at]).values
        )

    @pytest.mark.parametrize("row", [-1, 23])
    def test_a_row_out_of_range_is_refused(self, tmp_path: Path, row: int) -> None:
        write(tmp_path)

        with pytest.raises(IndexError, match="0 … 22"):
            open_embeddings(tmp_path / "final").take(np.array([row]))

    def test_a_store_without_rows_can_be_opened(self, tmp_path: Path) -> None:
        report = write(tmp_path, [])

        stored = open_embeddings(tmp_path / "final")
        assert (len(stored), report.computed) == (0, 0)
        assert stored.take(np.empty(0, np.int64)).values.shape == (0, 8)
        assert stored.values.shape == (0, 8)

    def test_the_values_of_one_shard_share_the_mapped_memory(self, tmp_path: Path) -> None:
        write(tmp_path, shard_rows=100)

        values = open_embeddings(tmp_path / "final").values

        assert not values.flags.owndata
        assert is_mapped(values.ctypes.data, tmp_path / "final" / shard_file(0))

    def test_identity_teacher_and_dim_are_stored(self, tmp_path: Path) -> None:
        write(tmp_path)

        stored: StoredEmbeddings = open_embeddings(tmp_path / "final")

        assert (stored.teacher, stored.dim) == ("fake", 8)
        assert stored.identity == {"family": "fake", "version": 1}


def is_mapped(address: int, file: Path) -> bool:
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(file)):
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if start <= address < end:
                return True
    return False


class TestRerun:
    def test_an_unchanged_run_computes_nothing(self, tmp_path: Path) -> None:
        write(tmp_path)
        before = (tmp_path / "final").stat().st_ino
        teacher = CountingTeacher()

        report = write(tmp_path, teacher=teacher)

        assert report == WriteReport(computed=0, reused=5, rebuilt=(), rows_computed=0)
        assert teacher.seen == []
        assert (tmp_path / "final").stat().st_ino == before

    def test_appended_rows_recompute_only_the_last_shard_and_add_new_ones(
        self, tmp_path: Path
    ) -> None:
        write(tmp_path / "grown", TEXTS[:12])
        write(tmp_path / "whole")

        report = write(tmp_path / "grown")

        assert (report.computed, report.reused, report.rows_computed) == (3, 2, 13)
        assert contents(tmp_path / "grown") == contents(tmp_path / "whole")

    def test_with_fewer_rows_no_stale_shard_is_left(self, tmp_path: Path) -> None:
        write(tmp_path / "shrunk")
        write(tmp_path / "whole", TEXTS[:7])

        write(tmp_path / "shrunk", TEXTS[:7])

        assert contents(tmp_path / "shrunk") == contents(tmp_path / "whole")

    def test_another_identity_recomputes_everything(self, tmp_path: Path) -> None:
        write(tmp_path, dtype="float32")

        report = write(tmp_path, dtype="float16")

        assert (report.computed, report.reused) == (5, 0)

    def test_rows_in_another_order_are_recomputed(self, tmp_path: Path) -> None:
        write(tmp_path)

        report = write(tmp_path, TEXTS[::-1])

        assert report.computed == 5
        ids = open_embeddings(tmp_path / "final").ids
        assert unpack_ids(ids) == [name_of(text) for text in TEXTS[::-1]]

    def test_other_files_in_the_folder_are_removed(
        self, tmp_path: Path, undisturbed: dict[str, bytes]
    ) -> None:
        write(tmp_path)
        (tmp_path / "final" / "note.txt").write_text("hello")

        write(tmp_path)

        assert contents(tmp_path) == undisturbed

    def test_batches_never_cross_a_shard(self, tmp_path: Path) -> None:
        sizes: list[int] = []

        class Sized(CountingTeacher):
            def embed(self, examples):  # type: ignore[no-untyped-def]
                sizes.append(len(examples))
                return super().embed(examples)

        write(tmp_path, TEXTS[:10], Sized(), batch_size=4)

        assert sizes[3:] == [4, 1, 4, 1]  # the first three check the order of rows


class TestInterruption:
    @pytest.mark.parametrize("after", [1, 8, 14, 26])
    def test_a_killed_run_resumes_to_the_same_bytes(
        self, tmp_path: Path, undisturbed: dict[str, bytes], after: int
    ) -> None:
        child = os.fork()  # a separate process that need not import torch again
        if child == 0:
            write(tmp_path, teacher=CountingTeacher(kill_after=after))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        write(tmp_path)

        assert os.WTERMSIG(status) == signal.SIGKILL
        assert contents(tmp_path) == undisturbed
        assert not (tmp_path / "work").exists()

    def test_finished_shards_of_a_killed_run_are_not_recomputed(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError):
            write(tmp_path, [*TEXTS[:20], "bad"], CountingTeacher(wrong="nan"))

        report = write(tmp_path, TEXTS[:20])

        assert (report.computed, report.reused) == (0, 4)

    def test_a_damaged_shard_of_unfinished_work_is_recomputed(
        self, tmp_path: Path, undisturbed: dict[str, bytes]
    ) -> None:
        with pytest.raises(StoreError):
            write(tmp_path, [*TEXTS[:20], "bad"], CountingTeacher(wrong="nan"))
        flip_a_byte(tmp_path / "work" / shard_file(2))

        report = write(tmp_path)

        assert report.rebuilt == (shard_file(2),)
        assert contents(tmp_path) == undisturbed

    def test_a_damaged_checksum_of_a_finished_shard_is_no_checksum(
        self, tmp_path: Path, undisturbed: dict[str, bytes]
    ) -> None:
        with pytest.raises(StoreError):
            write(tmp_path, [*TEXTS[:20], "bad"], CountingTeacher(wrong="nan"))
        note = (tmp_path / "work" / shard_file(2)).with_suffix(".json")
        note.write_bytes(bytes(range(256)))

        report = write(tmp_path)

        assert (report.reused, report.rebuilt) == (3, ())
        assert contents(tmp_path) == undisturbed

    def test_a_kill_before_the_last_rename_loses_nothing(
        self, tmp_path: Path, undisturbed: dict[str, bytes]
    ) -> None:
        write(tmp_path)
        (tmp_path / "final").rename(tmp_path / ".final.next")

        report = write(tmp_path)

        assert report.computed == 0
        assert contents(tmp_path) == undisturbed
        assert [path.name for path in tmp_path.iterdir() if path.name != "undisturbed"] == ["final"]


class TestManyShards:
    def test_each_manifest_lists_the_shards_of_its_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shards, "IN_MANIFEST", 3)

        write(tmp_path, shard_rows=2)

        files = {Path(name).relative_to("final") for name in contents(tmp_path)}
        assert {file.parent for file in files} == {
            Path(),
            *map(Path, ("0000", "0001", "0002", "0003")),
        }
        assert sum(file.name == "manifest.json" for file in files) == 4
        stored = open_embeddings(tmp_path / "final")
        assert unpack_ids(stored.ids) == [name_of(text) for text in TEXTS]
        assert write(tmp_path, shard_rows=2).computed == 0

    @pytest.mark.parametrize("damage", ["missing", "damaged"])
    def test_a_damaged_manifest_is_named_and_rebuilt(
        self, tmp_path: Path, undisturbed: dict[str, bytes], damage: str
    ) -> None:
        write(tmp_path)
        manifest = tmp_path / "final" / "0000" / "manifest.json"
        if damage == "missing":
            manifest.unlink()
        else:
            manifest.write_text(manifest.read_text().replace('"missing": 0', '"missing": 1', 1))

        with pytest.raises(StoreError, match=rf"manifest\.json is {damage}: rerun embed"):
            open_embeddings(tmp_path / "final")
        write(tmp_path)

        assert contents(tmp_path) == undisturbed

    def test_few_shards_are_mapped_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store, "MAPPED", 2)
        write(tmp_path, shard_rows=2, dtype="float32")
        stored = open_embeddings(tmp_path / "final")

        values = stored.take(np.arange(len(TEXTS))[::-1]).values

        np.testing.assert_array_equal(values, CountingTeacher().embed(TEXTS[::-1]).values)
        maps = Path("/proc/self/maps").read_text()
        assert len({line.split()[-1] for line in maps.splitlines() if str(tmp_path) in line}) <= 4

    @pytest.mark.parametrize("dtype", ["float16", "float32"])
    def test_scattered_rows_of_a_large_store_are_read_from_its_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
    ) -> None:
        texts = [f"text {row}" for row in range(300)]
        teacher = CountingTeacher(absent=frozenset(texts[7:9]))
        write(tmp_path, texts, teacher, shard_rows=100, dtype=dtype)
        rows = np.random.default_rng(0).permutation(300)[:12]
        rows[:2] = 7, 299
        mapped = open_embeddings(tmp_path / "final").take(rows)
        monkeypatch.setattr(store, "LARGE", 0)
        monkeypatch.setattr(store, "OPEN_FILES", 2)
        read = counted(monkeypatch)

        found = open_embeddings(tmp_path / "final").take(rows)

        np.testing.assert_array_equal(found.values, mapped.values)
        np.testing.assert_array_equal(found.present, mapped.present)
        assert len(read) == len(rows)

    def test_many_rows_of_a_large_store_are_mapped(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path)
        monkeypatch.setattr(store, "LARGE", 0)
        read = counted(monkeypatch)

        open_embeddings(tmp_path / "final").take(np.arange(len(TEXTS)))

        assert read == []

    def test_a_file_that_has_become_shorter_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored = large_store(tmp_path, monkeypatch)
        stored.take(np.array([0]))
        os.truncate(tmp_path / "final" / shard_file(0), 1_000)

        with pytest.raises(StoreError, match=r"shard-00000\.arrow has become shorter: rerun embed"):
            stored.take(np.array([99]))

    def test_a_file_that_was_replaced_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored = large_store(tmp_path, monkeypatch)
        stored.ids_sha256()  # maps the file
        file = tmp_path / "final" / shard_file(0)
        shutil.copy(file, tmp_path / "copy")
        (tmp_path / "copy").replace(file)

        with pytest.raises(StoreError, match=r"shard-00000\.arrow was replaced"):
            stored.take(np.array([0]))

    def test_embeddings_of_an_earlier_release_are_named(self, tmp_path: Path) -> None:
        write(tmp_path)
        index = {"dim": 8, "dtype": "float16", "n_rows": 0, "shards": [], "teacher": "fake"}
        (tmp_path / "final" / "index.json").write_text(shards.seal({**index, "identity": {}}))

        with pytest.raises(StoreError, match="of an earlier release: rerun embed"):
            open_embeddings(tmp_path / "final")

    @pytest.mark.slow
    def test_ten_million_rows_take_40_bytes_each_in_memory(self, tmp_path: Path) -> None:
        """Of these, 18 are pages of the mapped files, and 16 are the ids that the test itself makes."""
        peaks = []
        for rows in (10**5, 10**7):
            code = f"from tests.embeddings.many_rows import main; main({rows}, {str(tmp_path)!r})"
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            )
            peaks.append(float(done.stdout))
        assert peaks[1] - peaks[0] < 40 * 10**7 / 2**20


class TestChecksums:
    def test_a_second_opening_reads_no_shard(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        note = tmp_path / "note.json"
        write(tmp_path, checksums=Checksums(note))
        monkeypatch.setattr(checksums, "sha256_of", lambda path: pytest.fail(f"{path} was read"))

        assert len(open_embeddings(tmp_path / "final", Checksums(note))) == len(TEXTS)
        assert write(tmp_path, checksums=Checksums(note)).reused == 5

    def test_all_shards_are_read_on_request(self, tmp_path: Path) -> None:
        note = tmp_path / "note.json"
        write(tmp_path, checksums=Checksums(note))
        file = tmp_path / "final" / shard_file(3)
        before = file.stat()
        flip_a_byte(file)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a failing disk does

        open_embeddings(tmp_path / "final", Checksums(note))
        with pytest.raises(StoreError, match=r"shard-00003\.arrow is damaged"):
            open_embeddings(tmp_path / "final", Checksums(note, verify=True))


class TestDamage:
    @pytest.mark.parametrize("at", [0, 700, 10**6])
    def test_a_flipped_byte_is_detected_and_its_file_named(self, tmp_path: Path, at: int) -> None:
        write(tmp_path)
        flip_a_byte(tmp_path / "final" / shard_file(3), at)

        with pytest.raises(StoreError, match=r"shard-00003\.arrow is damaged: rerun embed"):
            open_embeddings(tmp_path / "final")

    def test_a_flipped_byte_is_rebuilt(self, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
        write(tmp_path)
        flip_a_byte(tmp_path / "final" / shard_file(3))

        report = write(tmp_path)

        assert report == WriteReport(1, 4, (shard_file(3),), 5)
        assert contents(tmp_path) == undisturbed

    def test_a_missing_shard_is_named_and_rebuilt(
        self, tmp_path: Path, undisturbed: dict[str, bytes]
    ) -> None:
        write(tmp_path)
        (tmp_path / "final" / shard_file(1)).unlink()

        with pytest.raises(StoreError, match=r"shard-00001\.arrow is missing: rerun embed"):
            open_embeddings(tmp_path / "final")
        report = write(tmp_path)

        assert (report.computed, report.reused) == (1, 4)
        assert contents(tmp_path) == undisturbed

    @pytest.mark.parametrize("damage", ["fake", '"sha256"', '"n_rows"', "{"])
    def test_a_damaged_index_is_found_and_rebuilt(
        self, tmp_path: Path, undisturbed: dict[str, bytes], damage: str
    ) -> None:
        write(tmp_path)
        index = tmp_path / "final" / "index.json"
        index.write_text(index.read_text().replace(damage, damage[:-1], 1))

        with pytest.raises(StoreError, match=r"index\.json is damaged"):
            open_embeddings(tmp_path / "final")
        write(tmp_path)

        assert contents(tmp_path) == undisturbed

    def test_swapped_shards_are_detected(self, tmp_path: Path) -> None:
        write(tmp_path)
        first, second = (tmp_path / "final" / shard_file(number) for number in (0, 1))
        swapped = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(swapped)

        with pytest.raises(StoreError, match=r"shard-00000\.arrow is damaged"):
            open_embeddings(tmp_path / "final")

    def test_a_shard_without_a_checksum_is_not_trusted(self, tmp_path: Path) -> None:
        write(tmp_path)
        (tmp_path / "final" / "index.json").unlink()

        report = write(tmp_path)

        assert report.computed == 5

    def test_the_error_for_a_missing_folder_says_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="run the embed stage"):
            open_embeddings(tmp_path)


class TestTeacherOutput:
    def test_the_error_for_nan_names_the_teacher_and_the_row(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=f"'fake' returned NaN.*1 rows.*{name_of('bad')}"):
            write(tmp_path, ["good", "bad"], CountingTeacher(wrong="nan"))

    def test_nan_in_a_missing_row_is_accepted(self, tmp_path: Path) -> None:
        teacher = CountingTeacher(wrong="nan", absent=frozenset({"bad"}))

        write(tmp_path, ["good", "bad"], teacher)

        taken = open_embeddings(tmp_path / "final").take(np.array([1]))
        assert not taken.present.any()
        assert (taken.values == 0).all()

    def test_the_error_for_a_value_beyond_float16_names_the_row_and_a_remedy(
        self, tmp_path: Path
    ) -> None:
        with pytest.raises(StoreError, match=f"float16 cannot hold.*{name_of('bad')}.*float32"):
            write(tmp_path, ["good", "bad"], CountingTeacher(wrong="huge"))

    def test_float32_stores_values_beyond_float16(self, tmp_path: Path) -> None:
        write(tmp_path, ["good", "bad"], CountingTeacher(wrong="huge"), dtype="float32")

        assert open_embeddings(tmp_path / "final").take(np.array([1])).values[0, 0] == 1e6

    def test_another_width_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ShapeError, match=r"'fake' must return shape \(1, 8\), got \(1, 16\)"):
            write(tmp_path, teacher=CountingTeacher(wrong="wide"))

    @pytest.mark.parametrize("wrong", ["reversed", "sorted"])
    def test_rows_in_another_order_are_refused(self, tmp_path: Path, wrong: str) -> None:
        with pytest.raises(StoreError, match="in the order of its examples"):
            write(tmp_path, ["a much longer text", "short"], CountingTeacher(wrong=wrong))

    def test_another_number_type_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="float32 values"):
            write(tmp_path, teacher=CountingTeacher(wrong="float64"))

    def test_ids_and_examples_must_have_the_same_length(self, tmp_path: Path) -> None:
        ids = pack_ids([name_of("a")])

        with pytest.raises(ShapeError, match="length 2"):
            write_embeddings(tmp_path / "f", tmp_path / "w", ids, ["a", "b"], CountingTeacher())


class TestDisk:
    def test_too_little_disk_space_is_an_error_before_anything_is_computed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(2000, 1500, 500))
        teacher = CountingTeacher()

        with pytest.raises(DiskSpaceError, match=r"needs .* MiB, 0\.0 MiB are free"):
            write(tmp_path, teacher=teacher)

        assert teacher.seen == []

    def test_a_full_disk_leaves_no_partial_file(self, tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
        if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
            pytest.skip("no right to mount a small disk")
        try:
            self.fill_up(disk, tmp_path)
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)  # noqa: S607

    def fill_up(self, disk: Path, tmp_path: Path) -> None:
        ballast = disk / "ballast"

        class Filling(CountingTeacher):
            def embed(self, examples):  # type: ignore[no-untyped-def]
                if len(self.seen) > 12 and not ballast.exists():
                    free = shutil.disk_usage(disk).free
                    ballast.write_bytes(b"x" * free)
                return super().embed(examples)

        with pytest.raises(DiskSpaceError, match="finished shards are kept"):
            write(disk, teacher=Filling())
        left = [str(path.relative_to(disk / "work")) for path in (disk / "work").rglob("*")]
        ballast.unlink()
        report = write(disk)

        write(tmp_path / "undisturbed")
        assert not [name for name in left if name.endswith(".unfinished")]
        assert shard_file(0) in left
        assert not [path for path in disk.iterdir() if path.name.startswith(".")]
        assert report.reused >= 1
        assert contents(disk) == contents(tmp_path / "undisturbed")
