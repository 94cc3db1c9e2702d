from __future__ import annotations

import pytest

from polydistill.config.operations import GateParams
from polydistill.errors import MissingDataError, ParamsError
from polydistill.registry.gate import Verdict
from polydistill.registry.promotion import challenge, promote, reject, rollback
from tests.our_params import ONLY_GAIN
from tests.registry.recording import Desk

POLICY = GateParams(**ONLY_GAIN)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def judged(desk: Desk, *versions: int) -> list[Verdict]:
    """Publish and judge one version after the other."""
    verdicts = []
    for version in versions:
        challenge(desk.open(), version)
        verdicts.append(promote(desk.open(), POLICY))
    return verdicts


def snapshot(desk: Desk) -> tuple[object, ...]:
    return (
        desk.registry.aliases(),
        {v: dict(t) for v, t in desk.registry.tags.items()},
        desk.ledger.book,
    )


def test_without_a_challenger_there_is_nothing_to_judge(desk: Desk) -> None:
    with pytest.raises(MissingDataError, match="publish"):
        promote(desk.open(), POLICY)


def test_the_old_champion_is_kept_as_previous(desk: Desk) -> None:
    outcomes = [verdict.outcome for verdict in judged(desk, 1, 2, 3)]

    assert outcomes == ["promoted"] * 3
    assert desk.registry.aliases() == {"challenger": 3, "champion": 3, "previous": 2}
    assert desk.actions == ["first", *["challenge", "promote"] * 3]
    assert desk.entries[-1].moves == {"champion": (2, 3), "previous": (1, 2)}
    assert desk.entries[-1].ids.student_sha256 == "sha-3"
    assert {entry.who for entry in desk.entries} == {"ada"}


def test_a_refusal_moves_no_alias_and_says_why_on_the_version_and_in_the_ledger(desk: Desk) -> None:
    outcomes = [verdict.outcome for verdict in judged(desk, 3, 4)]

    assert outcomes == ["promoted", "refused"]
    assert desk.registry.aliases() == {"challenger": 4, "champion": 3}
    assert desk.registry.tags[4]["verdict"] == "refused"
    assert "0.4000" in desk.registry.tags[4]["verdict_reason"]
    assert (desk.entries[-1].action, desk.entries[-1].moves) == ("refuse", {})
    assert "0.4000" in desk.entries[-1].reason


def test_promoting_a_champion_again_changes_nothing(desk: Desk) -> None:
    judged(desk, 1, 3)
    before = snapshot(desk)

    outcome = promote(desk.open(), POLICY).outcome

    assert outcome == "unchanged"
    assert snapshot(desk) == before


def test_a_champion_that_lost_its_alias_is_judged_and_not_told_to_be_one(desk: Desk) -> None:
    judged(desk, 1, 3)
    desk.registry.set_alias("champion", None)

    verdict = promote(desk.open(), POLICY)

    assert (verdict.outcome, verdict.challenger, verdict.champion) == ("promoted", 3, 1)
    assert desk.registry.aliases()["champion"] == 3


def test_publishing_a_challenger_again_changes_nothing(desk: Desk) -> None:
    judged(desk, 1)
    before = snapshot(desk)

    assert challenge(desk.open(), 1) is None
    assert snapshot(desk) == before


def test_a_dry_run_says_the_verdict_and_changes_nothing(desk: Desk) -> None:
    desk.registry.set_alias("challenger", 1)
    before = snapshot(desk)

    verdict = promote(desk.open(), POLICY, dry_run=True)

    assert verdict.promoted
    assert verdict.dry_run
    assert snapshot(desk) == before
    assert desk.entries == ()


def test_force_promotes_what_the_gate_refuses_and_keeps_the_reason(desk: Desk) -> None:
    judged(desk, 3, 4)

    verdict = promote(desk.open(), POLICY, force="3 leaks a name.")

    assert (verdict.outcome, verdict.promoted, verdict.refused) == ("promoted", True, False)
    assert not verdict.rules[-1].passed
    entry = desk.entries[-1]
    assert (entry.action, entry.verdict) == ("force", "refused")
    assert "3 leaks a name." in entry.reason
    assert "0.4000" in entry.reason
    assert desk.registry.aliases() == {"challenger": 4, "champion": 4, "previous": 3}
    assert desk.registry.tags[4]["verdict"] == "forced"


def test_force_changes_nothing_where_the_gate_agrees(desk: Desk) -> None:
    challenge(desk.open(), 1)

    promote(desk.open(), POLICY, force="in a hurry")

    assert desk.entries[-1].action == "promote"


def test_force_without_a_reason_is_an_error_before_anything_is_written(desk: Desk) -> None:
    judged(desk, 3, 4)
    before = snapshot(desk)

    with pytest.raises(ParamsError, match="--reason"):
        promote(desk.open(), POLICY, force="  ")

    assert snapshot(desk) == before


