"""The ledger: every move of a model's aliases, each entry holding the hash of the one before it.

Pure functions of the entries: `recorded` writes them, and the integrations store them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polydistill.errors import LedgerError

SCHEMA_VERSION: Final = 1
NOTHING_BEFORE = "0" * 64
"""What the first entry names as the one before it."""

Action = Literal[
    "first", "challenge", "promote", "refuse", "reject", "force", "rollback", "external", "heal"
]
Moves = Mapping[str, tuple[int | None, int | None]]
"""Alias: from, to; none: no such alias."""
FINDINGS: tuple[Action, ...] = ("first", "external", "heal")
"""Entries that record what was found: the registry has these moves already."""
WITHDRAWN = "withdrawn"
"""The tag of a version that people took back: no policy of the gate undoes it."""
CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"


class Ids(BaseModel):
    """What the version that an entry is about was made of; none where it is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int | None = None
    student_sha256: str | None = None
    lock_sha256: str | None = None
    git_commit: str | None = None
    run_id: str | None = None


class Entry(BaseModel):
    """One line of the ledger, never changed once written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    number: int = Field(ge=1, description="1, 2, 3 …: the chain's order, whatever the clocks say.")
    when: str = Field(description="UTC, ISO 8601, by the writer's clock.")
    who: str = Field(description="A person or a service; never a host.")
    model: str
    action: Action
    moves: dict[str, tuple[int | None, int | None]] = Field(description="Alias: from, to.")
    verdict: str | None = Field(description="What the gate said; none where it was not asked.")
    reason: str
    ids: Ids
    previous_sha256: str = Field(description="Of the entry before.")
    sha256: str = Field(description="Of this entry's canonical JSON without this field.")

    @property
    def moment(self) -> datetime:
        """When, as a time that can be compared."""
        return datetime.fromisoformat(self.when)

    @property
    def line(self) -> str:
        """The entry as canonical JSON on one line, without its end."""
        return canonical(self.model_dump(mode="json"))


def canonical(content: Mapping[str, object]) -> str:
    """Return JSON with sorted keys and no spaces: the same content gives the same bytes."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sealed(before: Sequence[Entry], **content: Any) -> Entry:
    """Return the entry that comes after `before`, numbered and with both hashes.

    Args:
        before: The ledger so far.
        **content: The other fields of an `Entry`.
    """
    number, last = len(before) + 1, before[-1].sha256 if before else NOTHING_BEFORE
    unsealed = Entry(number=number, previous_sha256=last, sha256="", **content)
    return unsealed.model_copy(update={"sha256": digest(unsealed)})


def digest(entry: Entry) -> str:
    """Return what an entry's `sha256` has to be."""
    content = entry.model_dump(mode="json", exclude={"sha256"})
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def read_chain(lines: Sequence[str], model: str, where: str) -> tuple[Entry, ...]:
    """Return a ledger's entries, checked.

    Entries that were cut off the end do not show here: the registry holds the last entry's hash for that.

    Args:
        lines: One entry each, in order.
        model: The registered model's name.
        where: Names the ledger in messages.

    Raises:
        LedgerError: An entry was edited, removed, inserted or put elsewhere; named by its number.
    """
    entries: list[Entry] = []
    state: dict[str, int] = {}
    for place, line in enumerate(lines, 1):
        entry = _parsed(line, place, where)
        problem = _problem(entry, line, entries, model) or _wrong_move(entry, state)
        if problem:
            raise LedgerError(f"{where}: {problem}")
        state = moved(state, entry.moves)
        entries.append(entry)
    return tuple(entries)


def _parsed(line: str, place: int, where: str) -> Entry:
    try:
        return Entry.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "it"
        raise LedgerError(
            f"{where}: entry {place} is damaged, or of a newer polydistill: "
            f"{field}: {first['msg']}. This one reads schema version {SCHEMA_VERSION}."
        ) from error


