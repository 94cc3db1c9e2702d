from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydistill.config.operations import GateParams
from polydistill.errors import DataError, ParamsError
from polydistill.registry.ledger import read_chain, replay
from polydistill.registry.promotion import challenge, promote, rollback
from tests.our_params import ONLY_GAIN
from tests.registry.recording import Desk, Killed

POLICY = GateParams(**ONLY_GAIN)
VERSIONS = st.integers(1, 4)
OPERATIONS = st.one_of(
    st.tuples(st.just("challenge"), VERSIONS),
    st.tuples(st.just("promote"), st.none()),
    st.tuples(st.just("force"), st.none()),
    st.tuples(st.just("rollback"), st.none() | VERSIONS),
    st.tuples(st.just("by hand"), st.tuples(st.sampled_from(["champion", "challenger", "mine"]),
                                            st.none() | VERSIONS)),
    st.tuples(st.just("delete"), VERSIONS),
    st.tuples(st.just("clock"), st.integers(-3, 3)),
)  # fmt: skip
CUTS = st.none() | st.integers(0, 7)


def do(desk: Desk, name: str, argument: object) -> None:
    """Do one thing, as a process of its own."""
    if name == "challenge" and argument in desk.registry.versions():
        assert isinstance(argument, int)
        challenge(desk.open(), argument)
    elif name in ("promote", "force"):
        promote(desk.open(), POLICY, force="why not" if name == "force" else None)
    elif name == "rollback":
        assert argument is None or isinstance(argument, int)
        rollback(desk.open(), argument, force=True)
    elif name == "by hand":
        assert isinstance(argument, tuple)
        if argument[1] is None or argument[1] in desk.registry.versions():
            desk.fuse.left = None
            desk.registry.set_alias(*argument)
    elif name == "delete" and argument in desk.registry.versions():
        assert isinstance(argument, int)
        desk.registry.delete(argument)
    elif name == "clock":
        assert isinstance(argument, int)
        desk.time += timedelta(days=argument)


def start(desk: Desk, cut: int | None) -> None:
    """Start a process that reconciles and does nothing else, and is cut off too."""
    desk.fuse.left = cut
    with suppress(Killed):
        desk.open().reconcile()
    desk.fuse.left = None


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(OPERATIONS, CUTS, CUTS), max_size=10))
def test_replaying_the_ledger_gives_the_registry_wherever_a_process_dies(
    steps: list[tuple[tuple[str, object], int | None, int | None]],
) -> None:
    desk = Desk()
    for (name, argument), cut, cut_again in steps:
        before = desk.entries
        desk.fuse.left = cut
        with suppress(Killed, DataError, ParamsError):
            do(desk, name, argument)
        start(desk, cut_again)

        desk.open().reconcile()

        assert replay(desk.entries) == desk.registry.aliases()
        assert desk.ledger.book.applied == len(desk.entries)
        assert desk.entries[: len(before)] == before
        lines = [entry.line for entry in desk.entries]
        assert read_chain(lines, "student-text", "memory") == desk.entries
        count = len(desk.entries)
        desk.open().reconcile()
        assert len(desk.entries) == count  # what agrees is left alone


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(OPERATIONS, CUTS), max_size=8))
def test_a_dry_run_writes_nothing_whatever_it_finds(
    steps: list[tuple[tuple[str, object], int | None]],
) -> None:
    desk = Desk()
    for (name, argument), cut in steps:
        desk.fuse.left = cut
        with suppress(Killed, DataError, ParamsError):
            do(desk, name, argument)
        desk.fuse.left = 0  # the first write kills
        with suppress(DataError):
            dry = promote(desk.open(), POLICY, dry_run=True)
            desk.fuse.left = None
            with suppress(DataError):
                real = promote(desk.open(), POLICY)
                assert (dry.outcome, dry.reason) == (real.outcome, real.reason)
        desk.fuse.left = None


@pytest.fixture
def desk() -> Desk:
    """Champion 1, challenger 3."""
    desk = Desk()
    challenge(desk.open(), 1)
    promote(desk.open(), POLICY)
    challenge(desk.open(), 3)
    desk.notices.clear()
    return desk


