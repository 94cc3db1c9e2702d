"""The ledger: one entry per move of a model's aliases, each with the hash of the entry before it.

This module contains pure functions on entries. `recorded` writes the entries, and the integrations store them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from itertools import accumulate
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from polydistill.errors import LedgerError

NOTHING_BEFORE = "0" * 64
"""`previous_sha256` of the first entry."""

Action = Literal[
    "first", "challenge", "promote", "refuse", "reject", "force", "rollback", "external", "heal"
]
Moves = Mapping[str, tuple[int | None, int | None]]
"""Old and new version by alias. None: the alias does not exist."""
FINDINGS: tuple[Action, ...] = ("first", "external", "heal")
"""Actions of entries that record moves which the registry has already made."""
WITHDRAWN = "withdrawn"
"""Verdict tag of a version that was rejected or rolled back. It can only be promoted again with `force`."""
CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"


class Ids(BaseModel):
    """Identifiers of an entry's version and of its origin. None: unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int | None = None
    student_sha256: str | None = None
    lock_sha256: str | None = None
    git_commit: str | None = None
    run_id: str | None = None


class Entry(BaseModel):
    """One line of the ledger. An entry never changes once it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    schema_version: Literal[1] = 1
    number: PositiveInt
    """Position in the chain, from 1. It determines the order of the entries, regardless of their times."""
    when: str
    """Time in UTC, ISO 8601, by the clock of the machine that wrote the entry."""
    who: str
    """A person or a service, never a host."""
    model: str
    action: Action
    moves: dict[str, tuple[int | None, int | None]]
    """Old and new version by alias."""
    verdict: str | None
    """The gate's verdict. None: the gate did not judge."""
    reason: str
    ids: Ids
    previous_sha256: str
    """The `sha256` of the previous entry."""
    sha256: str
    """The hash of this entry's canonical JSON without this field."""

    @property
    def moment(self) -> datetime:
        """`when` as a `datetime`."""
        return datetime.fromisoformat(self.when)

    @property
    def line(self) -> str:
        """The entry as canonical JSON on one line, without a line break."""
        return canonical(self.model_dump(mode="json"))


def canonical(content: Mapping[str, object]) -> str:
    """Return JSON with sorted keys and no spaces, so that the same content gives the same bytes."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sealed(before: Sequence[Entry], **content: Any) -> Entry:
    """Return the entry that follows `before`, with its number and both hashes.

    Args:
        before: All earlier entries of the ledger.
        **content: The other fields of an `Entry`.
    """
    number, last = len(before) + 1, before[-1].sha256 if before else NOTHING_BEFORE
    unsealed = Entry(number=number, previous_sha256=last, sha256="", **content)
    return unsealed.model_copy(update={"sha256": digest(unsealed)})


def digest(entry: Entry) -> str:
    """Return the correct `sha256` of an entry."""
    content = entry.model_dump(mode="json", exclude={"sha256"})
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def read_chain(lines: Sequence[str], model: str, where: str) -> tuple[Entry, ...]:
    """Return the entries of a ledger after checking them.

    This function does not detect missing entries at the end. The registry stores the hash of the last entry for that.

    Args:
        lines: One entry per line, in order.
        model: The name of the registered model.
        where: The name of the ledger in error messages.

    Raises:
        LedgerError: An entry was edited, removed, inserted or moved. The message names the entry.
    """
    entries: list[Entry] = []
    state: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        entry = read_entry(line, number, where)
        if problem := _problem(entry, line, entries, model, state):
            raise LedgerError(f"{where}: {problem}")
        state = moved(state, entry.moves)
        entries.append(entry)
    return tuple(entries)


def read_entry(line: str, number: int, where: str) -> Entry:
    """Parse one line as an entry. Its hashes are not checked.

    Raises:
        LedgerError: The line is not a valid entry of this schema version.
    """
    try:
        return Entry.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "it"
        raise LedgerError(
            f"{where}: entry {number} is damaged, or of a newer polydistill: {field}: {first['msg']}."
        ) from error


def _problem(
    entry: Entry, line: str, before: Sequence[Entry], model: str, state: Mapping[str, int]
) -> str | None:
    """Return a message if an entry is not a valid successor of the entries before it."""
    number, here, found = entry.number, len(before) + 1, digest(entry)
    last = before[-1].sha256 if before else NOTHING_BEFORE
    if found != entry.sha256 or entry.line != line:
        return f"entry {number} was edited: its hash is {found[:12]}, it says {entry.sha256[:12]}."
    if number > here:
        return f"entry {here} was removed: after entry {here - 1} comes entry {number}."
    if number < here:
        return f"entry {number} was inserted or moved: it is where entry {here} has to be."
    if entry.previous_sha256 != last:
        return f"entry {number} does not follow the one before it: entry {here - 1} is another one."
    if entry.model != model:
        return f"entry {number} is of {entry.model}, not of {model}."
    wrong = (
        f"entry {number} moves {alias} from {shown(old)}, which was {shown(state.get(alias))} then."
        for alias, (old, _) in entry.moves.items()
        if state.get(alias) != old
    )
    return next(wrong, None)


def shown(version: int | None) -> str:
    """Return a version as text for messages; `none` for None."""
    return "none" if version is None else str(version)


def describe_moves(moves: Moves) -> str:
    """Return moves as text, such as `champion 2 → 3, previous 1 → 2`."""
    return ", ".join(
        f"{alias} {shown(old)} → {shown(new)}" for alias, (old, new) in sorted(moves.items())
    )


def moved(state: Mapping[str, int], moves: Moves) -> dict[str, int]:
    """Return the aliases after the moves are applied to `state`."""
    after: dict[str, int | None] = {**state, **{a: new for a, (_, new) in moves.items()}}
    return {alias: version for alias, version in after.items() if version is not None}


def replay(entries: Sequence[Entry]) -> dict[str, int]:
    """Return the aliases after all moves of the entries are applied, starting without aliases."""
    state: dict[str, int] = {}
    return reduce(moved, (entry.moves for entry in entries), state)


def as_of(entries: Sequence[Entry], moment: datetime) -> tuple[Entry, ...]:
    """Return the entries up to and including a moment.

    Clocks differ between machines, but the order of the chain is reliable. The effective time of an entry is therefore
    the latest time among itself and all earlier entries.
    """
    latest = accumulate((entry.moment for entry in entries), max)
    return tuple(entry for entry, time in zip(entries, latest, strict=True) if time <= moment)


def champions(entries: Sequence[Entry]) -> list[int]:
    """Return the versions that were champion, with the current champion last.

    A rollback removes the displaced version and those between it and the restored version, so that a second rollback
    restores a still earlier champion.
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
    """Return the entry that withdrew a version: a rollback or rejection.

    None: the version was never withdrawn, or has become champion again since.
    """
    found = None
    for entry in entries:
        old, new = entry.moves.get(CHAMPION, (None, None))
        rejected = entry.action == "reject" and entry.ids.version == version
        if new == version:
            found = None
        elif rejected or (entry.action == "rollback" and old == version):
            found = entry
    return found
