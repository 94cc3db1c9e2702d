"""The report: one self-contained HTML file that loads nothing from the network, beside it its facts and a digest."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from polydistill.evaluation.statistics.kinds import OVERALL
from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout
from polydistill.report.card import in_line, render_card
from polydistill.report.comparison import Comparison
from polydistill.report.facts import DOMAINS, Facts
from polydistill.report.figures import Picture, quality_scatter, training_curves
from polydistill.report.gate import NAMES
from polydistill.report.headline import count_verdicts, money, points, signed, span
from polydistill.report.history import write_index
from polydistill.report.models import usd_per_million
from polydistill.report.results import TEMPLATES
from polydistill.report.tables import STUDENT

ALL = "All tasks"
TITLES = {
    DOMAINS["in"]: "In-domain: tasks from the corpus's own sources",
    DOMAINS["out"]: "Out-of-domain: tasks from elsewhere",
}


def write_report(root: Path, facts: Facts) -> Path:
    """Write the HTML report of a run, its facts as JSON, a digest, the model card, and the index of all reports.

    Args:
        root: The project folder.
        facts: See `facts.collect`.

    Returns:
        The path of the page. Earlier files are replaced atomically.
    """
    layout = Layout(root, facts["modality"])
    text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(layout.facts, text + "\n")
    facts = json.loads(text)  # the page shows what the file says
    write_atomic(layout.digest, render_digest(facts) + "\n")
    write_atomic(layout.model_card, render_card(facts) + "\n")
    write_atomic(layout.page, render_page(facts))
    write_index(layout, facts)
    return layout.page


def render_page(facts: Facts) -> str:
    """Return the page that shows the facts of `facts.collect`."""
    kinds: dict[str, list[Facts]] = {}
    for task in facts["scores"]["tasks"]:
        kinds.setdefault(task["kind"], []).append(task)
    references = facts["scores"]["references"]
    costs = {one["name"]: one for one in facts["models"]}
    return TEMPLATES.get_template("page.html.jinja").render(
        facts=facts,
        **_page_assets(_asset("page.js")),
        points=points,
        signed=signed,
        span=span,
        usd_per_million=usd_per_million,
        money=money,
        marks=_marks,
        rule_names=NAMES,
        roles={name: one["role"] for name, one in costs.items()},
        tasks_by_kind=dict(sorted(kinds.items())),
        verdict_counts={
            kind: {name: _counted(tasks, name) for name in references}
            for kind, tasks in kinds.items()
        },
        model_tables=_model_tables(facts),
        scatters=_scatters(costs),
        unknown_sizes=[
            one["name"]
            for one in facts["models"]
            if one["megabytes"] is None and one["role"] in {"student", "teacher"}
        ],
        curves=_curves(facts["training"]),
        **_information(facts["information"]),
    )


def render_digest(facts: Facts) -> str:
    """Return the facts in at most 40 lines of Markdown, for a pull request."""
    references = facts["scores"]["references"]
    counts = {name: count_verdicts(facts, name) for name in references}
    template = TEMPLATES.get_template("report.md.jinja")
    return template.render(
        facts=facts,
        counts=counts,
        points=points,
        signed=signed,
        span=span,
        in_line=in_line,
        overall=OVERALL,
    )


def render_comparison(found: Comparison, modality: str, one: str, other: str) -> str:
    """Return a page that shows the paired differences of two models, named `one` and `other`."""
    return TEMPLATES.get_template("compare.html.jinja").render(
        found=asdict(found),
        modality=modality,
        one=one,
        other=other,
        **_page_assets(_asset("page.js")),
        points=points,
        signed=signed,
        span=span,
    )


def _page_assets(script: str) -> dict[str, Any]:
    """Return style and script of a page, and the hash by which its policy allows the script."""
    digest = hashlib.sha256(script.encode()).digest()
    return {
        "style": Markup(_asset("page.css")),  # noqa: S704 - a file of this package
        "script": Markup(script),  # noqa: S704 - a file of this package
        "script_sha256": base64.b64encode(digest).decode("ascii"),
    }


def _asset(name: str) -> str:
    return (files("polydistill.report") / name).read_text(encoding="utf-8").rstrip()


def _marks(task: Facts) -> list[str]:
    """Return the marks of a task: labels that a teacher has seen, overlap with the corpus, few examples."""
    found = []
    if task["labels_seen"]:
        found.append(f"labels seen by {', '.join(task['labels_seen'])}")
    overlap = task["overlap"]
    if overlap and overlap["exact"]:
        found.append(f"{overlap['exact']:,} of {overlap['n']:,} in the corpus")
    if overlap and overlap["near"]:
        found.append(f"{overlap['near']:,} of {overlap['n']:,} nearly in the corpus")
    if task["is_small"]:
        found.append("few examples")
    return found


def _counted(tasks: list[Facts], reference: str) -> str:
    rows = [task["row"]["differences"].get(reference) for task in tasks if task["row"]]
    verdicts = [one["verdict"] for one in rows if one]
    parts = [
        f"{verdicts.count(word)} {word}"
        for word in ("better", "level", "worse")
        if word in verdicts
    ]
    return ", ".join(parts) or "not compared"


def _model_tables(facts: Facts) -> dict[str, dict[str, Any]]:
    """Return the mean scores of all models, over all tasks and by domain, each with the best and the student's share."""
    rows = {
        one["name"]: one["kinds"] | ({} if one["mean"] is None else {OVERALL: one["mean"]})
        for one in facts["models"]
    }
    found = {ALL: rows} | {
        TITLES[name]: table for name, table in facts["scores"]["domains"].items()
    }
    teachers = {one["name"] for one in facts["models"] if one["role"] == "teacher"}
    return {
        title: _model_table(rows, teachers) for title, rows in found.items() if any(rows.values())
    }


