"""Where a student comes from: its teachers with their licences, its data with its sources, and its validation."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from polydistill.config.params import Params
from polydistill.project.layout import Layout
from polydistill.project.reports import Json
from polydistill.report.champion import data_md5

SOURCES = "SOURCES.md"
ROW = re.compile(r"^\|(.+)\|\s*$", re.MULTILINE)
UNKNOWN = "not recorded"


@dataclass(frozen=True)
class TeacherRow:
    """One teacher of the student.

    Attributes:
        name: Its name.
        family: Its plug-in.
        licence: Licence of its weights.
        weights: The model, file or package that its weights are read from; empty if the family fixes it.
        labels_seen: Tasks whose labels its weights were trained on.
    """

    name: str
    family: str
    licence: str
    weights: str
    labels_seen: tuple[str, ...]


@dataclass(frozen=True)
class SourceRow:
    """One data file, as `data/SOURCES.md` describes it.

    Attributes:
        file: Its path below `data/`.
        source: Where it comes from.
        licence: Its licence.
        rows: Number of its rows.
    """

    file: str
    source: str
    licence: str
    rows: str


def lineage(layout: Layout, params: Params) -> dict[str, Any]:
    """Return the teachers, the data files, DVC's hash of the data, and the path of the corpus."""
    block = params.modality(layout.modality)
    teachers = [
        TeacherRow(
            name,
            row.family,
            row.licence or UNKNOWN,
            _weights(row.options),
            tuple(row.saw_labels_of),
        )
        for name, row in block.enabled_teachers.items()
    ]
    return {
        "teachers": [asdict(one) for one in teachers],
        "corpus": block.corpus.path,
        "data_md5": data_md5(layout.root),
        "sources": [asdict(one) for one in _sources(layout)],
    }


def validation(report: Json | None) -> dict[str, Any] | None:
    """Return the number of expectations and tables, and the broken expectations; None without a report."""
    if report is None:
        return None
    rules = report["rules"]
    return {
        "n_rules": len(rules),
        "n_tables": len({rule["table"] for rule in rules}),
        "failed": [rule for rule in rules if not rule["success"]],
    }


def unavailable(status: Json | None) -> dict[str, str] | None:
    """Return the third-party tasks that could not be fetched, with reasons; None if fetch-data has not run."""
    if status is None:
        return None
    found = status.get("unavailable", {})
    return dict(found) if isinstance(found, Mapping) else dict.fromkeys(found, "")


def _weights(options: Mapping[str, object]) -> str:
    named = [
        options[key] for key in ("model", "vectors", "weights", "checkpoints") if options.get(key)
    ]
    text = ", ".join(map(str, named[0])) if named and isinstance(named[0], list) else ""
    revision = options.get("revision")
    return (text or "".join(map(str, named[:1]))) + (f" @ {str(revision)[:12]}" if revision else "")


def _sources(layout: Layout) -> list[SourceRow]:
    """Return the rows of the table in `data/SOURCES.md` that describe the modality's files."""
    path = layout.root / "data" / SOURCES
    if not path.exists():
        return []
    rows = [
        [cell.strip() for cell in line.split("|")]
        for line in ROW.findall(path.read_text(encoding="utf-8"))
    ]
    return [
        SourceRow(*row[:4])
        for row in rows
        if len(row) >= 4 and row[0].startswith(f"{layout.modality}/")
    ]
