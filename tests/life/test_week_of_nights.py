from __future__ import annotations

import html
from datetime import datetime
from pathlib import Path

import pytest

from polydistill.project.layout import Layout
from polydistill.registry.ledger import replay
from tests.life.nightly_project import make_batch, spoil
from tests.life.shop import Night, Shop, open_shop
from tests.life.story import diary, require_documented

STAGES = ["fetch-data@text", "validate@text", "embed@text-letters", "embed@text-pairs",
          "distill@text", "evaluate@text"]  # fmt: skip
ALL_RAN, NONE_RAN = dict.fromkeys(STAGES, "ran"), dict.fromkeys(STAGES, "unchanged")
FIRST, SECOND, THIRD = make_batch(1, 8), make_batch(2, 50), make_batch(3, 120)
WITHOUT_NUMBERS = make_batch(4, 0)
MONDAY, TUESDAY, WEDNESDAY = (
    "2026-01-05T03:00+00:00",
    "2026-01-06T03:00+00:00",
    "2026-01-07T03:00+00:00",
)
THURSDAY, FRIDAY, AGAIN = (
    "2026-01-08T03:00+00:00",
    "2026-01-09T03:00+00:00",
    "2026-01-09T04:00+00:00",
)
SATURDAY, SUNDAY, NOON = (
    "2026-01-10T03:00+00:00",
    "2026-01-11T03:00+00:00",
    "2026-01-11T12:00+00:00",
)
NEXT_MONDAY, MORNING = "2026-01-12T03:00+00:00", "2026-01-12T09:00+00:00"


def require_agreement(shop: Shop) -> None:
    """Check that the ledger, its file, MLflow and the registry agree."""
    answer = shop.by_hand(MORNING, "history", "student-text")
    entries = shop.entries()
    assert answer["entries"] == [entry.model_dump(mode="json") for entry in entries]
    assert answer["aliases"] == replay(entries) == shop.aliases()


@pytest.mark.slow
def test_three_nights_with_a_crash_between_ledger_and_registry(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(tmp_path / "shop", programs, monkeypatch, smoke_test=False)
    shop.receive(FIRST)

    first = shop.night(MONDAY)

    assert (first.name, first.aliases) == ("Promoted", {"challenger": 1, "champion": 1})
    assert (first.stages, first.notices) == (ALL_RAN, ["promoted"])
    shop.receive(SECOND)

    crashed = shop.night(TUESDAY, dies="promote")

    assert (crashed.name, crashed.aliases) == ("Failed", {"challenger": 2, "champion": 1})
    assert crashed.actions == ["challenge", "promote"]
    assert crashed.notices == ["failed"]

    healed = shop.night(WEDNESDAY)

    assert healed.aliases == {"challenger": 2, "champion": 2, "previous": 1}
    assert (healed.actions, healed.stages) == (["heal"], NONE_RAN)
    require_agreement(shop)


@pytest.mark.slow
def test_a_week_of_nights(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = open_shop(tmp_path / "shop", programs, monkeypatch, smoke_test=True)

    new_data_then_none(shop)
    a_bad_batch_then_a_crash(shop)
    a_regression_then_a_rollback(shop)

    require_agreement(shop)
    assert evenings(shop) == [1, 2, 2, 2, 3, 3, 2, 2]
    require_documented("nights", diary(shop.nights))
    require_documented("history", shop.show(MORNING, "history", "student-text"))


def new_data_then_none(shop: Shop) -> None:
    shop.receive(FIRST)
    monday = shop.night(MONDAY)
    assert (monday.name, monday.aliases) == ("Promoted", {"challenger": 1, "champion": 1})
    assert (monday.actions, monday.stages) == (["first", "challenge", "promote"], ALL_RAN)
    assert monday.notices == ["promoted"]

    shop.receive(SECOND)
    tuesday = shop.night(TUESDAY)
    assert tuesday.name == "Promoted"
    assert tuesday.aliases == {"challenger": 2, "champion": 2, "previous": 1}
    assert (tuesday.actions, tuesday.stages) == (["challenge", "promote"], ALL_RAN)

    wednesday = shop.night(WEDNESDAY)
    require_nothing(wednesday, "Nothing is stale, and version 2 is champion.")


def a_bad_batch_then_a_crash(shop: Shop) -> None:
    before = shop.aliases()
    shop.receive(spoil(THIRD))
    thursday = shop.night(THURSDAY)
    assert (thursday.name, thursday.notices) == ("Failed", ["failed"])
    assert thursday.stages == {"fetch-data@text": "ran", "validate@text": "failed"}
    assert (thursday.entries, thursday.aliases) == ((), before)
    assert "an id occurs twice" in thursday.message
    assert "a text has fewer than 3" in thursday.message

    shop.receive(THIRD)
    friday = shop.night(FRIDAY, dies="promote")
    assert (friday.name, friday.notices) == ("Failed", ["failed"])
    assert friday.actions == ["challenge", "promote"]
    assert friday.aliases == {"challenger": 3, "champion": 2, "previous": 1}
    assert replay(shop.entries())["champion"] == 3

    again = shop.night(AGAIN)  # it completes Friday's promotion and sends the notice
    assert (again.name, again.notices) == ("Promoted", ["promoted"])
    assert (again.actions, again.stages) == (["heal"], NONE_RAN)
    assert again.aliases == {"challenger": 3, "champion": 3, "previous": 2}


def a_regression_then_a_rollback(shop: Shop) -> None:
    shop.receive(WITHOUT_NUMBERS)
    saturday = shop.night(SATURDAY)
    assert (saturday.name, saturday.notices) == ("Refused", ["refused"])
    assert saturday.actions == ["challenge", "refuse"]
    assert saturday.aliases == {"challenger": 4, "champion": 3, "previous": 2}
    assert "numbers" in saturday.message
    assert saturday.message in html.unescape(Layout(shop.root, "text").page.read_text())

    refused = "Nothing is stale, and version 4 was refused."
    require_nothing(shop.night(SUNDAY), refused)

    output = shop.show(NOON, "rollback", "text", "--reason", "3 mixes up two suppliers")
    require_documented("rollback", output)
    assert shop.aliases() == {"challenger": 4, "champion": 2, "previous": 3}

    next_monday = shop.night(NEXT_MONDAY)
    require_nothing(next_monday, refused)
    assert next_monday.aliases == {"challenger": 4, "champion": 2, "previous": 3}


def require_nothing(night: Night, because: str) -> None:
    """Check that a run started no stage, changed no alias and sent no notice, for the given reason."""
    assert (night.name, night.message) == ("Unchanged", because)
    assert (night.stages, night.entries, night.notices) == ({}, (), [])


def evenings(shop: Shop) -> list[int | None]:
    """Return the champion at the end of each day, from `history --at`."""
    days = sorted({datetime.fromisoformat(night.when).date() for night in shop.nights})
    asked = [shop.by_hand(MORNING, "history", "student-text", "--at", f"{day}") for day in days]
    return [answer["aliases"].get("champion") for answer in asked]
