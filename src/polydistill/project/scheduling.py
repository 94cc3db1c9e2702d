"""Decisions of a scheduled run before it starts: whether it is too late, and whether there is anything to do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from polydistill.config.operations import RetrainParams, RetrainPolicy

Action = Literal["run", "unchanged", "waiting"]


@dataclass(frozen=True)
class Lateness:
    """The due time and the start time of a run.

    Attributes:
        due: The time in the schedule, with a time zone.
        now: The start time, with a time zone.
        newer_due: The number of later runs of the same schedule that are due by now and not cancelled.
    """

    due: datetime
    now: datetime
    newer_due: int

    @property
    def seconds(self) -> float:
        """The delay in seconds, at least 0 even if the clocks disagree."""
        return max((self.now - self.due).total_seconds(), 0.0)


@dataclass(frozen=True)
class Registered:
    """The facts about a registered version that a plan needs.

    Attributes:
        version: The number of the version.
        lock_sha256: The sha256 of the modality's entries in `dvc.lock` when the version was made.
        data_md5: DVC's hash of the data that the version was made from; None if it is not recorded.
        verdict: The verdict of the gate or of a person, from the version's tag.
        refused: Whether the gate or a person refused the version, and nothing has changed since.
    """

    version: int
    lock_sha256: str | None
    data_md5: str | None
    verdict: str | None = None
    refused: bool = False


@dataclass(frozen=True)
class Facts:
    """The state of a project that a plan depends on.

    Attributes:
        stale: The stages and files that are not up to date according to DVC.
        lock_sha256: The sha256 of the modality's entries in `dvc.lock`; None before the first run.
        data_md5: DVC's hash of the data; None if `data/` has edits that `dvc add` has not saved.
        champion: The champion; None if there is none.
        challenger: The challenger; None if there is none.
    """

    stale: tuple[str, ...]
    lock_sha256: str | None
    data_md5: str | None
    champion: Registered | None
    challenger: Registered | None


@dataclass(frozen=True)
class Plan:
    """The decision about a run.

    Attributes:
        action: `run`: make a student; `unchanged`: nothing has changed; `waiting`: the policy's condition is not met.
        reason: A sentence that explains the decision to a person.
    """

    action: Action
    reason: str


def reason_to_skip(params: RetrainParams, lateness: Lateness) -> str | None:
    """Return the reason why a late run is skipped; None if it is not skipped.

    With `catch_up: all`, every missed run is run later; with `latest`, only the newest one; with `skip`, none whose
    delay exceeds `grace_s`.

    Examples:
        >>> from datetime import UTC, timedelta
        >>> due = datetime(2026, 1, 31, 3, tzinfo=UTC)
        >>> late = Lateness(due, due + timedelta(hours=2), newer_due=1)
        >>> reason_to_skip(RetrainParams(catch_up="latest"), late)
        'Due at 2026-01-31T03:00:00+00:00, 7200 s late; catch_up is latest, and 1 newer run is due.'
        >>> reason_to_skip(RetrainParams(catch_up="all"), late) is None
        True
    """
    delay = f"Due at {lateness.due.isoformat()}, {lateness.seconds:.0f} s late"
    if params.catch_up == "latest" and lateness.newer_due:
        runs = "run is" if lateness.newer_due == 1 else "runs are"
        return f"{delay}; catch_up is latest, and {lateness.newer_due} newer {runs} due."
    if params.catch_up == "skip" and lateness.seconds > params.grace_s:
        return f"{delay}; catch_up is skip, and grace_s is {params.grace_s:g}."
    return None


def plan(policy: RetrainPolicy, facts: Facts, drift: Callable[[], Sequence[str] | None]) -> Plan:
    """Decide whether a run has anything to do.

    Args:
        policy: The condition for making a new student.
        facts: The state of the project.
        drift: Returns the names of columns or tests that show drift from the champion's corpus, or None without a
            reference. It is called only if the decision depends on drift.
    """
    settled = _settled(facts)
    if settled is not None:
        return Plan("unchanged", f"Nothing is stale, and {settled}.")
    if facts.champion is None:
        return Plan("run", "There is no champion yet.")
    if policy == "always":
        stale = ", ".join(facts.stale) or "nothing, but the gate has not judged the student yet"
        return Plan("run", f"Stale: {stale}.")
    return _wait_for_data(policy, facts, facts.champion, drift)


def _settled(facts: Facts) -> str | None:
    """Return a description of the version made from the current files, if it was promoted or refused."""
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
    """Decide for the policies that depend only on the data."""
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
