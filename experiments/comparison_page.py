"""The method comparison as a page of Markdown, with what it says in words, made of the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from experiments.comparison import GOAL, Domain, MethodsReport, goals
from experiments.methods import DEFAULT
from experiments.words import NOTHING, gain_cell, plus_minus, row, signed
from polydistill.evaluation.statistics.bootstrap import Interval
from polydistill.evaluation.statistics.kinds import OVERALL
from polydistill.evaluation.statistics.paired import CONFIDENCE, RESAMPLES

OVERALL_NAME = "the mean over kinds"


def markdown(report: MethodsReport) -> str:
    """Return the whole page."""
    lines = [f"# Methods compared: the {report.modality} student", "", *_partial(report)]
    lines += [
        (
            f"Seeds {', '.join(map(str, report.seeds))}; students, targets, steps and seeds are equal, and heads but "
            f"for SimReg. Brackets: {CONFIDENCE:.0%} interval of the paired bootstrap ({RESAMPLES:,} resamples; groups of "
            "examples are drawn whole); ±: standard deviation over seeds. "
            f"`python -m experiments methods {report.modality}` writes this page."
        ),
        "",
        "| method | is |",
        "|---|---|",
        *(f"| {name} | {about} |" for name, about in report.methods.items()),
        "",
        "## What the numbers say",
        "",
        *_in_words(report),
    ]
    if report.progressed.is_complete:
        lines += ["", "![Gain over the default, with intervals](methods.svg)"]
    for name, domain in report.domains.items():
        lines += ["", f"## {name.capitalize()} tasks", "", *_tables(domain)]
    return "\n".join(lines) + "\n"


def _partial(report: MethodsReport) -> list[str]:
    """Say what is missing, where anything is."""
    at, lines = report.progressed, []
    if not at.is_complete:
        lines += [f"**PARTIAL: {at.finished} of {at.cells} cells are finished.**", ""]
    if at.diverged:
        lines += [f"Diverged, and in no mean: {'; '.join(at.diverged)}.", ""]
    return lines


def _in_words(report: MethodsReport) -> list[str]:
    """Say in which task kinds the default does not win, against whom, and which goals it misses."""
    lines = []
    for name, domain in report.domains.items():
        losses = [
            f"{kind} (**{best.method}** is {signed(best.lead[DEFAULT])} above it"
            f"{'' if DEFAULT in best.within else ', surely'})"
            for kind, best in domain.best.items()
            if best.method != DEFAULT and DEFAULT in best.lead
        ]
        won = [kind for kind, best in domain.best.items() if best.method == DEFAULT]
        said = (
            f"the default does NOT have the best mean in {_listed(losses)}"
            if losses
            else "the default has the best mean in every task kind"
        )
        if losses and won:
            said += f"; it has in {_listed(won)}"
        lines.append(f"- {name.capitalize()} tasks: {said}.")
    lines += _goals_in_words(report.domains["all"])
    return lines


def _goals_in_words(domain: Domain) -> list[str]:
    reached = goals(domain)
    lines = [
        (
            "- Best, or with the best inside the interval, on all tasks: "
            f"{_which([kind for kind in reached if reached[kind]['best']], reached)}."
        )
    ]
    if domain.singles:
        worse = [
            f"{kind} ({single.method.removeprefix('only ')} alone is {signed(_turned(single.gain))} above)"
            for kind, single in domain.singles.items()
            if single.gain.mean < 0
        ]
        lines.append(
            "- All teachers together against the best single one: "
            + (f"less in {_listed(worse)}." if worse else "at least as good in every task kind.")
        )
    share = domain.share_of_best_teacher.get(DEFAULT, {})
    if share:
        told = ", ".join(f"{kind} {value:.0%}" for kind, value in share.items())
        missed = [kind for kind, value in share.items() if value < GOAL]
        lines.append(
            f"- Share of the best teacher's score: {told}; the goal of {GOAL:.0%} is "
            + (f"missed in {_listed(missed)}." if missed else "met in all.")
        )
    return lines


def _tables(domain: Domain) -> list[str]:
    """Return scores, then gains over the default, then the best."""
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
        for method, by_kind in domain.standings.items()
    ]
    teachers = [
        row(f"teacher {name}", [f"{by_kind[kind]:.3f}" for kind in kinds])
        for name, by_kind in domain.teachers.items()
    ]
    share = domain.share_of_best_teacher.get(DEFAULT, {})
    shown = [f"{share[kind]:.0%}" if kind in share else NOTHING for kind in kinds]
    gains = [
        row(
            method,
            [gain_cell(by_kind[kind]) for kind in kinds],
        )
        for method, by_kind in domain.standings.items()
        if method != DEFAULT
    ]
    over = [
        row(f"teacher {name}", [signed(by_kind[kind]) for kind in kinds])
        for name, by_kind in domain.over_teachers.items()
    ]
    within = [
        row(
            "not surely below the best",
            [", ".join(domain.best[kind].within) or NOTHING for kind in kinds],
        )
    ]
    return [
        "Main scores; the best of the distilled is bold.", "",
        *head, *scores, *teachers, row("default's share of the best teacher", shown), "",
        "Minus the default:", "",
        *head, *gains, "",
        "The default minus each teacher:", "",
        *head, *over, "",
        "The best of the distilled, and who is near it:", "",
        *head, row("best", [domain.best[kind].method for kind in kinds]), *within,
    ]  # fmt: skip


def _turned(gain: Interval) -> Interval:
    return Interval(-gain.mean, -gain.high, -gain.low)


def _which(some: Sequence[str], of: Iterable[str]) -> str:
    missing = [kind for kind in of if kind not in some]
    return f"not in {_listed(missing)}" if missing else "every task kind"


def _listed(words: Sequence[str]) -> str:
    return ", ".join(OVERALL_NAME if word == OVERALL else word for word in words)
