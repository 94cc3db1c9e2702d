"""The model card of a student: a `README.md` in the form of the Hugging Face hub, made of the facts of `report.json`."""

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from polydistill.errors import DataError, short
from polydistill.evaluation.statistics.kinds import OVERALL
from polydistill.project.layout import Layout
from polydistill.report.facts import FORMAT, Facts
from polydistill.report.headline import points, signed, span
from polydistill.report.lineage import UNKNOWN
from polydistill.report.results import TEMPLATES, optional_json

FILE = "README.md"
PIPELINES = {"text": "sentence-similarity", "vision": "image-feature-extraction"}
"""The hub's name of the use of a modality's students; of the others it is `feature-extraction`."""
INPUTS = {
    "text": ("texts", "a text"),
    "vision": ("images", "image.png"),
    "molecules": ("molecules", "CCO"),
}
"""What a modality's students embed, and an example of it."""
HUB_LICENCES = frozenset(
    {
        *("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0"),
        *("ISC", "MIT", "MPL-2.0", "Unlicense"),
    }
)
"""Licences that the hub knows by their SPDX identifier in lower case."""
MARKUP = re.compile(r"([\\`*<>|])")
"""Characters that Markdown and HTML give a meaning within a line."""
MOST_MODELS = 10
MOST_SLICES = 3


def render_card(facts: Facts, *, uri: str = "", export: str = "") -> str:
    """Return the model card of a student: YAML metadata and Markdown, together about 80 lines.

    Args:
        facts: The content of `report.json`.
        uri: The URI of the student's version in the registry, if the card is published with it.
        export: The name of the export whose folder the card is written to, or `onnx`.
    """
    inputs, example = INPUTS.get(facts["modality"], ("examples", "an example"))
    student = next(one for one in facts["models"] if one["role"] == "student")
    models = _shown_models(facts)
    return TEMPLATES.get_template("card.md.jinja").render(
        facts=facts,
        uri=uri,
        export=export,
        inputs=inputs,
        example=f'"{example}"',
        pipeline=PIPELINES.get(facts["modality"], "feature-extraction"),
        licence=_licence(facts),
        corpus=_corpus(facts),
        results=[_in_one_line(one) for one in _results(facts, _kinds(student))],
        kinds=[*sorted({kind for one in models for kind in one["kinds"]} - {OVERALL}), OVERALL],
        models=models,
        slices=[one for one in facts["slices"]["whole"] if one["high"] < 0][1 : 1 + MOST_SLICES],
        seen=[one["name"] for one in facts["scores"]["tasks"] if one["labels_seen"]],
        overlaps=[
            one
            for one in facts["scores"]["tasks"]
            if one["overlap"] and one["overlap"]["exact"] + one["overlap"]["near"]
        ],
        points=points,
        signed=signed,
        span=span,
        in_line=in_line,
    )


def facts_of(layout: Layout, student_sha256: str) -> Facts | None:
    """Return the content of `report.json`; None if it is missing, of another student or of another release.

    Raises:
        DataError: The file is damaged.
    """
    facts = optional_json(layout.facts)
    if facts is None or facts.get("format") != FORMAT:
        return None
    if not isinstance(student := facts.get("student"), dict):
        raise DataError(
            f"{layout.facts} is damaged: `student` must be an object, got {short(student)}. Make it again, or remove it."
        )
    return facts if student.get("student_sha256") == student_sha256 else None


def in_line(text: str, most: int = 80) -> str:
    r"""Return a text of a user, such as a label, as one line of Markdown without markup, of at most `most` characters.

    Examples:
        >>> in_line("a|b\n<i>")
        'a\\|b \\<i\\>'
    """
    line = " ".join(text.splitlines())
    cut = line if len(line) <= most else f"{line[: most - 1]}…"
    return MARKUP.sub(r"\\\1", cut)


def _kinds(model: Facts) -> dict[str, float]:
    """Return a model's mean scores by kind, and last the mean over the kinds."""
    mean = {} if model["mean"] is None else {OVERALL: model["mean"]}
    return {**model["kinds"], **mean}


def _shown_models(facts: Facts) -> list[Facts]:
    """Return the student, the undistilled student, and of the other models those with the highest means."""
    own = [one for one in facts["models"] if one["role"] in {"student", "undistilled"}]
    others = [one for one in facts["models"] if one not in own]
    best = sorted(others, key=lambda one: math.inf if one["mean"] is None else -one["mean"])
    kept = [*own, *best[: MOST_MODELS - len(own)]]
    return [{**one, "kinds": _kinds(one)} for one in facts["models"] if one in kept]


def _results(facts: Facts, kinds: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Yield the results of the hub's `model-index`, one per kind of task."""
    counts = [task["kind"] for task in facts["scores"]["tasks"]]
    for kind, score in kinds.items():
        n_tasks = counts.count(kind) or len(counts)
        name = f"{n_tasks} {facts['modality']} task{'s' if n_tasks != 1 else ''}"
        yield {
            "task": {"type": kind},
            "dataset": {"type": facts["modality"], "name": name},
            "metrics": [{"type": "main_score", "value": score}],
        }


def _in_one_line(tree: object) -> str:
    options: dict[str, Any] = {"default_flow_style": True, "sort_keys": False, "width": math.inf}
    text: str = yaml.safe_dump(tree, **options)
    return text.strip()


def _corpus(facts: Facts) -> dict[str, str] | None:
    """Return the row of `data/SOURCES.md` about the corpus, or None."""
    path = facts["lineage"]["corpus"].removeprefix("data/")
    rows: list[dict[str, str]] = facts["lineage"]["sources"]
    return next((one for one in rows if one["file"] == path), None)


def _licence(facts: Facts) -> str:
    """Return the hub's name of the licence that all teachers and the corpus have; empty if they differ or one is unknown."""
    corpus = _corpus(facts)
    found: set[str] = {one["licence"] for one in facts["lineage"]["teachers"]}
    found.add(corpus["licence"] if corpus else UNKNOWN)
    return found.pop().lower() if len(found) == 1 and found <= HUB_LICENCES else ""
