"""The first lines of a report: use the student or not, three deciding numbers, where it is weak, what it costs."""

import math
from collections.abc import Mapping
from typing import Any

from polydistill.evaluation.statistics.kinds import OVERALL
from polydistill.report.comparison import BETTER, WORSE
from polydistill.report.gate import DASH
from polydistill.report.models import usd_per_million
from polydistill.report.tables import STUDENT, UNDISTILLED

Facts = Mapping[str, Any]
WORDS = {
    "promoted": ("Use it", "good"),
    "unchanged": ("Use it", "good"),
    "refused": ("Do not use it", "bad"),
}
"""What to do by the outcome of the gate, and the tone of the words."""
UNDECIDED = ("Undecided", "note")
NAMED = 4
"""Maximum number of tasks that a sentence names."""


def headline(facts: Facts) -> dict[str, Any]:
    """Return the decision, the three deciding numbers, the weak points and the cost, as text for a reader."""
    word, tone = _decision(facts)
    return {
        "word": word,
        "tone": tone,
        "line": facts["gate"]["line"],
        "numbers": [_gain(facts), _share(facts), _speed(facts)],
        "weak": _weak_points(facts),
        "cost": _cost(facts),
    }


def points(value: float) -> str:
    """Return a score in [-1, 1] in hundredths, to one decimal.

    Examples:
        >>> points(0.61234), points(-0.0004)
        ('61.2', '0.0')
    """
    return (
        f"{100 * value:.1f}".replace("-0.0", "0.0") if abs(value) < 0.0005 else f"{100 * value:.1f}"
    )


def signed(value: float) -> str:
    """Return a difference of scores in hundredths, to one decimal, with its sign.

    Examples:
        >>> signed(0.012), signed(-0.0001)
        ('+1.2', '0.0')
    """
    return "0.0" if abs(value) < 0.0005 else f"{100 * value:+.1f}"


def span(low: float, high: float) -> str:
    r"""Return an interval of a difference of scores, in hundredths.

    Examples:
        >>> span(-0.01, 0.021) == "[-1.0,\N{NO-BREAK SPACE}+2.1]"
        True
    """
    return f"[{signed(low)},\N{NO-BREAK SPACE}{signed(high)}]"


def money(usd: float) -> str:
    """Return a price to three significant digits.

    Examples:
        >>> money(0.00136), money(1234.5), money(0)
        ('0.00136', '1,230', '0.00')
    """
    if usd == 0:
        return "0.00"
    digits = 2 - math.floor(math.log10(usd))
    return f"{round(usd, digits):,.{max(0, digits)}f}"


def _decision(facts: Facts) -> tuple[str, str]:
    verdict = facts["gate"]["verdict"]
    if verdict is None:
        return UNDECIDED
    judged, here = verdict.get("student_sha256"), facts["student"].get("student_sha256")
    if judged and here and judged != here:
        return UNDECIDED
    return WORDS.get(verdict["outcome"], UNDECIDED)


def _number(name: str, value: str, context: str, interval: str = "") -> dict[str, str]:
    return {"name": name, "value": value, "interval": interval, "context": context}


def _whole(facts: Facts) -> Facts | None:
    """Return the row of the mean over the kinds, or None."""
    rows = [row for row in facts["scores"]["kinds"] if row["name"] == OVERALL]
    return rows[0] if rows else None


def _gain(facts: Facts) -> dict[str, str]:
    whole = _whole(facts)
    champion = facts["changes"] and f"version {facts['changes']['version']}"
    for name, shown in (("champion", champion), (UNDISTILLED, "the undistilled student")):
        if whole and name in whole["differences"]:
            change = whole["differences"][name]
            context = f"{points(whole['score'])}, was {points(whole['scores'][name])}: {change['verdict']}"
            interval = span(change["low"], change["high"])
            value = f"{signed(change['mean'])} points"
            return _number(f"Mean score against {shown}", value, context, interval)
    return _gain_of_means(facts)


def _gain_of_means(facts: Facts) -> dict[str, str]:
    """Return the gain over the undistilled student without an interval, for want of predictions."""
    name = "Mean score against the undistilled student"
    scored = {one["name"]: one["mean"] for one in facts["models"]}
    own, other = scored.get(STUDENT), scored.get(UNDISTILLED)
    if own is None or other is None:
        return _number(name, DASH, "not evaluated")
    context = f"{points(own)}, was {points(other)}; no interval without predictions"
    value = f"{signed(own - other)} points"
    return _number(name, value, context)


def _share(facts: Facts) -> dict[str, str]:
    name, teacher = "Of the best teacher's mean score", facts["best_teacher"]
    if teacher is None:
        return _number(name, DASH, "no teacher was evaluated")
    scored = {one["name"]: one["mean"] for one in facts["models"]}
    context = f"{teacher} has {points(scored[teacher])}"
    if teacher in facts["scores"]["shares"]:
        mean, low, high = facts["scores"]["shares"][teacher]
        interval = f"[{100 * low:.1f}, {100 * high:.1f}]"
        return _number(name, f"{100 * mean:.1f} %", context, interval)
    if scored.get(STUDENT) is None or scored[teacher] <= 0:
        return _number(name, DASH, context)
    value = f"{100 * scored[STUDENT] / scored[teacher]:.1f} %"
    return _number(name, value, context)