def _model_table(
    rows: Mapping[str, Mapping[str, float | None]], teachers: set[str]
) -> dict[str, Any]:
    columns = [*sorted({name for row in rows.values() for name in row} - {OVERALL}), OVERALL]

    def best(among: set[str], column: str) -> float | None:
        known = [
            score
            for name, row in rows.items()
            if name in among and (score := row.get(column)) is not None
        ]
        return max(known, default=None)

    shares = {}
    for column in columns:
        own, most = rows[STUDENT].get(column), best(teachers, column)
        shares[column] = own / most if own is not None and most is not None and most > 0 else None
    return {
        "columns": columns,
        "rows": rows,
        "best": {column: best(set(rows), column) for column in columns},
        "shares": shares,
    }


def _scatters(costs: Mapping[str, Facts]) -> list[Picture]:
    figures = (
        (
            "size",
            "megabytes",
            "weights on disk, MB",
            "Size against quality: better is up and left.",
        ),
        (
            "speed",
            "examples_per_s",
            "examples per second",
            "Speed against quality: better is up and right.",
        ),
    )
    return [
        quality_scatter(name, shown, axis, caption)
        for name, key, axis, caption in figures
        if (
            shown := {
                model: (one[key], 100 * one["mean"])
                for model, one in costs.items()
                if one[key] and one["mean"] is not None
            }
        )
    ]


def _curves(training: Facts) -> list[Picture]:
    rows = [
        (step, teacher, split, loss)
        for teacher, splits in training["curves"].items()
        for split, points_ in splits.items()
        for step, loss in points_
    ]
    if not rows:
        return []
    history = pd.DataFrame(rows, columns=["step", "teacher", "split", "nats"])
    restarts = [one["step"] for one in training["restarts"]]
    return training_curves(history, training["unit"], training["best_step"], restarts)


def _information(report: Facts | None) -> dict[str, Any]:
    """Return the columns and the largest number of the table of information."""
    told = report["sufficiency"] if report else {}
    columns = list(dict.fromkeys(name for row in told.values() for name in row))
    most = max((one["nats"] for row in told.values() for one in row.values()), default=1.0)
    return {"information_columns": columns, "information_most": max(most, 1e-9)}
