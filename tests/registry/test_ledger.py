from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polydistill.errors import LedgerError
from polydistill.registry.ledger import (
    NOTHING_BEFORE,
    Action,
    Entry,
    Ids,
    as_of,
    canonical,
    champions,
    digest,
    read_chain,
    replay,
    sealed,
    withdrawn,
)

Steps = list[tuple[Action, int | None]]
STORY: Steps = [("first", None), ("promote", 1), ("promote", 2), ("promote", 3), ("rollback", 2)]


def chain(steps: Steps, days: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)) -> list[Entry]:
    """Return a ledger whose steps each move the champion."""
    entries: list[Entry] = []
    for (action, version), day in zip(steps, days, strict=False):
        old = replay(entries).get("champion")
        entries.append(
            sealed(
                entries,
                when=datetime(2026, 1, day, 12, tzinfo=UTC).isoformat(),
                who="ada",
                model="student-text",
                action=action,
                moves={"champion": (old, version)} if old != version else {},
                verdict=None,
                reason=f"It is “{version}”.",
                ids=Ids(version=version),
            )
        )
    return entries


def lines_of(entries: list[Entry]) -> list[str]:
    return [entry.line for entry in entries]


def read(lines: list[str]) -> tuple[Entry, ...]:
    return read_chain(lines, "student-text", "here")


def test_the_first_entrys_bytes_and_hash_stay_what_they_are() -> None:
    entry = chain(STORY)[0]  # the hash is `sha256sum`'s, of the line without it

    assert entry.line == (
        '{"action":"first","ids":{"git_commit":null,"lock_sha256":null,"run_id":null,"student_sha256":null,'
        '"version":null},"model":"student-text","moves":{},"number":1,'
        f'"previous_sha256":"{NOTHING_BEFORE}","reason":"It is “None”.","schema_version":1,'
        '"sha256":"413bf570969c972e9b1114e826d8d1aff70cc34c0381853db45fd185de3f8ae2","verdict":null,'
        '"when":"2026-01-01T12:00:00+00:00","who":"ada"}'
    )


def test_what_is_written_is_read_again() -> None:
    entries = chain(STORY)

    assert list(read(lines_of(entries))) == entries
    assert read([]) == ()


def test_a_removed_entry_is_named() -> None:
    lines = lines_of(chain(STORY))

    with pytest.raises(LedgerError, match="entry 3 was removed: after entry 2 comes entry 4"):
        read([*lines[:2], *lines[3:]])
    with pytest.raises(LedgerError, match="entry 1 was removed"):
        read(lines[1:])


def test_entries_out_of_order_are_named() -> None:
    lines = lines_of(chain(STORY))

    with pytest.raises(LedgerError, match="entry 3 was removed"):
        read([*lines[:2], lines[3], lines[2], lines[4]])
    with pytest.raises(LedgerError, match="entry 2 was inserted or moved"):
        read([*lines[:3], lines[1], *lines[3:]])


def test_an_inserted_entry_is_named_though_it_is_well_made() -> None:
    honest, other = chain(STORY), chain([("first", None), ("promote", 1), ("promote", 4)])

    with pytest.raises(LedgerError, match="entry 4 does not follow the one before it"):
        read(lines_of([*other, *honest[3:]]))


def test_a_well_made_entry_that_moves_from_where_nothing_stood_is_named() -> None:
    entries = chain(STORY)
    content = entries[2].model_dump(exclude={"number", "previous_sha256", "sha256"})
    forged = sealed(entries[:2], **{**content, "moves": {"champion": (7, 2)}})

    with pytest.raises(LedgerError, match="entry 3 moves champion from 7, which was 1 then"):
        read(lines_of([*entries[:2], forged]))


def test_a_ledger_of_another_model_is_refused() -> None:
    with pytest.raises(LedgerError, match="entry 1 is of student-text, not of student-molecules"):
        read_chain(lines_of(chain(STORY)), "student-molecules", "here")


def test_a_newer_schema_is_told_from_damage() -> None:
    content = json.loads(chain(STORY)[0].line)

    with pytest.raises(LedgerError, match="entry 1 is damaged, or of a newer polydistill: schema"):
        read([canonical({**content, "schema_version": 2})])
    with pytest.raises(LedgerError, match="entry 1 is damaged"):
        read([chain(STORY)[0].line[:40]])


@given(st.data())
def test_any_edit_of_any_field_of_any_entry_is_found_and_named(data: st.DataObject) -> None:
    lines = lines_of(chain(STORY))
    place = data.draw(st.integers(0, len(lines) - 1))
    content = json.loads(lines[place])
    field = data.draw(
        st.sampled_from(["when", "who", "reason", "verdict", "action", "moves", "ids"])
    )
    changed = {
        "action": "force",
        "moves": {"champion": [1, 9]},
        "ids": {**content["ids"], "version": 9},
    }.get(field, "2025-01-01T00:00:00+00:00")
    content[field] = changed
    rehashed = data.draw(st.booleans())
    if rehashed:  # a forger who knows how; the next entry gives him away
        content["sha256"] = digest(Entry.model_validate_json(canonical(content)))
    lines[place] = canonical(content)
    if rehashed and place == len(lines) - 1 and field != "moves":
        return  # the last one's hash is what the registry's tag is for

    with pytest.raises(LedgerError, match=rf"entry ({place + 1}|{place + 2}) "):
        read(lines)


def test_spaces_are_an_edit_too() -> None:
    lines = lines_of(chain(STORY))

    with pytest.raises(LedgerError, match="entry 2 was edited"):
        read([lines[0], lines[1].replace(":", ": ", 1), *lines[2:]])


@pytest.mark.parametrize(
    ("day", "champion", "count"), [(1, None, 1), (3, 2, 3), (4, 3, 4), (30, 2, 5)]
)
def test_the_aliases_of_a_day_are_those_at_its_end(
    day: int, champion: int | None, count: int
) -> None:
    entries = as_of(chain(STORY), datetime(2026, 1, day, 23, 59, 59, tzinfo=UTC))

    assert replay(entries).get("champion") == champion
    assert len(entries) == count


def test_an_entry_by_a_clock_that_is_behind_counts_from_the_entry_before() -> None:
    entries = chain(STORY, days=(1, 10, 3, 4, 20))

    assert len(as_of(entries, datetime(2026, 1, 5, tzinfo=UTC))) == 1
    assert len(as_of(entries, datetime(2026, 1, 11, tzinfo=UTC))) == 4


def test_the_line_of_champions_forgets_what_was_rolled_back_over() -> None:
    assert champions(chain(STORY)) == [1, 2]
    assert champions(chain([*STORY, ("promote", 4)])) == [1, 2, 4]
    assert champions(chain([*STORY[:4], ("rollback", 1)])) == [1]


def test_a_version_is_withdrawn_until_it_is_champion_again() -> None:
    entries = chain(STORY)

    assert withdrawn(entries, 3) == entries[-1]
    assert withdrawn(entries, 2) is None
    assert withdrawn(chain([*STORY, ("force", 3)]), 3) is None
