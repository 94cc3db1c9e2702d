"""What a scheduled run decides before it starts: whether it comes too late, and whether there is anything to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from polydistill.config.operations import RetrainParams, RetrainPolicy

Action = Literal["run", "unchanged", "waiting"]


@dataclass(frozen=True)
class Lateness:
    """When a run was due, and when it started.

    Attributes:
        due: When its schedule wanted it; with a time zone.
        now: When it starts; with a time zone.
        newer_due: Runs of the same schedule that were due after it and until now, and were not cancelled.
    """

    due: datetime
    now: datetime
    newer_due: int

    @property
    def seconds(self) -> float:
        """How late it is; never below zero, whatever the clocks say."""
        return max((self.now - self.due).total_seconds(), 0.0)


@dataclass(frozen=True)
class Registered:
    """A version of the registry, as far as a plan needs it.

    Attributes:
        version: Its number.
        lock_sha256: Of the modality's entries in `dvc.lock` that it was made with.
        data_md5: DVC's hash of the data that it was made with; none, where it is not recorded.
        verdict: Of the gate or a person, as its tag has it.
        refused: Whether gate or person refused it, and would again.
    """

    version: int
    lock_sha256: str | None
    data_md5: str | None
    verdict: str | None = None
    refused: bool = False


@dataclass(frozen=True)
class Facts:
    """What a plan is made of.

    Attributes:
        stale: Stages and files that DVC says are not up to date.
        lock_sha256: Of the modality's entries in `dvc.lock`; none, before the first run.
        data_md5: DVC's hash of the data; none, where `data/` has edits that no `dvc add` has saved.
        champion: The champion, if there is one.
        challenger: The challenger, if there is one.
    """

    stale: tuple[str, ...]
    lock_sha256: str | None
    data_md5: str | None
    champion: Registered | None
    challenger: Registered | None


@dataclass(frozen=True)
class Plan:
    """What a run should do.

    Attributes:
        action: Make a student; or nothing has changed; or the policy waits for something that has not come.
        reason: Why, in a sentence for a person.
    """

    action: Action
    reason: str


def reason_to_skip(params: RetrainParams, lateness: Lateness) -> str | None:
    """Return why a run that comes late should not execute; none, if it should.

    `all` makes up for every missed run; `skip` for none that is later than `grace_s`; `latest` for the newest.

    Examples:
        >>> from datetime import UTC, timedelta
        >>> due = datetime(2026, 1, 31, 3, tzinfo=UTC)
        >>> late = Lateness(due, due + timedelta(hours=2), newer_due=1)
        >>> reason_to_skip(RetrainParams(catch_up="latest"), late)
        'Due at 2026-01-31T03:00:00+00:00, 7200 s late; catch_up: latest, and 1 newer is due.'
        >>> reason_to_skip(RetrainParams(catch_up="all"), late) is None
        True
    """
    said = f"Due at {lateness.due.isoformat()}, {lateness.seconds:.0f} s late"
    if params.catch_up == "latest" and lateness.newer_due:
        verb = "is" if lateness.newer_due == 1 else "are"
        return f"{said}; catch_up: latest, and {lateness.newer_due} newer {verb} due."
    if params.catch_up == "skip" and lateness.seconds > params.grace_s:
        return f"{said}; catch_up: skip, and grace_s is {params.grace_s:g}."
    return None


def plan(policy: RetrainPolicy, facts: Facts, drift: Callable[[], Sequence[str] | None]) -> Plan:
    """Decide whether a run has anything to do.

    Args:
        policy: What makes a new student necessary.
        facts: See `Facts`.
        drift: Returns what has drifted from the champion's corpus, empty if nothing has; None, if there
            is nothing to compare with. Called only where the answer depends on it.
    """
    settled = _settled(facts)
    if settled is not None:
        return Plan("unchanged", f"Nothing is stale, and {settled}.")
    if facts.champion is None:
        return Plan("run", "There is no champion yet.")
    if policy == "always":
        stale = ", ".join(facts.stale) or "nothing, but its student is not judged yet"
        return Plan("run", f"Stale: {stale}.")
    return _wait_for_data(policy, facts, facts.champion, drift)


def _settled(facts: Facts) -> str | None:
    """Describe the version that the files are, if it has been judged already."""
    champion, challenger = facts.champion, facts.challenger
    if facts.stale:
        return None
    if champion is not None and champion.lock_sha256 == facts.lock_sha256:
        return f"version {champion.version} is champion"
    if challenger is None or challenger.lock_sha256 != facts.lock_sha256:
        return None
    return f"version {challenger.version} was refused" if challenger.refused else None


def _wait_for_data(
    policy: RetrainPolicy,
    facts: Facts,
    champion: Registered,
    drift: Callable[[], Sequence[str] | None],
) -> Plan:
    """Decide for the policies that look at the data alone."""
    if facts.data_md5 is not None and facts.data_md5 == champion.data_md5:
        reason = f"The data are those of champion {champion.version}; policy: {policy}."
        return Plan("waiting", reason)
    if policy == "on-new-data":
        return Plan("run", f"The data are not those of champion {champion.version}.")
    drifted = drift()
    if drifted is None:
        return Plan("run", f"Champion {champion.version} has no reference to compare drift with.")
    if drifted:
        return Plan("run", f"Drift from champion {champion.version}: {', '.join(drifted)}.")
    return Plan("waiting", f"New data without drift from champion {champion.version}.")
