"""The ablation: what each factor at another level costs or gains against the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.factors import Level
from experiments.methods import DEFAULT
from experiments.standings import Standing, standings
from experiments.words import gain_cell, plus_minus, row, signed
from polydistill.evaluation.statistics.kinds import OVERALL
from polydistill.evaluation.statistics.paired import CONFIDENCE, RESAMPLES, PairedScores

DOMAIN = "all"
LEAST_TOLD = 0.0005
"""A gain that three decimals do not show is none, however sure."""


@dataclass(frozen=True)
class AblationReport:
    """What `docs/results/<modality>/ablation.json` holds.

    Attributes:
        modality: Of the students.
        seeds: Of the distillations.
        setting: Parameters of the small setting that differ from `params.yaml`.
        tasks: Kind: the tasks that were there.
        default: The default's standing, by task kind, `mean` last.
        factors: Factor, level: the same; gains are over the default.
        failed: Cells that failed, and are in no mean.
        missing: How many cells are not there yet.
    """

    modality: str
    seeds: tuple[int, ...]
    setting: dict[str, object]
    tasks: dict[str, list[str]]
    default: dict[str, Standing]
    factors: dict[str, dict[str, dict[str, Standing]]]
    failed: tuple[str, ...]
    missing: int


def compare_levels(
    paired: PairedScores,
    levels: Sequence[Level],
) -> tuple[dict[str, Standing], dict[str, dict[str, dict[str, Standing]]]]:
    """Return the default's standing, and every other level's by its factor; all tasks together."""
    there = [level for level in levels if level.name in paired.models]
    stand = standings(paired, DOMAIN, [level.name for level in there], DEFAULT)
    factors: dict[str, dict[str, dict[str, Standing]]] = {}
    for level in there:
        if level.name != DEFAULT:
            factors.setdefault(level.factor, {})[level.level] = stand[level.name]
    return stand[DEFAULT], factors


def markdown(report: AblationReport) -> str:
    """Return the whole page."""
    kinds = list(report.default)
    means = [f"{one.mean:.3f}{plus_minus(one.seed_spread)}" for one in report.default.values()]
    head = [f"| | {' | '.join(kinds)} |", f"|---|{'---:|' * len(kinds)}"]
    lines = [f"# Ablation: the {report.modality} student", ""]
    if report.missing:
        lines += [f"**PARTIAL: {report.missing} cells are missing.**", ""]
    if report.failed:
        lines += [f"Failed, and in no mean: {', '.join(report.failed)}.", ""]
    lines += [
        (
            "One factor at a time around the default, on a fixed small setting "
            f"({_listed(report.setting)}). Seeds {', '.join(map(str, report.seeds))}; each row is the level minus the "
            f"default: a {CONFIDENCE:.0%} interval of the paired bootstrap ({RESAMPLES:,} resamples; groups of examples are "
            "drawn whole), and ± the standard deviation over seeds. Differences on the full setting may be "
            f"others: see [the method comparison](methods.md). `python -m experiments ablation {report.modality}` writes this page."
        ),
        "",
        *_in_words(report),
        *(
            []
            if report.missing
            else ["", "![Gains over the default, with intervals](ablation.svg)"]
        ),
        "",
        "The default's main scores:",
        "",
        *head,
        row("default", means),
    ]
    for factor, levels in report.factors.items():
        lines += ["", f"## {factor.capitalize()}", "", *head]
        lines += [
            row(level, [gain_cell(by_kind[kind]) for kind in kinds])
            for level, by_kind in levels.items()
        ]
    return "\n".join(lines) + "\n"


def _in_words(report: AblationReport) -> list[str]:
    """Say which levels are surely better than the default, and which surely worse."""
    gains = {
        f"{factor} {level}": by_kind[OVERALL].gain
        for factor, levels in report.factors.items()
        for level, by_kind in levels.items()
    }
    known = {name: gain for name, gain in gains.items() if gain is not None}
    told = {name: gain for name, gain in known.items() if abs(gain.mean) >= LEAST_TOLD}
    better = {name: signed(gain) for name, gain in told.items() if gain.above_zero}
    worse = {name: signed(gain) for name, gain in told.items() if gain.below_zero}
    even = [name for name in known if name not in {*better, *worse}]
    return [
        f"- Surely better than the default in the mean over kinds: {_told(better)}.",
        f"- Surely worse: {_told(worse)}.",
        f"- Not to be told from it: {', '.join(even) or 'nothing'}.",
    ]


def _told(gains: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {gain}" for name, gain in gains.items()) or "nothing"


def _listed(setting: Mapping[str, object]) -> str:
    return ", ".join(f"`{key}: {value}`" for key, value in setting.items())