@pytest.mark.parametrize("writes", [1, 2, 3, 4])
def test_a_promotion_that_was_cut_off_is_finished_by_the_next_start(
    desk: Desk, writes: int
) -> None:
    desk.fuse.left = writes  # the entry; previous; champion; the tags
    with pytest.raises(Killed):
        promote(desk.open(), POLICY)

    desk.open().reconcile()

    assert desk.registry.aliases() == {"challenger": 3, "champion": 3, "previous": 1}
    assert desk.registry.tags[3]["verdict"] == "promoted"
    healed = writes < 3
    assert desk.actions[-1] == ("heal" if healed else "promote")
    assert [("is applied" in notice) for notice in desk.notices] == [True] * healed


@pytest.mark.parametrize("writes", [1, 2, 3, 4])
def test_a_rollback_that_was_cut_off_still_withdraws_what_it_went_back_from(
    desk: Desk, writes: int
) -> None:
    promote(desk.open(), POLICY)
    desk.fuse.left = writes  # the entry; previous; champion; the tags of both
    with pytest.raises(Killed):
        rollback(desk.open(), reason="it swears")

    desk.open().reconcile()

    assert desk.registry.aliases()["champion"] == 1
    verdicts = {version: desk.registry.tags[version]["verdict"] for version in (1, 3)}
    assert verdicts == {1: "restored", 3: "withdrawn"}


def test_who_finishes_a_promotion_that_was_cut_off_is_told_that_it_is_promoted(desk: Desk) -> None:
    desk.fuse.left = 2
    with pytest.raises(Killed):
        promote(desk.open(), POLICY)

    challenge(desk.open(), 3)  # the next run publishes the same student before it asks the gate
    first, second = promote(desk.open(), POLICY), promote(desk.open(), POLICY)

    assert (first.outcome, first.promoted) == ("promoted", True)
    assert first.reason == desk.ledger.book.entries[-2].reason  # the last one tells of the mending
    assert second.outcome == "unchanged"
    assert desk.actions.count("promote") == 2


def test_a_promotion_that_was_cut_off_before_its_entry_never_was(desk: Desk) -> None:
    desk.fuse.left = 0
    with pytest.raises(Killed):
        promote(desk.open(), POLICY)

    desk.open().reconcile()

    assert desk.registry.aliases() == {"challenger": 3, "champion": 1}
    assert desk.notices == []


def test_a_dry_run_says_what_it_would_mend(desk: Desk) -> None:
    desk.fuse.left = 1
    with pytest.raises(Killed):
        promote(desk.open(), POLICY)
    desk.registry.set_alias("mine", 2)
    count = len(desk.entries)

    verdict = promote(desk.open(), POLICY, dry_run=True)

    assert verdict.outcome == "promoted"  # it is champion once it is mended
    assert [notice.partition(" ")[0] for notice in desk.notices] == ["Would", "Moved"]
    assert len(desk.entries) == count
    assert desk.registry.aliases()["champion"] == 1


def test_an_alias_moved_by_hand_stays_and_is_recorded_as_external(desk: Desk) -> None:
    desk.registry.set_alias("champion", 2)

    desk.open().reconcile()

    entry = desk.entries[-1]
    assert (entry.action, entry.moves) == ("external", {"champion": (1, 2)})
    assert entry.who == "unknown, noticed by ada"
    assert desk.registry.aliases()["champion"] == 2
    assert desk.notices == [
        "Moved outside of polydistill: champion 1 → 2. The ledger records it as external."
    ]


def test_moving_back_by_hand_what_was_promoted_is_no_crash(desk: Desk) -> None:
    promote(desk.open(), POLICY)
    desk.registry.set_alias("champion", 1)

    desk.open().reconcile()

    assert desk.entries[-1].action == "external"
    assert desk.registry.aliases()["champion"] == 1


def test_a_version_that_was_deleted_before_its_promotion_was_applied_is_not_brought_back(
    desk: Desk,
) -> None:
    desk.fuse.left = 1
    with pytest.raises(Killed):
        promote(desk.open(), POLICY)
    desk.registry.delete(3)

    desk.open().reconcile()

    assert desk.registry.aliases() == {"champion": 1, "previous": 1}
    assert desk.actions[-2:] == ["heal", "external"]
    assert desk.entries[-1].moves == {"challenger": (3, None), "champion": (3, 1)}


def test_a_clock_that_is_behind_is_told_and_the_order_stays(desk: Desk) -> None:
    desk.time -= timedelta(hours=2)

    promote(desk.open(), POLICY)

    assert desk.entries[-1].moment < desk.entries[-2].moment
    assert len(desk.notices) == 1
    assert "one of the clocks is wrong" in desk.notices[0]
