"""Results that are committed: a JSON file for programs and a page for people, the same bytes each time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

DECIMALS = 4


def write_results(
    folder: Path, name: str, tree: Mapping[str, object], page: str, *, figure: str | None = None
) -> None:
    """Write `<name>.json`, numbers to four decimals, `<name>.md` and, with a figure, `<name>.svg`, each at once."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_rounded(tree), indent=1, sort_keys=True, allow_nan=False) + "\n"
    files = {f"{name}.json": text, f"{name}.md": page}
    if figure is not None:
        files[f"{name}.svg"] = figure
    for file, content in files.items():
        unfinished = folder / f".{file}"
        unfinished.write_text(content, encoding="utf-8")
        unfinished.replace(folder / file)


def _rounded(tree: object) -> object:
    if isinstance(tree, Mapping):
        return {key: _rounded(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_rounded(value) for value in tree]
    return round(tree, DECIMALS) if isinstance(tree, float) else tree
