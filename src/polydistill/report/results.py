"""Results as files: JSON for programs and pages for people, with the same bytes each time."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from polydistill.errors import DataError, MissingDataError
from polydistill.project.files import write_atomic

DECIMALS = 4
TEMPLATES = Environment(
    loader=PackageLoader("polydistill.report", "."),
    autoescape=select_autoescape(["html.jinja"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_results(
    folder: Path, name: str, tree: Mapping[str, object], page: str, *, figure: str | None = None
) -> None:
    """Write `<name>.json` with numbers to four decimals, `<name>.md` and, with a figure, `<name>.svg`."""
    text = json.dumps(tree, sort_keys=True, allow_nan=False)
    rounded = json.loads(text, parse_float=lambda number: round(float(number), DECIMALS))
    files = {f"{name}.json": json.dumps(rounded, indent=1) + "\n", f"{name}.md": page}
    if figure is not None:
        files[f"{name}.svg"] = figure
    for file, content in files.items():
        write_atomic(folder / file, content)


def read_report(path: Path, stage: str) -> dict[str, Any]:
    """Return the JSON object that a stage has written.

    Raises:
        MissingDataError: There is no such file.
        DataError: The file is damaged.
    """
    if not path.exists():
        raise MissingDataError(f"No file {path}: run the {stage} stage first.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}. Run the {stage} stage again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold a JSON object, got {type(content).__name__}.")
    return content
