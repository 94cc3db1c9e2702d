"""Cards: the JSON file that describes a folder, such as a student's bundle, with the hashes of the other files."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from polydistill.errors import DataError, MissingDataError, short
from polydistill.project.files import sha256_of, write_atomic

FILES = "files"
"""The key of the hashes: the sha256 of each file by its path in the folder."""


def write_card(path: Path, content: Mapping[str, Any]) -> None:
    """Write a card: `content`, and the sha256 of every other file that is in the folder now."""
    folder = path.parent
    files = {
        file.relative_to(folder).as_posix(): sha256_of(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file != path
    }
    write_atomic(path, json.dumps({**content, FILES: files}, indent=2) + "\n")


def read_card(path: Path, remedy: str, *, verify: bool = True) -> dict[str, Any]:
    """Return the content of a card without the hashes.

    A card of an earlier release has no hashes: its folder is not verified. Other files in the folder are allowed.

    Args:
        path: The card.
        remedy: What to do if a file is damaged, for the message.
        verify: Whether to compare the files of the folder with their hashes.

    Raises:
        MissingDataError: The card, or a file that it lists, is missing.
        DataError: The card, or a file that it lists, is damaged.
    """
    try:
        _require_file(path)
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingDataError(f"No {path.name} in {path.parent}: {remedy}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error, remedy) from error
    files = content.pop(FILES, {}) if isinstance(content, dict) else None
    if not isinstance(files, dict):
        raise damaged(path, "it and its `files` must be JSON objects", remedy)
    for name, sha256 in files.items() if verify else ():
        _verify(path, name, sha256, remedy)
    return dict(content)


def _verify(card: Path, name: str, sha256: object, remedy: str) -> None:
    """Check that the folder of a card has the file `name`, with this content."""
    file = card.parent / name
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        raise damaged(card, f"it lists {short(name)}, which is outside the folder", remedy)
    try:
        _require_file(file)
        found = sha256_of(file)
    except FileNotFoundError as error:
        raise MissingDataError(
            f"{card.parent} is damaged: the file {name} is missing. {_sentence(remedy)}"
        ) from error
    except OSError as error:
        raise damaged(file, error, remedy) from error
    except ValueError as error:
        raise damaged(card, f"it lists {short(name)}, which is no file name", remedy) from error
    if found != sha256:
        raise damaged(file, f"its content is not the one that {card.name} lists", remedy)


def _require_file(path: Path) -> None:
    """Refuse a folder, and a pipe, which would wait for ever."""
    if path.exists() and not path.is_file():
        raise OSError("it must be a file")


def damaged(path: Path, why: Exception | str, remedy: str) -> DataError:
    """Return the error for a damaged file, with the first line of `why`."""
    if isinstance(why, ValidationError):
        problem = why.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        why = f"{where and where + ': '}{problem['msg']} (got {short(problem['input'])})"
    first = next(iter(str(why).splitlines()), type(why).__name__)[:200].rstrip(".:")
    state = "cannot be read" if isinstance(why, OSError) else "is damaged"
    return DataError(f"{path} {state}: {first}. {_sentence(remedy)}")


def _sentence(remedy: str) -> str:
    return f"{remedy[0].upper()}{remedy[1:]}."