def _problem(entry: Entry, line: str, before: Sequence[Entry], model: str) -> str | None:
    """Return what is wrong with an entry itself or with its position."""
    number, here = entry.number, len(before) + 1
    last = before[-1].sha256 if before else NOTHING_BEFORE
    found = digest(entry)
    if found != entry.sha256 or entry.line != line:
        return f"entry {number} was edited: its hash is {found[:12]}, it says {entry.sha256[:12]}."
    if number > here:
        return f"entry {here} was removed: after entry {here - 1} comes entry {number}."
    if number < here:
        return f"entry {number} was inserted or moved: it is where entry {here} has to be."
    if entry.previous_sha256 != last:
        return (
            f"entry {number} does not follow the one before it: it was written after "
            f"{entry.previous_sha256[:12]}, and entry {here - 1} is {last[:12]}."
        )
    if entry.model != model:
        return f"entry {number} is of {entry.model}, not of {model}."
    return None


def _wrong_move(entry: Entry, state: Mapping[str, int]) -> str | None:
    for alias, (old, _) in entry.moves.items():
        if state.get(alias) != old:
            return (
                f"entry {entry.number} moves {alias} from {shown(old)}, "
                f"which was {shown(state.get(alias))} then."
            )
    return None


def shown(version: int | None) -> str:
    """Return a version for a person."""
    return "none" if version is None else str(version)


def told(moves: Moves) -> str:
    """Return moves for a person: `champion 2 → 3, previous 1 → 2`."""
    parts = [f"{alias} {shown(old)} → {shown(new)}" for alias, (old, new) in sorted(moves.items())]
    return ", ".join(parts)


def moved(state: Mapping[str, int], moves: Moves) -> dict[str, int]:
    """Return the aliases after some moves."""
    after: dict[str, int | None] = {**state, **{a: new for a, (_, new) in moves.items()}}
    return {alias: version for alias, version in after.items() if version is not None}


def replay(entries: Sequence[Entry]) -> dict[str, int]:
    """Return the aliases that the entries lead to, from none at all."""
    state: dict[str, int] = {}
    for entry in entries:
        state = moved(state, entry.moves)
    return state


def as_of(entries: Sequence[Entry], moment: datetime) -> tuple[Entry, ...]:
    """Return the entries up to a moment, that moment included.

    Clocks differ between machines, and the chain's order is what happened: an entry counts from the latest
    time that it or one before it has.
    """
    latest = accumulate((entry.moment for entry in entries), max)
    return tuple(entry for entry, time in zip(entries, latest, strict=True) if time <= moment)


def champions(entries: Sequence[Entry]) -> list[int]:
    """Return the versions that were champion, oldest first and the present one last.

    A rollback takes away what it went back over, so that a second one goes further back; those versions
    come again only by name or by the gate.
    """
    line: list[int] = []
    for entry in entries:
        if entry.action == "first" and PREVIOUS in entry.moves:
            line += [v for v in entry.moves[PREVIOUS] if v is not None]
        if CHAMPION not in entry.moves:
            continue
        old, new = entry.moves[CHAMPION]
        if entry.action == "rollback" and old in line:
            line.remove(old)
        if entry.action == "rollback" and new in line:
            line = line[: line.index(new)]
        if new is not None:
            line = [*(version for version in line if version != new), new]
    return line


def was_champion(entries: Sequence[Entry], version: int) -> bool:
    """Return whether a version was ever champion, or was `previous` when the ledger began."""
    return any(
        new == version and (alias == CHAMPION or (alias == PREVIOUS and entry.action == "first"))
        for entry in entries
        for alias, (_, new) in entry.moves.items()
    )


def withdrawn(entries: Sequence[Entry], version: int) -> Entry | None:
    """Return the entry that withdrew a version, if it was not champion again since.

    A rollback took its place as champion, or a person rejected it.
    """
    found = None
    for entry in entries:
        old, new = entry.moves.get(CHAMPION, (None, None))
        if new == version:
            found = None
            continue
        taken_back = old == version and entry.action == "rollback"
        rejected = entry.action == "reject" and entry.ids.version == version
        if taken_back or rejected:
            found = entry
    return found