def _speed(facts: Facts) -> dict[str, str]:
    """Return how much faster the student is than the best teacher; without speeds, how much smaller."""
    known = {one["name"]: one for one in facts["models"]}
    own, teacher = known[STUDENT], facts["best_teacher"] or "the best teacher"
    other: Facts = known.get(teacher, {"examples_per_s": None, "megabytes": None})
    rate, theirs = own["examples_per_s"], other["examples_per_s"]
    if rate and theirs:
        value = f"{_times(rate / theirs)} as fast"
        context = f"{rate:,.0f} against {theirs:,.0f} examples per second, {_threads(facts)}"
        return _number(f"Speed against {teacher}", value, context)
    size, theirs = own["megabytes"], other["megabytes"]
    if size and theirs:
        value = f"{_times(size / theirs)} the size"
        context = f"{size:,.1f} against {theirs:,.1f} MB; speed was not measured"
        return _number(f"Size against {teacher}", value, context)
    context = "neither speed nor size of both is known"
    return _number(f"Speed against {teacher}", DASH, context)


def _times(ratio: float) -> str:
    digits = 0 if ratio >= 10 else 1 if ratio >= 1 else 2
    return f"{ratio:,.{digits}f}\N{MULTIPLICATION SIGN}"


def _threads(facts: Facts) -> str:
    number = facts["cost"]["threads"]
    return f"{number} thread{'s' if number != 1 else ''}"


def _weak_points(facts: Facts) -> list[str]:
    """Return sentences about the tasks, kinds and parts of the data on which the student is weak."""
    found = []
    tasks = [task["row"] for task in facts["scores"]["tasks"] if task["row"]]
    rival = facts["best_rival"]
    for name, shown in (
        ("champion", "the champion"),
        (UNDISTILLED, "the undistilled student"),
        (rival, rival),
    ):
        worse = [row["name"] for row in tasks if _verdict(row, name) == WORSE]
        if worse:
            found.append(f"Worse than {shown} on {_listed(worse, len(tasks))}.")
    teacher = facts["best_teacher"]
    kinds = [
        row
        for row in facts["scores"]["kinds"]
        if row["name"] != OVERALL and teacher in row["differences"]
    ]
    if kinds:
        worst = min(kinds, key=lambda row: row["differences"][teacher]["mean"])
        change = worst["differences"][teacher]
        if change["mean"] < 0:
            found.append(
                f"Farthest behind {teacher} in {worst['name']}: {signed(change['mean'])} points {span(change['low'], change['high'])}."
            )
        else:
            found.append(f"Not behind {teacher}, the best teacher, in any kind of task.")
    found += _weak_parts(facts)
    return found


def _weak_parts(facts: Facts) -> list[str]:
    parts = [one for one in facts["slices"]["whole"] if one["high"] < 0]
    found = []
    if parts:
        worst = parts[0]
        found.append(
            f"Weakest part by {worst['by']}: {worst['name']}, {signed(worst['gap'])} points from the tasks' means "
            f"({worst['n']:,} examples)."
        )
    own = [
        one for one in facts["slices"]["variants"] if one["model"] == STUDENT and one["high"] < 0
    ]
    if own:
        worst = own[0]
        found.append(
            f"Loses {points(worst['plain'] - worst['disturbed'])} points on {worst['task']} with {worst['name']}."
        )
    return found


def _verdict(row: Facts, reference: str) -> str:
    change = row["differences"].get(reference)
    return change["verdict"] if change else ""


def _listed(names: list[str], total: int) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} of {total} tasks: {', '.join(names[:NAMED])}{more}"


def _cost(facts: Facts) -> str:
    """Return a sentence about size, speed and price."""
    own = next(one for one in facts["models"] if one["name"] == STUDENT)
    parts = []
    if own["megabytes"] is not None:
        count = own["n_parameters"]
        parts.append(
            f"{own['megabytes']:,.1f} MB" + (f", {count / 1e6:,.1f} M parameters" if count else "")
        )
    if own["examples_per_s"]:
        price = usd_per_million(own["examples_per_s"], facts["cost"]["usd_per_hour"])
        parts.append(f"{own['examples_per_s']:,.0f} examples per second")
        parts.append(
            f"{money(price)} USD per million examples at {facts['cost']['usd_per_hour']:g} USD per hour"
        )
    return "; ".join(parts) + "." if parts else "Neither size nor speed is known."


def count_verdicts(facts: Facts, reference: str) -> dict[str, int]:
    """Return the number of tasks on which the student is better than a reference, level with it, and worse."""
    rows = [task["row"] for task in facts["scores"]["tasks"] if task["row"]]
    found = [_verdict(row, reference) for row in rows]
    return {name: found.count(name) for name in (BETTER, "level", WORSE)}
