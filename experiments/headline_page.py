"""The headline: the default beside other students, rivals and teachers, and its page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from experiments.comparison import Completion
from experiments.comparison_page import partial
from experiments.formatting import NOTHING, listed, negated, plus_minus, row, signed
from experiments.method_scores import MethodScore
from experiments.methods import DEFAULT, PAPER, SINGLE, UNDISTILLED
from polydistill.evaluation.statistics.bootstrap import CONFIDENCE, RESAMPLES, Interval
from polydistill.evaluation.statistics.kinds import OVERALL
from polydistill.report.results import optional_json

NAME = "headline"
STUDENT, RIVAL, TEACHER = "student", "rival", "teacher"
REFERENCE = "reference"
"""A computed rival that needs all teachers for each input: no model that one could use instead of the student."""
ABOVE, LEVEL, BELOW = "above", "level", "below"
SPEED = "examples/s"


@dataclass(frozen=True)
class Model:
    """One model of the table.

    Attributes:
        name: The method, such as `default` or `only minilm-l6`, or the name of the rival or teacher.
        role: `student`, `rival` or `teacher`.
        scores: The scores by task kind, without the kinds of which the model lacks a task. A gain is the model's score
            minus the default's.
        megabytes: The size of the weights, in 10^6 bytes; None if it is unknown.
        examples_per_s: The measured speed; None if it is unknown.
    """

    name: str
    role: str
    scores: dict[str, MethodScore]
    megabytes: float | None
    examples_per_s: float | None

    @property
    def label(self) -> str:
        """The name in tables and sentences."""
        return self.name if self.role == STUDENT else f"{self.role} {self.name}"

    @property
    def first_cell(self) -> str:
        """The label, in bold for the default."""
        return f"**{self.label}**" if self.name == DEFAULT else self.label

    def mean(self, kind: str) -> float:
        """Return the mean score in a task kind; minus infinity if there is none."""
        return self.scores[kind].mean if kind in self.scores else float("-inf")

    def lead(self, kind: str) -> Interval | None:
        """Return the default's score minus this model's; None for the default and for a kind without a score."""
        gain = self.scores[kind].gain if kind in self.scores else None
        return None if gain is None else negated(gain)

    def score_cell(self, kind: str) -> str:
        """Return a score and, of a student, its standard deviation over seeds."""
        if kind not in self.scores:
            return NOTHING
        found = self.scores[kind]
        return f"{found.mean:.3f}{plus_minus(found.seed_spread) if self.role == STUDENT else ''}"

    def lead_cell(self, kind: str) -> str:
        """Return `lead` with its interval and its standard deviation over seeds."""
        lead = self.lead(kind)
        return NOTHING if lead is None else signed(lead) + plus_minus(self.scores[kind].gain_spread)


@dataclass(frozen=True)
class Headline:
    """The content of `docs/results/<modality>/headline.json`.

    Attributes:
        modality: The students' modality.
        seeds: The seeds of the distillations.
        completion: The numbers of finished and of all trials, and the diverged trials.
        threads: The number of threads of each model when speeds were measured.
        tasks: The tasks of each kind that were available.
        models: The default; the students of single teachers, from the highest mean to the lowest; the other students;
            the rivals; the teachers.
    """

    modality: str
    seeds: tuple[int, ...]
    completion: Completion
    threads: int
    tasks: dict[str, list[str]]
    models: tuple[Model, ...]

    @property
    def kinds(self) -> list[str]:
        """The task kinds, and `mean`."""
        return [*self.tasks, OVERALL]

    @property
    def best_teacher(self) -> list[Model]:
        """The teacher with the highest mean; empty if no teacher was scored."""
        teachers = [model for model in self.models if model.role == TEACHER]
        return sorted(teachers, key=lambda model: -model.mean(OVERALL))[:1]

    @property
    def deciding(self) -> list[Model]:
        """The models whose differences from the default decide: of single teachers and of teachers the best."""
        singles = [model for model in self.models if model.name.startswith(SINGLE)]
        others = [
            model
            for model in self.models
            if model.role in {RIVAL, REFERENCE} or model.name in {PAPER, UNDISTILLED}
        ]
        return [*singles[:1], *others, *self.best_teacher]


STORED = TypeAdapter(Headline)


def read_headline(results: Path) -> Headline | None:
    """Return the headline in a folder of results; None if it has not been measured.

    Raises:
        DataError: The file is damaged.
    """
    content = optional_json(results / f"{NAME}.json")
    return None if content is None else STORED.validate_python(content)


def markdown(report: Headline) -> str:
    """Return the whole page."""
    kinds, costs = report.kinds, cost_columns(report.models)
    lines = [
        f"# Headline: the {report.modality} student",
        "",
        *partial(report.completion),
        (
            f"Main scores, means over tasks and over the seeds {', '.join(map(str, report.seeds))}; ± is the standard "
            f"deviation over seeds. `{SINGLE}X` is the default with X as the only teacher, `{PAPER}` the paper's likelihood "
            "alone (arXiv:2510.18680). No student learns from a [rival](../../guides/your-own-data.md#rivals); a model "
            "that lacks a task of a kind has no score in it, and no mean. "
            f"`make headline MODALITY={report.modality}` writes this page, from trials of the "
            "method comparison."
        ),
        "",
        (
            "The default is *above* or *below* a model if the interval of the difference excludes zero; else it is *level* "
            "with the model."
        ),
        "",
        *(f"- {sentence}" for sentence in sentences(report)),
        "",
        *heading([*kinds, *costs]),
    ]
    for place, model in enumerate(report.models):
        cells = [model.score_cell(kind) for kind in kinds]
        lines.append(row(model.first_cell, [*cells, *(column[place] for column in costs.values())]))
    if SPEED in costs:
        lines += ["", f"All speeds were measured in turn, with {report.threads} threads."]
    lines += [
        "",
        (
            f"The default minus other models, with the {CONFIDENCE:.0%} interval of a paired bootstrap ({RESAMPLES:,} "
            "resamples; a group of examples is drawn as a whole):"
        ),
        "",
        *heading(kinds),
        *(row(one.label, [one.lead_cell(kind) for kind in kinds]) for one in report.deciding),
    ]
    return "\n".join(lines) + "\n"


def sentences(report: Headline) -> list[str]:
    """Return what the default is above, level with and below: in the mean, by task kind, and against the best teacher."""
    means = {model.label: model.lead(OVERALL) for model in report.deciding}
    words = {ABOVE: "above", LEVEL: "level with", BELOW: "below"}
    found = [
        f"In the mean over kinds, the default is {_by_verdict(means, words)}.",
        leaders(report),
    ]
    for teacher in report.best_teacher:
        kinds = {listed([kind]): teacher.lead(kind) for kind in report.kinds}
        words = {verdict: f"{verdict} in" for verdict in words}
        found.append(
            f"Against {teacher.name}, the best teacher in the mean, the default is {_by_verdict(kinds, words)}."
        )
    return found


def leaders(report: Headline) -> str:
    """Return a sentence that names the kinds in which the default leads students and rivals, and the other leaders."""
    led, lost = [], []
    for kind in report.kinds:
        models = [model for model in report.models if model.role in {STUDENT, RIVAL}]
        leader = max(models, key=lambda model: model.mean(kind))
        if (lead := leader.lead(kind)) is None:
            led.append(kind)
        else:
            lost.append(
                f"{listed([kind])} (the default minus {leader.label}: {signed(lead)}, {verdict(lead)})"
            )
    sentence = f"Among students and rivals, the default has the highest score in {listed(led) or 'no kind'}"
    return f"{sentence}; not in {', '.join(lost)}." if lost else f"{sentence}."


def verdict(lead: Interval) -> str:
    """Return whether the default is above another model, level with it, or below it.

    Examples:
        >>> verdict(Interval(0.02, 0.01, 0.03)), verdict(Interval(0.01, -0.01, 0.03))
        ('above', 'level')
    """
    return ABOVE if lead.above_zero else BELOW if lead.high < 0 else LEVEL


def heading(columns: Sequence[str]) -> list[str]:
    """Return the first two lines of a table with columns of numbers after the column of names."""
    return [f"| | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]


def cost_columns(models: Sequence[Model]) -> dict[str, list[str]]:
    """Return the columns of sizes and speeds in the order of `models`, without a column in which nothing is known."""
    columns = {
        "MB": [(model.megabytes, 1) for model in models],
        SPEED: [(model.examples_per_s, 0) for model in models],
    }
    return {
        name: [NOTHING if value is None else f"{value:,.{digits}f}" for value, digits in column]
        for name, column in columns.items()
        if any(value is not None for value, _ in column)
    }


def _by_verdict(leads: Mapping[str, Interval | None], words: Mapping[str, str]) -> str:
    """Return the names by verdict, after the words of the verdict."""
    groups = {
        word: [name for name, lead in leads.items() if lead and verdict(lead) == found]
        for found, word in words.items()
    }
    return "; ".join(f"{word} {', '.join(names)}" for word, names in groups.items() if names)
