from __future__ import annotations

from pathlib import Path

import pytest

from tests.life.shop import open_shop
from tests.life.soak import PARTS, Cycle, figure, markdown, run_cycles, trend

pytestmark = pytest.mark.slow  # the fixtures of the folder take longer than the tests
GROW_WITH_ROWS, FLAT_PARTS = ("data", "artifacts", "DVC's cache"), ("reports", "scratch")


def made(number: int, *, versions: int = 3) -> Cycle:
    disk = dict.fromkeys(PARTS, 10.0) | {"data": 100.0 + 4 * number, "temporary files": 0.0}
    return Cycle(
        400 + number, "Promoted", versions, 40.0 + number % 2, 700.0, 770.0, 16, 8, 400, disk
    )


def test_memory_handles_database_and_disk_are_flat_or_grow_with_rows_and_versions(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(tmp_path / "project", programs, monkeypatch, smoke_test=False)

    _, second, third, fourth = run_cycles(shop, 4)

    assert fourth.handles <= second.handles + 2
    assert fourth.threads <= second.threads + 2
    assert fourth.memory_mb <= second.memory_mb + 20
    assert fourth.step_memory_mb <= 1.02 * second.step_memory_mb
    assert fourth.disk_kb["temporary files"] == 0
    for part in FLAT_PARTS:
        assert fourth.disk_kb[part] <= 1.02 * second.disk_kb[part], part
    for part in GROW_WITH_ROWS:
        per_row = second.disk_kb[part] / second.rows
        assert fourth.disk_kb[part] <= 1.02 * per_row * fourth.rows, part
    per_version = second.disk_kb["registry"] / second.versions
    assert fourth.disk_kb["registry"] <= 1.02 * per_version * fourth.versions
    before, after = (
        one.disk_kb["database"] - earlier.disk_kb["database"]
        for earlier, one in ((second, third), (third, fourth))
    )
    assert after <= 1.5 * before + 16  # a promotion writes more rows than a refusal
    assert after < 200


def test_a_trend_is_flat_if_zero_is_in_its_interval_or_the_change_is_small() -> None:
    assert trend([50.0, 52.0, 49.0, 51.0, 50.0]).is_flat
    assert trend([1000.0, 1000.1, 1000.2, 1000.3]).is_flat
    growing = trend([16.0, 17.0, 18.0, 19.0])
    assert (growing.is_flat, growing.slope) == (False, 1.0)


def test_the_page_and_its_figure_name_what_grows() -> None:
    cycles = [made(number) for number in range(8)]

    page, svg = markdown(cycles), figure(cycles)

    assert "- Growing per cycle, with 40 rows: disk by 0.004 MB; data by 4 kB." in page
    assert "open file handles" in svg
    assert svg == figure(cycles)
    assert len(svg.encode()) < 200_000
    assert page.count("| promoted |") == len(cycles)