def test_a_rollback_brings_the_earlier_champion_and_keeps_the_displaced_one(desk: Desk) -> None:
    judged(desk, 1, 2, 3)

    back = rollback(desk.open(), reason="3 is slow.")

    assert (back.champion, back.displaced, back.skipped) == (2, 3, ())
    assert desk.registry.aliases() == {"challenger": 3, "champion": 2, "previous": 3}
    assert desk.entries[back.entry - 1].reason == "Rolled back from 3 to 2: 3 is slow."


def test_a_second_rollback_goes_further_back_and_never_to_what_was_rolled_back_from(
    desk: Desk,
) -> None:
    judged(desk, 1, 2, 3)

    found = [rollback(desk.open()).champion for _ in range(2)]

    assert found == [2, 1]
    with pytest.raises(MissingDataError, match="no earlier champion"):
        rollback(desk.open())
    assert rollback(desk.open(), 3).champion == 3  # by name


def test_a_deleted_champion_is_skipped_and_named(desk: Desk) -> None:
    judged(desk, 1, 2, 3)
    desk.registry.delete(2)

    back = rollback(desk.open())

    assert (back.champion, back.skipped) == (1, (2,))
    assert "Skipped, as they do not exist any more: 2." in back.reason
    assert desk.registry.aliases() == {"challenger": 3, "champion": 1, "previous": 3}


def test_a_champion_that_was_deleted_comes_back_as_the_one_before(desk: Desk) -> None:
    judged(desk, 1, 2, 3)
    desk.registry.delete(3)

    back = rollback(desk.open())

    assert (back.champion, back.displaced, back.skipped) == (2, None, (3,))
    external = desk.entries[-2]
    assert external.action == "external"
    assert external.moves == {"challenger": (3, None), "champion": (3, None)}
    assert "Version 3 does not exist any more." in external.reason
    assert any("`polydistill rollback` brings" in notice for notice in desk.notices)


@pytest.mark.parametrize(
    ("to", "error", "message"),
    [
        (3, ParamsError, "champion already"),
        (9, MissingDataError, "no version 9. Known: 1, 2, 3, 4"),
        (4, ParamsError, "never champion. Champions: 1, 3"),
    ],
)
def test_a_rollback_to_what_makes_no_sense_is_refused(
    desk: Desk, to: int, error: type[Exception], message: str
) -> None:
    judged(desk, 1, 3)
    before = snapshot(desk)

    with pytest.raises(error, match=message):
        rollback(desk.open(), to)

    assert snapshot(desk) == before


def test_force_rolls_back_to_a_version_that_was_never_champion(desk: Desk) -> None:
    judged(desk, 1, 3)

    assert rollback(desk.open(), 4, force=True).champion == 4
    assert desk.registry.aliases()["previous"] == 3


def test_what_was_rolled_back_from_is_refused_until_someone_forces_it(desk: Desk) -> None:
    judged(desk, 1, 3)
    rollback(desk.open(), reason="it swears.")

    again = promote(desk.open(), POLICY)
    forced = promote(desk.open(), POLICY, force="fixed downstream")

    assert again.refused
    assert "it swears." in again.reason
    assert forced.promoted
    assert desk.registry.aliases()["champion"] == 3
    assert promote(desk.open(), POLICY).outcome == "unchanged"


def test_a_registry_that_had_champions_before_its_ledger_can_go_back(desk: Desk) -> None:
    for alias, version in (("challenger", 3), ("champion", 3), ("previous", 2)):
        desk.registry.set_alias(alias, version)

    back = rollback(desk.open())

    assert desk.actions == ["first", "rollback"]
    assert desk.entries[0].moves == {
        "challenger": (None, 3),
        "champion": (None, 3),
        "previous": (None, 2),
    }
    assert back.champion == 2


def test_a_version_that_nobody_has_looked_at_is_not_promoted(desk: Desk) -> None:
    judged(desk, 1)
    challenge(desk.open(), 2)
    before = snapshot(desk)

    with pytest.raises(
        MissingDataError, match="challenger is version 2, and version 3 was expected"
    ):
        promote(desk.open(), POLICY, expect=3)

    assert snapshot(desk) == before


def test_what_a_person_has_rejected_is_refused_until_someone_forces_it(desk: Desk) -> None:
    judged(desk, 1)
    challenge(desk.open(), 2)

    rejected = reject(desk.open(), POLICY, by="ada", reason="its licence")
    entry = desk.entries[-1]
    later = promote(desk.open(), POLICY)
    forced = promote(desk.open(), POLICY, force="the licence was bought")

    assert (rejected.outcome, rejected.refused) == ("refused", True)
    assert (entry.action, entry.moves, entry.reason) == ("reject", {}, rejected.reason)
    assert later.refused
    assert "by ada: its licence" in later.reason
    assert forced.promoted


def test_without_its_alias_the_last_champion_is_still_what_a_challenger_is_held_against(
    desk: Desk,
) -> None:
    judged(desk, 1)
    desk.registry.set_alias("champion", None)
    challenge(desk.open(), 2)

    verdict = promote(desk.open(), POLICY, dry_run=True)

    assert verdict.champion == 1
