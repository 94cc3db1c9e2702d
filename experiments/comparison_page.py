"""The method comparison as a page of Markdown: a summary in words, then the tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from experiments.comparison import GOAL, Completion, Domain, MethodComparison, goals
from experiments.formatting import NOTHING, formatted_gain, listed, negated, plus_minus, row, signed
from experiments.methods import DEFAULT
from polydistill.evaluation.statistics.bootstrap import CONFIDENCE, RESAMPLES


def markdown(report: MethodComparison) -> str:
    """Return the whole page."""
    lines = [f"# Method comparison: the {report.modality} student", "", *partial(report.completion)]
    lines += [
        (
            f"Seeds: {', '.join(map(str, report.seeds))}. All methods share the student, the targets, the steps and the "
            "seeds; all except SimReg and CompRess also share the heads. Brackets hold the "
            f"{CONFIDENCE:.0%} interval of a paired bootstrap ({RESAMPLES:,} resamples; a group of examples is drawn as a "
            "whole). ± is the standard deviation over seeds. "
            f"`python -m experiments methods {report.modality}` writes this page."
        ),
        "",
        "| method | description |",
        "|---|---|",
        *(f"| {name} | {about} |" for name, about in report.methods.items()),
        "",
        "## Summary",
        "",
        *_summary(report),
    ]
    if report.completion.is_complete:
        lines += ["", "![Gain over the default, with intervals](methods.svg)"]
    for name, domain in report.domains.items():
        lines += ["", f"## {name.capitalize()} tasks", "", *_tables(domain)]
    return "\n".join(lines) + "\n"


def partial(completion: Completion) -> list[str]:
    """Return a line about unfinished trials and a line about diverged trials, if there are any."""
    lines = []
    if not completion.is_complete:
        lines += [
            f"**PARTIAL: {completion.finished} of {completion.trials} trials are finished.**",
            "",
        ]
    if completion.diverged:
        lines += [f"Diverged, and left out of every mean: {'; '.join(completion.diverged)}.", ""]
    return lines


def _summary(report: MethodComparison) -> list[str]:
    """Return the task kinds in which another method has a higher mean than the default, and the missed goals."""
    lines = []
    for name, domain in report.domains.items():
        losses = [
            f"{kind} (**{best.method}** minus the default: {signed(best.lead[DEFAULT])}"
            f"{'' if DEFAULT in best.indistinguishable else '; the interval excludes zero'})"
            for kind, best in domain.best.items()
            if best.method != DEFAULT and DEFAULT in best.lead
        ]
        won = [kind for kind, best in domain.best.items() if best.method == DEFAULT]
        sentence = (
            f"the default does NOT have the highest score in {listed(losses)}"
            if losses
            else "the default has the highest score in every task kind"
        )
        if losses and won:
            sentence += f"; it has the highest score in {listed(won)}"
        lines.append(f"- {name.capitalize()} tasks: {sentence}.")
    lines += _goal_lines(report.domains["all"])
    return lines


def _goal_lines(domain: Domain) -> list[str]:
    reached = goals(domain)
    lines = [
        (
            "- All tasks: the default is the best method, or indistinguishable from the best, in "
            f"{_which([kind for kind in reached if reached[kind]['best']], reached)}."
        )
    ]
    if domain.singles:
        worse = [
            f"{kind} ({single.method.removeprefix('only ')} alone minus all: {signed(negated(single.gain))})"
            for kind, single in domain.singles.items()
            if single.gain.mean < 0
        ]
        lines.append(
            "- All teachers together score "
            + (
                f"lower than the best single teacher in {listed(worse)}."
                if worse
                else "at least as high as the best single teacher in every task kind."
            )
        )
    share = domain.share_of_best_teacher.get(DEFAULT, {})
    if share:
        shown = ", ".join(f"{kind} {value:.0%}" for kind, value in share.items())
        missed = [kind for kind, value in share.items() if value < GOAL]
        lines.append(
            f"- Share of the best teacher's score: {shown}; the goal of {GOAL:.0%} is "
            + (f"missed in {listed(missed)}." if missed else "met in every task kind.")
        )
    return lines


def _tables(domain: Domain) -> list[str]:
    """Return the tables of scores, of gains over the default, and of the best methods."""
    kinds = list(domain.best)
    head = [f"| | {' | '.join(kinds)} |", f"|---|{'---:|' * len(kinds)}"]
    scores = [
        row(
            method,
            [
                ("**{}**" if domain.best[kind].method == method else "{}").format(
                    f"{by_kind[kind].mean:.3f}{plus_minus(by_kind[kind].seed_spread)}"
                )
                for kind in kinds
            ],
        )
        for method, by_kind in domain.scores.items()
    ]
    teachers = [
        row(f"teacher {name}", [f"{by_kind[kind]:.3f}" for kind in kinds])
        for name, by_kind in domain.teachers.items()
    ]
    share = domain.share_of_best_teacher.get(DEFAULT, {})
    shown = [f"{share[kind]:.0%}" if kind in share else NOTHING for kind in kinds]
    gains = [
        row(method, [formatted_gain(by_kind[kind]) for kind in kinds])
        for method, by_kind in domain.scores.items()
        if method != DEFAULT
    ]
    over = [
        row(f"teacher {name}", [signed(by_kind[kind]) for kind in kinds])
        for name, by_kind in domain.over_teachers.items()
    ]
    indistinguishable = [
        row(
            "indistinguishable from the best",
            [", ".join(domain.best[kind].indistinguishable) or NOTHING for kind in kinds],
        )
    ]
    return [
        "Main scores; the best distillation method is in bold.", "",
        *head, *scores, *teachers, row("default's share of the best teacher", shown), "",
        "Each method minus the default:", "",
        *head, *gains, "",
        "The default minus each teacher:", "",
        *head, *over, "",
        ("The best distillation method, and the methods that are indistinguishable from it (the interval of the "
        "difference contains zero):"), "",
        *head, row("best", [domain.best[kind].method for kind in kinds]), *indistinguishable,
    ]  # fmt: skip


def _which(some: Sequence[str], of: Iterable[str]) -> str:
    missing = [kind for kind in of if kind not in some]
    return f"every task kind except {listed(missing)}" if missing else "every task kind"
