"""The results of the method comparison: the default against each method, by domain and task kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.method_scores import Best, MethodScore, best_methods, method_scores, shares
from experiments.methods import DEFAULT, SINGLE, UNDISTILLED, Method
from experiments.paired import PairedScores
from polydistill.evaluation.statistics.bootstrap import Interval

TEACHER = "teacher "
"""The prefix of a teacher's name among the models. It keeps teachers and methods apart."""
RIVAL = "rival "
"""The prefix of a rival's name among the models."""
GOAL = 0.9
"""The score that the student should reach in every task kind, as a share of the best teacher's score."""


@dataclass(frozen=True)
class Completion:
    """The progress of the comparison: finished, total and diverged trials.

    Attributes:
        finished: The number of finished trials.
        trials: The number of all trials: methods times seeds.
        diverged: The trials whose training diverged. They count as finished and are excluded from every mean.
    """

    finished: int
    trials: int
    diverged: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every trial is finished."""
        return self.finished == self.trials


@dataclass(frozen=True)
class Single:
    """The default, which uses all teachers, compared with the best single-teacher method.

    Attributes:
        method: The single-teacher method with the highest mean.
        gain: The score of the default minus the score of that method.
    """

    method: str
    gain: Interval


@dataclass(frozen=True)
class Domain:
    """The comparison on the tasks of one domain. The innermost key is the task kind; the last kind is `mean`.

    Attributes:
        tasks: The tasks of each kind that were available.
        scores: The `MethodScore` of each method; gains are relative to the default.
        teachers: The score of each teacher.
        best: The best distillation method.
        share_of_best_teacher: The score of each method divided by the best teacher's score.
        over_teachers: The score of the default minus the score of each teacher.
        singles: See `Single`; empty if no single-teacher method was compared.
    """

    tasks: dict[str, list[str]]
    scores: dict[str, dict[str, MethodScore]]
    teachers: dict[str, dict[str, float]]
    best: dict[str, Best]
    share_of_best_teacher: dict[str, dict[str, float]]
    over_teachers: dict[str, dict[str, Interval]]
    singles: dict[str, Single]


@dataclass(frozen=True)
class MethodComparison:
    """The content of `docs/results/<modality>/methods.json`.

    Attributes:
        modality: The students' modality.
        seeds: The seeds of the distillations.
        completion: The numbers of finished and of all trials, and the diverged trials.
        methods: The description of each method.
        domains: The results for `all`, `in-domain` and `out-of-domain` tasks.
        students: The sha256 of the student's weights, by method and seed.
    """

    modality: str
    seeds: tuple[int, ...]
    completion: Completion
    methods: dict[str, str]
    domains: dict[str, Domain]
    students: dict[str, dict[str, str]]


def compare_domains(paired: PairedScores, methods: Sequence[Method]) -> dict[str, Domain]:
    """Compare the methods that have scores, in each domain.

    The models of `paired` are methods, `undistilled`, teachers and rivals; see `TEACHER` and `RIVAL`. The default must
    be among them. Rivals are not compared here: see `experiments.headline`.
    """
    names = [method.name for method in methods if method.name in paired.models]
    return {domain: _compare(paired, domain, names) for domain in paired.tasks}


def _compare(paired: PairedScores, domain: str, names: Sequence[str]) -> Domain:
    students = [*names, *(name for name in (UNDISTILLED,) if name in paired.models)]
    scores = method_scores(paired, domain, students, DEFAULT)
    teachers = {
        model.removeprefix(TEACHER): {
            kind: paired.mean(domain, kind, model) for kind in paired.kinds(domain)
        }
        for model in paired.models
        if model.startswith(TEACHER)
    }
    return Domain(
        tasks=paired.tasks[domain],
        scores=scores,
        teachers=teachers,
        best=best_methods(paired, domain, names),
        share_of_best_teacher={
            method: shares({kind: one.mean for kind, one in kinds.items()}, teachers)
            for method, kinds in scores.items()
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

    - `best`: the default has the highest mean, or is indistinguishable from the method that has it.
    - `all teachers`: the interval of the default minus the best single-teacher method is not entirely below zero.
    - `90 %`: the default reaches this share of the best teacher's score.
    """
    share = domain.share_of_best_teacher[DEFAULT]
    return {
        kind: {
            "best": DEFAULT in {best.method, *best.indistinguishable},
            **(
                {"all teachers": domain.singles[kind].gain.high >= 0}
                if kind in domain.singles
                else {}
            ),
            **({"90 %": share[kind] >= GOAL} if kind in share else {}),
        }
        for kind, best in domain.best.items()
    }
