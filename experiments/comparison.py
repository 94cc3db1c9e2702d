"""The method comparison: the default against the baselines, in every task kind and domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.methods import DEFAULT, SINGLE, UNDISTILLED, Method
from experiments.standings import Best, Standing, best_methods, shares, standings
from polydistill.evaluation.statistics.bootstrap import Interval
from polydistill.evaluation.statistics.paired import PairedScores

TEACHER = "teacher "
"""Before a teacher's name among the models, so that no method is called the same."""
GOAL = 0.9
"""Of the best teacher, in every task kind."""


@dataclass(frozen=True)
class Progressed:
    """How far the comparison is.

    Attributes:
        finished: Cells that are there.
        cells: All of them: methods times seeds.
        diverged: Cells whose training diverged; they count as finished, and in no mean.
    """

    finished: int
    cells: int
    diverged: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return self.finished == self.cells


@dataclass(frozen=True)
class Single:
    """All teachers together against the best single one.

    Attributes:
        method: The single-teacher method with the greatest mean.
        gain: The default minus it.
    """

    method: str
    gain: Interval


@dataclass(frozen=True)
class Domain:
    """The comparison on the tasks of one domain; every mapping ends by task kind, `mean` last.

    Attributes:
        tasks: Kind: the tasks that were there.
        standings: Method: see `Standing`; gains are over the default.
        teachers: Teacher: its own score.
        best: Who leads among the distilled.
        share_of_best_teacher: Method: its score over the best teacher's.
        over_teachers: Teacher: the default minus it.
        singles: See `Single`; empty without single-teacher methods.
    """

    tasks: dict[str, list[str]]
    standings: dict[str, dict[str, Standing]]
    teachers: dict[str, dict[str, float]]
    best: dict[str, Best]
    share_of_best_teacher: dict[str, dict[str, float]]
    over_teachers: dict[str, dict[str, Interval]]
    singles: dict[str, Single]


@dataclass(frozen=True)
class MethodsReport:
    """What `docs/results/<modality>/methods.json` holds.

    Attributes:
        modality: Of the students.
        seeds: Of the distillations.
        progressed: How much of it is there.
        methods: Method: what it is.
        domains: `all`, `in-domain`, `out-of-domain`.
        students: Method, seed: the sha256 of the student's weights.
    """

    modality: str
    seeds: tuple[int, ...]
    progressed: Progressed
    methods: dict[str, str]
    domains: dict[str, Domain]
    students: dict[str, dict[str, str]]


def compare_methods(paired: PairedScores, methods: Sequence[Method]) -> dict[str, Domain]:
    """Compare the methods that have scores, in each domain.

    The models of `paired` are methods, `undistilled`, and teachers with `TEACHER` before their names. The
    default must be among them.
    """
    names = [method.name for method in methods if method.name in paired.models]
    return {domain: _compare(paired, domain, names) for domain in paired.tasks}


def _compare(paired: PairedScores, domain: str, names: Sequence[str]) -> Domain:
    everyone = [*names, *(name for name in (UNDISTILLED,) if name in paired.models)]
    stand = standings(paired, domain, everyone, DEFAULT)
    teachers = {
        model.removeprefix(TEACHER): {
            kind: paired.mean(domain, kind, model) for kind in paired.kinds(domain)
        }
        for model in paired.models
        if model.startswith(TEACHER)
    }
    return Domain(
        tasks=paired.tasks[domain],
        standings=stand,
        teachers=teachers,
        best=best_methods(paired, domain, names),
        share_of_best_teacher={
            method: shares({kind: one.mean for kind, one in kinds.items()}, teachers)
            for method, kinds in stand.items()
        },
        over_teachers={
            name: {
                kind: paired.difference(domain, kind, DEFAULT, TEACHER + name)
                for kind in paired.kinds(domain)
            }
            for name in teachers
        },
        singles=_singles(paired, domain, [name for name in names if name.startswith(SINGLE)]),
    )


def _singles(paired: PairedScores, domain: str, singles: Sequence[str]) -> dict[str, Single]:
    found = {}
    for kind in paired.kinds(domain) if singles else ():
        best = max(singles, key=lambda name: paired.mean(domain, kind, name))
        if paired.common_seeds(DEFAULT, best):
            found[kind] = Single(best, paired.difference(domain, kind, DEFAULT, best))
    return found


def goals(domain: Domain) -> Mapping[str, Mapping[str, bool]]:
    """Return, for each task kind, whether the default meets each goal.

    `best`: it leads, or the leader is not surely above it; `all teachers`: the best single teacher is not surely
    above all together; `90 %`: of the best teacher's score.
    """
    share = domain.share_of_best_teacher[DEFAULT]
    return {
        kind: {
            "best": DEFAULT in {best.method, *best.within},
            **(
                {"all teachers": not domain.singles[kind].gain.below_zero}
                if kind in domain.singles
                else {}
            ),
            **({"90 %": share[kind] >= GOAL} if kind in share else {}),
        }
        for kind, best in domain.best.items()
    }
