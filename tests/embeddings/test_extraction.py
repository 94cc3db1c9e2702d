from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from polydistill.contracts import Embeddings, Example
from polydistill.data import images
from polydistill.data.ids import pack_ids
from polydistill.data.images import SharedImage, read_image, read_or_none, share_images
from polydistill.embeddings.extraction import (
    Extraction,
    compute_together,
    shared_groups,
    write_embeddings,
)
from polydistill.errors import PolydistillError, StoreError
from polydistill.teachers.hog_colour import HogColourTeacher
from tests.fake_teachers import CountingTeacher
from tests.made_images import png, truncated

IMAGES = [*(png(seed) for seed in range(9)), truncated(), png(3)]
IDS = pack_ids([f"{row:032x}" for row in range(len(IMAGES))])
TEXTS = [f"text {row}" for row in range(len(IMAGES))]


class Another(HogColourTeacher):
    """Another teacher that reads images."""

    family = "another"


class Failing(HogColourTeacher):
    """A teacher whose weights cannot be read."""

    family = "failing"

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        raise StoreError("no weights")


def extraction(root: Path, teacher: Any, examples: Sequence[Example] = IMAGES) -> Extraction:
    folder = root / teacher.name
    made = Extraction(
        folder / "final", folder / "work", IDS, examples, teacher, shard_rows=4, batch_size=3
    )
    made.begin()
    return made


def contents(root: Path) -> dict[str, bytes]:
    return {str(one.relative_to(root)): one.read_bytes() for one in root.rglob("*.*")}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """Count how often each image is decoded."""
    counts: Counter[bytes] = Counter()
    read = images.read_image

    def counting(example: Example) -> Any:
        counts[images.as_bytes(example)] += 1
        return read(example)

    monkeypatch.setattr(images, "read_image", counting)
    return counts


def test_teachers_share_one_decoding_and_write_the_same_bytes(
    tmp_path: Path, decoded: Counter[bytes]
) -> None:
    teachers = [HogColourTeacher("hog", 2), Another("another", 2)]
    for teacher in teachers:
        folder = tmp_path / "alone" / teacher.name
        options: dict[str, Any] = {"shard_rows": 4, "batch_size": 3}
        write_embeddings(folder / "final", folder / "work", IDS, IMAGES, teacher, **options)
    alone = decoded.total()
    decoded.clear()

    together = [extraction(tmp_path / "together", teacher) for teacher in teachers]
    compute_together(together)
    reports = [one.finish() for one in together]

    checks = (
        2 * 3 * 2
    )  # to check the order of rows, each teacher embeds a pair, twice, and one alone
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")
    assert [report.computed for report in reports] == [3, 3]
    assert decoded.total() <= alone // 2 + checks


def test_a_teacher_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    teachers = [Failing("failing", 1), HogColourTeacher("hog", 1)]
    failing, hog = (extraction(tmp_path, teacher) for teacher in teachers)
    failed: dict[str, PolydistillError] = {}

    compute_together([failing, hog], failed)

    assert {name: str(error) for name, error in failed.items()} == {"failing": "no weights"}
    assert hog.missing == []
    assert failing.missing == [0, 1, 2]
    assert hog.finish().computed == 3
    with pytest.raises(StoreError, match="no weights"):
        compute_together([failing])


def test_shards_that_a_teacher_has_are_not_computed_again(tmp_path: Path) -> None:
    hog = HogColourTeacher("hog", 1)
    first = extraction(tmp_path, hog)
    compute_together([first])
    again, other = extraction(tmp_path, hog), extraction(tmp_path, Another("another", 1))

    compute_together([again, other])

    assert again.finish().reused == 3
    assert other.finish().computed == 3


def test_only_images_are_embedded_together(tmp_path: Path) -> None:
    texts = [
        extraction(tmp_path, CountingTeacher(name=name), TEXTS) for name in ("first", "second")
    ]
    pictures = [extraction(tmp_path, HogColourTeacher(name, 1)) for name in ("third", "fourth")]

    assert shared_groups([*texts, *pictures]) == [pictures, texts[:1], texts[1:]]
    assert shared_groups([]) == []


def test_an_image_is_kept_until_its_last_reader(decoded: Counter[bytes]) -> None:
    one, text = share_images([png(1), "text"], 2)
    assert isinstance(one, SharedImage)

    first, second = read_or_none(one), read_or_none(one)
    third = read_or_none(one)

    assert text == "text"
    assert one == png(1)
    assert first is second
    assert third is not first
    assert third is not None
    assert decoded.total() == 2
    assert share_images(IMAGES, 1) is IMAGES


def test_pixels_for_which_there_is_no_memory_are_decoded_again(
    monkeypatch: pytest.MonkeyPatch, decoded: Counter[bytes]
) -> None:
    width, height = read_image(png(1)).size
    decoded.clear()
    monkeypatch.setattr(images, "SHARED_BYTES", images.PIXEL_BYTES * width * height)
    pair = share_images([png(1), png(2)], 3)

    for _ in range(3):
        for one in pair:
            assert read_or_none(one) is not None

    assert decoded == {png(1): 1, png(2): 3}
    given_back = share_images([png(1)], 2)[0]
    assert read_or_none(given_back) is read_or_none(given_back)
