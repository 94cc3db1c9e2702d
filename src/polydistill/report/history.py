"""The index of all reports of a project: the modalities, and the versions that were reported before."""

import json
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from polydistill.project.files import write_atomic
from polydistill.project.layout import Layout
from polydistill.report.results import TEMPLATES, optional_json

Facts = dict[str, Any]
KEPT = 50
"""Maximum number of versions of a modality in the index, the newest first."""


def write_index(layout: Layout, facts: Facts) -> None:
    """Add a report's headline to the reported versions of its modality, and write `reports/index.html`.

    A student without a verdict has no version: it is listed as `not published` until the next report replaces it.
    """
    entry = _entry(facts)
    kept = [one for one in _versions(layout) if one["version"] not in {entry["version"], None}]
    text = json.dumps({"versions": [entry, *kept][:KEPT]}, indent=1, ensure_ascii=False)
    write_atomic(layout.judged, text + "\n")
    folder = layout.reports.parent
    modalities = {
        path.parent.name: _versions(Layout(layout.root, path.parent.name))
        for path in sorted(folder.glob("*/index.html"))
    }
    page = TEMPLATES.get_template("index.html.jinja").render(
        modalities={name: versions for name, versions in modalities.items() if versions},
        style=_style(),
    )
    write_atomic(folder / "index.html", page)


def _entry(facts: Facts) -> Facts:
    verdict = facts["gate"]["verdict"] or {}
    judged, here = verdict.get("student_sha256"), facts["student"].get("student_sha256")
    student = next(one for one in facts["models"] if one["role"] == "student")
    return {
        "version": verdict.get("challenger") if judged == here else None,
        "word": facts["headline"]["word"],
        "tone": facts["headline"]["tone"],
        "line": facts["headline"]["line"],
        "numbers": facts["headline"]["numbers"],
        "mean": student["mean"],
        "student_sha256": here,
    }


def _versions(layout: Layout) -> list[Facts]:
    content = optional_json(layout.judged) or {}
    return list(content.get("versions", ()))


def _style() -> Markup:
    text = (files("polydistill.report") / "page.css").read_text(encoding="utf-8")
    return Markup(text.rstrip())  # noqa: S704 - a file of this package
