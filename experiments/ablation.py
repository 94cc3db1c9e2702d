"""The ablation's results: the gain of each level of each factor over the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.factors import Level
from experiments.formatting import formatted_gain, plus_minus, row, signed
from experiments.method_scores import MethodScore, method_scores
from experiments.methods import DEFAULT
from experiments.paired import PairedScores
from polydistill.evaluation.statistics.bootstrap import CONFIDENCE, RESAMPLES
from polydistill.evaluation.statistics.kinds import OVERALL

DOMAIN = "all"
LEAST_SHOWN = 0.0005
"""Smaller absolute gains round to zero at three decimals, and are reported as indistinguishable from the default."""


@dataclass(frozen=True)
class AblationReport:
    """The content of `docs/results/<modality>/ablation.json`.

    Attributes:
        modality: The students' modality.
        seeds: The seeds of the distillations.
        setting: The parameters of the small setting that differ from `params.yaml`.
        tasks: The tasks of each kind that were available.
        default: The default's score by task kind; the last kind is `mean`.
        factors: The scores by factor, level and task kind; gains are relative to the default.
        failed: The trials that failed. They are excluded from every mean.
        missing: The number of trials that have not run yet.
    """

    modality: str
    seeds: tuple[int, ...]
    setting: dict[str, object]
    tasks: dict[str, list[str]]
    default: dict[str, MethodScore]
    factors: dict[str, dict[str, dict[str, MethodScore]]]
    failed: tuple[str, ...]
    missing: int


def compare_levels(
    paired: PairedScores, levels: Sequence[Level]
) -> tuple[dict[str, MethodScore], dict[str, dict[str, dict[str, MethodScore]]]]:
    """Return the default's scores, and the scores of every other level by factor, over all tasks."""
    finished = [level for level in levels if level.name in paired.models]
    scores = method_scores(paired, DOMAIN, [level.name for level in finished], DEFAULT)
    factors: dict[str, dict[str, dict[str, MethodScore]]] = {}
    for level in finished:
        if level.name != DEFAULT:
            factors.setdefault(level.factor, {})[level.level] = scores[level.name]
    return scores[DEFAULT], factors


def markdown(report: AblationReport) -> str:
    """Return the whole page."""
    kinds = list(report.default)
    means = [f"{one.mean:.3f}{plus_minus(one.seed_spread)}" for one in report.default.values()]
    head = [f"| | {' | '.join(kinds)} |", f"|---|{'---:|' * len(kinds)}"]
    lines = [f"# Ablation: the {report.modality} student", ""]
    if report.missing:
        lines += [f"**PARTIAL: {report.missing} trials are missing.**", ""]
    if report.failed:
        lines += [f"Failed, and left out of every mean: {', '.join(report.failed)}.", ""]
    lines += [
        (
            "Each variant changes one factor of the default, in a small setting "
            f"({_listed(report.setting)}). Seeds: {', '.join(map(str, report.seeds))}. Each row is the variant minus the "
            f"default, with the {CONFIDENCE:.0%} interval of a paired bootstrap ({RESAMPLES:,} resamples; a group of "
            "examples is drawn as a whole) and, after ±, the standard deviation over seeds. Results in the full "
            "setting may differ: see the [method comparison](methods.md). "
            f"`python -m experiments ablation {report.modality}` writes this page."
        ),
        "",
        *_summary(report),
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
            row(level, [formatted_gain(by_kind[kind]) for kind in kinds])
            for level, by_kind in levels.items()
        ]
    return "\n".join(lines) + "\n"


def _summary(report: AblationReport) -> list[str]:
    """Return lines that list the levels better than, worse than and indistinguishable from the default."""
    gains = {
        f"{factor} {level}": by_kind[OVERALL].gain
        for factor, levels in report.factors.items()
        for level, by_kind in levels.items()
    }
    known = {name: gain for name, gain in gains.items() if gain is not None}
    shown = {name: gain for name, gain in known.items() if abs(gain.mean) >= LEAST_SHOWN}
    better = {name: signed(gain) for name, gain in shown.items() if gain.above_zero}
    worse = {name: signed(gain) for name, gain in shown.items() if gain.high < 0}
    even = [name for name in known if name not in {*better, *worse}]
    return [
        (
            "- Better than the default in the mean over kinds (the interval excludes zero): "
            f"{_gains(better)}."
        ),
        f"- Worse than the default (the interval excludes zero): {_gains(worse)}.",
        f"- Indistinguishable from the default: {', '.join(even) or 'none'}.",
    ]


def _gains(gains: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {gain}" for name, gain in gains.items()) or "none"


def _listed(setting: Mapping[str, object]) -> str:
    return ", ".join(f"`{key}: {value}`" for key, value in setting.items())
